// tlsecho is a TLS echo server and its client in one program, with a certificate that
// is made in memory. The client connects twice: the second connection resumes the
// first one, which saves a part of the handshake.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log"
	"math/big"
	"time"

	"github.com/goasyncio/asyncio"
)

// newCertificate makes a certificate for localhost, and a pool that trusts it.
func newCertificate() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, trusted, nil
}

// echo serves one connection.
func echo(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	for line, err := range r.Lines(ctx) {
		if err != nil {
			return err
		}
		w.WriteString("echo: ")
		w.Write(line)
		if err := w.Drain(ctx); err != nil {
			return err
		}
	}
	return nil
}

// say connects, says how, and has text sent back.
func say(ctx context.Context, name, address, text string, config *tls.Config) error {
	r, w, err := asyncio.OpenConnection(ctx, "tcp", address, &asyncio.ConnOptions{TLS: config})
	if err != nil {
		return err
	}
	defer w.Close()
	state, _ := w.ConnectionState()
	fmt.Printf("%s connection: %s, %s, ALPN %s, resumed: %v\n", name,
		tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.NegotiatedProtocol, state.DidResume)
	fmt.Fprintln(w, text)
	line, err := r.ReadLine(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%s", line)
	w.Close()
	return w.WaitClosed(ctx)
}

func run(ctx context.Context) error {
	certificate, trusted, err := newCertificate()
	if err != nil {
		return err
	}
	server, err := asyncio.StartServer(ctx, "tcp", "127.0.0.1:0", echo, &asyncio.ServerOptions{
		TLS: &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"echo"}},
	})
	if err != nil {
		return err
	}
	client := &tls.Config{
		RootCAs: trusted, ServerName: "localhost", NextProtos: []string{"echo"},
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	if err := say(ctx, "first", server.Addr().String(), "hello", client); err != nil {
		return err
	}
	if err := say(ctx, "second", server.Addr().String(), "hello again", client); err != nil {
		return err
	}
	return server.Shutdown(ctx)
}

func main() {
	if err := asyncio.Run(context.Background(), run); err != nil {
		log.Fatal(err)
	}
}
