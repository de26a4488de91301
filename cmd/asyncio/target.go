// What wget fetches: a URL, and the file for its body.

package main

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A target is a URL from the command line.
type target struct {
	text string // as the user gave it
	url  *url.URL
	file string // where the body goes; "" if nowhere
}

func parseTargets(args []string) ([]*target, error) {
	if len(args) == 0 {
		return nil, usagef("there is no URL")
	}
	var targets []*target
	for _, arg := range args {
		t, problem := parseTarget(arg)
		if problem != "" {
			return nil, usagef("bad URL %q: %s", arg, problem)
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// parseTarget returns what is wrong with a URL in words, "" if nothing is.
func parseTarget(arg string) (_ *target, problem string) {
	if strings.HasPrefix(arg, "-") {
		return nil, "options come before the URLs"
	}
	full := arg
	if !strings.Contains(arg, "://") {
		full = "http://" + arg
	}
	u, err := url.Parse(full)
	if err != nil {
		return nil, err.(*url.Error).Err.Error()
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, "the scheme must be http or https"
	case u.Hostname() == "":
		return nil, "there is no host"
	case !isHost(u.Hostname()):
		return nil, "the host is neither a name nor an address"
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port()):
		return nil, "the port must be a number from 1 to 65535"
	case u.User != nil:
		return nil, "a user name is not supported"
	}
	return &target{text: arg, url: u}, ""
}

// hostName is what a name may look like: nothing that could do harm in a request
// or as the name of a file. Names in other scripts have a form of this kind too.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || hostName.MatchString(s)
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// address returns where to connect to.
func (t *target) address() string {
	port := t.url.Port()
	if port == "" {
		port = "80"
		if t.url.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(t.url.Hostname(), port)
}

// host returns the host as the request and the output name it.
func (t *target) host() string { return t.url.Host }

func (t *target) request() string {
	return "GET " + t.url.RequestURI() + " HTTP/1.1\r\n" +
		"Host: " + t.host() + "\r\n" +
		"User-Agent: asyncio-wget\r\n" +
		"Accept: */*\r\n" +
		"Connection: close\r\n\r\n"
}

// nameFiles gives each target the file for its body. output is what the user
// gave to -o; the directory is made if there are several targets.
func nameFiles(output string, targets []*target) error {
	if output == "" {
		return nil
	}
	info, err := os.Stat(output)
	isDir := err == nil && info.IsDir()
	if len(targets) == 1 && !isDir {
		targets[0].file = output
		return nil
	}
	if err == nil && !isDir {
		return usagef("-o %s: for several URLs it must be a directory", output)
	}
	if err := os.MkdirAll(output, 0o777); err != nil {
		return err
	}
	taken := make(map[string]bool)
	for _, t := range targets {
		t.file = filepath.Join(output, freeName(fileName(t.host()), taken))
	}
	return nil
}

// fileName makes the name of a file of a host and port.
func fileName(host string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ':', '[', ']', '%':
			return '_'
		}
		return r
	}, strings.ToLower(host))
}

// freeName returns name, with a number if that is taken already.
func freeName(name string, taken map[string]bool) string {
	free := name
	for n := 2; taken[free]; n++ {
		free = name + "." + strconv.Itoa(n)
	}
	taken[free] = true
	return free
}
