// Why something failed, in words for the user.

package main

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"
)

// reason says in one line what err means.
func reason(err error) string {
	var (
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "name not found"
	case errors.As(err, &dns):
		return "the look-up of the name failed: " + oneLine(dns.Err)
	case errors.Is(err, errRefused):
		return "connection refused"
	case errors.Is(err, errReset), errors.Is(err, syscall.EPIPE):
		return "connection reset by the server"
	case errors.As(err, &cert):
		return "TLS: " + strings.TrimPrefix(oneLine(cert.Err.Error()), "x509: ")
	case errors.As(err, &record):
		return "not TLS: " + record.Msg
	}
	if op, ok := err.(*net.OpError); ok {
		err = op.Err // the user knows which site it is
	}
	return oneLine(err.Error())
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
