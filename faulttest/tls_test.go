package faulttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
)

// authority is a certificate authority.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// sign creates a key pair with a certificate that a signs. If a is nil, the certificate is self-signed.
func (a *authority) sign(t *testing.T, certificate x509.Certificate) (tls.Certificate, *authority) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate.SerialNumber = big.NewInt(1)
	signer := &authority{&certificate, key}
	if a != nil {
		signer = a
	}
	der, err := x509.CreateCertificate(rand.Reader, &certificate, signer.certificate, &key.PublicKey, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, &authority{parsed, key}
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	_, a := (*authority)(nil).sign(t, x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of the test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(time.Hour),
	})
	return a
}

// leaf returns a template for a certificate for the host name, which is valid now.
func leaf(name string) x509.Certificate {
	return x509.Certificate{
		DNSNames: []string{name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

// TestCertificateIsRefused calls a server with an invalid certificate. After one handshake, the error states the
// reason.
func TestCertificateIsRefused(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	expired := leaf("tenant.test")
	expired.NotAfter = time.Now().Add(-time.Hour)
	early := leaf("tenant.test")
	early.NotBefore = time.Now().Add(30 * time.Minute)
	for name, c := range map[string]struct {
		certificate x509.Certificate
		signer      *authority
		is          func(error) bool
		text        string
	}{
		"for another name": {leaf("other.test"), trusted, as[x509.HostnameError], "valid for other.test, not tenant.test"},
		"expired":          {expired, trusted, as[x509.CertificateInvalidError], "certificate has expired or is not yet valid"},
		"not yet valid":    {early, trusted, as[x509.CertificateInvalidError], "certificate has expired or is not yet valid"},
		"of an unknown authority": {leaf("tenant.test"), newAuthority(t), as[x509.UnknownAuthorityError],
			"certificate signed by unknown authority"},
		"self-signed": {leaf("tenant.test"), nil, as[x509.UnknownAuthorityError], "certificate signed by unknown authority"},
	} {
		certificate, _ := c.signer.sign(t, c.certificate)
		for _, op := range operations {
			t.Run(name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				w, r, handshakes := newTLSWorld(t, certificate, trusted)
				err := op.call(t.Context(), newClientOf(t, "https://tenant.test", r), w)
				if !c.is(err) || !strings.Contains(err.Error(), c.text) || errors.Is(err, reloads.ErrOutcomeUnknown) {
					t.Errorf("got %v, want: %s", err, c.text)
				}
				if handshakes.Load() != 1 || len(w.tenant.Requests()) != 0 {
					t.Errorf("%d handshakes and %d requests, want 1 and 0", handshakes.Load(), len(w.tenant.Requests()))
				}
			})
		}
	}
}

// TestCertificateIsAccepted is the same with a valid certificate. It shows that the errors in TestCertificateIsRefused
// have no other cause.
func TestCertificateIsAccepted(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	certificate, _ := trusted.sign(t, leaf("tenant.test"))
	for _, op := range operations {
		w, r, handshakes := newTLSWorld(t, certificate, trusted)
		if err := op.call(t.Context(), newClientOf(t, "https://tenant.test", r), w); err != nil || handshakes.Load() != 1 {
			t.Errorf("%s: %v after %d handshakes, want 1", op.name, err, handshakes.Load())
		}
	}
}

// newTLSWorld starts a tenant with a certificate and HTTP/2. It also returns a route to it that trusts the authority,
// and a counter of the handshakes.
func newTLSWorld(t *testing.T, certificate tls.Certificate, trusted *authority) (*world, *route, *atomic.Int64) {
	t.Helper()
	w := newWorld(t)
	handshakes := new(atomic.Int64)
	server := httptest.NewUnstartedServer(w.tenant)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the server logs clients that close the connection
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{certificate},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			handshakes.Add(1)
			return nil, nil
		},
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	w.address = server.Listener.Addr().String()
	r := newRoute(t, w.address)
	r.transport.ForceAttemptHTTP2 = true
	r.transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	r.transport.TLSClientConfig.RootCAs.AddCert(trusted.certificate)
	return w, r, handshakes
}

// as reports whether err wraps an error of type E.
func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// TestNoTLS makes HTTPS calls to a plain HTTP server. Nothing is sent, so the outcome is never unknown.
func TestNoTLS(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		w := newWorld(t)
		r := newRoute(t, w.address)
		err := op.call(t.Context(), newClientOf(t, "https://tenant.test", r), w)
		if !errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, reloads.ErrOutcomeUnknown) {
			t.Errorf("%s: got %v, want: %v", op.name, err, http.ErrSchemeMismatch)
		}
		if len(w.tenant.Requests()) != 0 {
			t.Errorf("%s: %d requests were sent", op.name, len(w.tenant.Requests()))
		}
		if n := r.attempts.Load(); n != 1 {
			t.Errorf("%s: %d attempts, want 1", op.name, n)
		}
	}
}
