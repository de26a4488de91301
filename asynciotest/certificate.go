// Certificates for tests of TLS.

package asynciotest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// Certificate returns an Ed25519 certificate for a server that is known by the names, or
// IP addresses, that are given, and the authority that clients have to trust. It is valid
// from the day before the virtual clock's first to the year 2100, so that it is in real
// time, too. The same names give the same certificate: packets of TLS have the same sizes
// in each run. The key is no secret. It panics if there is no name, or an empty one.
func Certificate(names ...string) (tls.Certificate, *x509.CertPool) {
	if len(names) == 0 || slices.Contains(names, "") {
		panic("asynciotest: a certificate for nobody")
	}
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "asynciotest"},
		NotBefore:             epoch.Add(-24 * time.Hour),
		NotAfter:              time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	top, key := keyOf("the authority"), keyOf(strings.Join(names, ","))
	pool := x509.NewCertPool()
	pool.AddCert(sign(authority, authority, top, top))
	cert := sign(leaf, authority, key, top)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, pool
}

func keyOf(text string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(text))
	return ed25519.NewKeyFromSeed(seed[:])
}

// sign signs a certificate for a key. Neither can fail with what Certificate gives it.
func sign(cert, by *x509.Certificate, key, with ed25519.PrivateKey) *x509.Certificate {
	raw, err := x509.CreateCertificate(rand.Reader, cert, by, key.Public(), with)
	if err != nil {
		panic(err)
	}
	signed, err := x509.ParseCertificate(raw)
	if err != nil {
		panic(err)
	}
	return signed
}
