// The wget command: the headers of many sites, and their pages, all at once.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/goasyncio/asyncio"
)

var wgetCommand = &command{
	name:    "wget",
	args:    "URL...",
	summary: "fetch from many sites at once, on one thread",
	about: `It prints the header of each answer as its lines come, each line after the host
it is from. A URL begins with http:// or https://; without either it is http.
Redirects are not followed, and an answer is an answer whatever its status.

A site that fails is told of in a line on standard error, and does not stop the
others. The exit code is 0 if no site has failed, 1 if one has, 2 if the command
line is wrong and 130 after Ctrl-C.

With -o bodies are saved as well. For one URL -o names the file, or an existing
directory. For several it names a directory, which is made if it does not exist.
In a directory the file has the name of the host: example.com, or
example.com_8080 if the URL has a port; the second one of a host is
example.com.2. A file gets its name when it is complete; it replaces one that
exists. What was fetched of a body that did not come whole is removed.`,
	declare: func(flags *flag.FlagSet) action {
		w := new(wget)
		flags.DurationVar(&w.timeout, "timeout", 30*time.Second, "give a site up after `duration`")
		flags.IntVar(&w.concurrency, "concurrency", 10, "fetch from at most `n` sites at once")
		flags.StringVar(&w.output, "o", "", "save the body to `file`, or several to a directory")
		flags.StringVar(&w.cacert, "cacert", "", "trust the certificates in `file` (PEM) too")
		return w.run
	},
}

// wget is one call of the command.
type wget struct {
	streams
	timeout     time.Duration
	concurrency int
	output      string
	cacert      string

	tls    *tls.Config
	failed bool
}

func (w *wget) run(ctx context.Context, args []string, std streams) error {
	w.streams = std
	if err := w.check(); err != nil {
		return err
	}
	targets, err := parseTargets(args)
	if err != nil {
		return err
	}
	if w.tls, err = trusting(w.cacert); err != nil {
		return err
	}
	if err := nameFiles(w.output, targets); err != nil {
		return err
	}
	err = asyncio.Run(ctx, func(ctx context.Context) error { return w.fetchAll(ctx, targets) }, interruptible)
	if err == nil && w.failed {
		return errReported
	}
	return err
}

func (w *wget) check() error {
	switch {
	case w.timeout <= 0:
		return usagef("-timeout %v: it must be positive", w.timeout)
	case w.concurrency <= 0:
		return usagef("-concurrency %d: it must be positive", w.concurrency)
	case w.output == "-":
		return usagef("-o -: standard output has the headers; name a file")
	}
	return nil
}

// trusting returns a configuration that trusts the system's authorities and
// those in a file, if one is named.
func trusting(file string) (*tls.Config, error) {
	if file == "" {
		return &tls.Config{}, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("-cacert: %v", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, usagef("-cacert: there is no certificate in %s", file)
	}
	return &tls.Config{RootCAs: roots}, nil
}

// fetchAll fetches from all targets. It fails only if it is cancelled.
func (w *wget) fetchAll(ctx context.Context, targets []*target) error {
	return asyncio.WithTaskGroup(ctx, func(ctx context.Context, g *asyncio.TaskGroup) error {
		for _, t := range targets {
			g.Go(func(ctx context.Context) error { return w.fetchOne(ctx, t) }, asyncio.WithName(t.text))
		}
		return nil
	}, asyncio.WithLimit(w.concurrency))
}

// fetchOne tells the user if the target fails: that must not end the others.
func (w *wget) fetchOne(ctx context.Context, t *target) error {
	err := asyncio.Timeout(ctx, w.timeout, func(ctx context.Context) error { return w.fetch(ctx, t) })
	if err == nil || ctx.Err() != nil {
		return err // nil, or the end of all
	}
	w.failed = true
	why := reason(err)
	if err == asyncio.ErrTimeout {
		why = fmt.Sprintf("timed out after %v", w.timeout)
	}
	fmt.Fprintf(w.err, "asyncio wget: %s: %s\n", t.text, why)
	return nil
}
