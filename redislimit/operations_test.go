package redislimit_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads/redislimit"
)

// aclRules are those of the README.
const aclRules = "on ~reloads:* +evalsha +eval +time +hmget +hget +hset +pexpire"

// A user with these rights can use all of the limiter, and a user without one of them cannot.
func TestACL(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil || !strings.Contains(string(readme), aclRules) {
		t.Errorf("the README does not contain %q, %v", aclRules, err)
	}
	server := startRedis(t)
	admin, _ := connect(t, server)
	rules := strings.Fields(aclRules)
	for i, missing := range append([]string{""}, rules[2:]...) {
		left := rules
		if missing != "" {
			left = append(append([]string{}, rules[:i+1]...), rules[i+2:]...)
		}
		user := "user" + strings.Trim(missing, "+")
		if err := admin.ACLSetUser(t.Context(), user, append(left, ">password")...).Err(); err != nil {
			t.Fatal(err)
		}
		if err := admin.ScriptFlush(t.Context()).Err(); err != nil { // so that EVAL is needed
			t.Fatal(err)
		}
		client := redis.NewClient(&redis.Options{
			Addr: server.Addr, Username: user, Password: "password", ContextTimeoutEnabled: true, MaxRetries: -1,
		})
		l := newLimiter(t, client, 1, time.Minute)
		err := l.Wait(t.Context())
		if missing == "" {
			l.Pause(time.Now().Add(time.Second))
			if err := within(t, l, 10*time.Second); !isTooLate(err) {
				t.Errorf("the second request got %v", err)
			}
			admin.FlushAll(t.Context())
		}
		if missing == "" && err != nil || missing != "" && !errors.Is(err, redislimit.ErrUnavailable) {
			t.Errorf("without %q: %v", missing, err)
		}
		_ = client.Close()
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile, pool := certificate(t)
	server := startRedis(t, "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-auth-clients", "no")
	admin, _ := connect(t, server)
	var addr string
	until(t, "Redis has a port for TLS", func() bool { // another process may take a free port
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = listener.Addr().String()
		_ = listener.Close()
		_, port := split(t, addr)
		return admin.ConfigSet(t.Context(), "tls-port", port).Err() == nil
	})
	for trusted, roots := range map[bool]*x509.CertPool{true: pool, false: x509.NewCertPool()} {
		client := redis.NewClient(&redis.Options{
			Addr: addr, TLSConfig: &tls.Config{RootCAs: roots}, ContextTimeoutEnabled: true, MaxRetries: -1,
		})
		if err := newLimiter(t, client, 50, time.Minute).Wait(t.Context()); (err == nil) != trusted {
			t.Errorf("with a certificate that is trusted (%t): %v", trusted, err)
		}
		_ = client.Close()
	}
}

// certificate makes a certificate of the loopback address.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool = x509.NewCertPool()
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(certPEM)
	for name, data := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

// FLUSHALL while the fleet is busy interrupts it for a window, and lets nothing extra through. If all processes were
// idle in the last period, N requests more can start.
func TestFlushAll(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	client, _ := connect(t, server)
	busy, idle := newLimiter(t, client, 3, time.Minute), newLimiter(t, client, 3, time.Minute)
	for range 3 {
		if err := within(t, busy, 50*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []*redislimit.Limiter{busy, idle} {
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		err := within(t, l, 50*time.Second)
		if l == busy && !isTooLate(err) {
			t.Errorf("a process that had a slot got %v after FLUSHALL, want no start for a window", err)
		}
		if l == idle && err != nil {
			t.Errorf("an idle process got %v after FLUSHALL", err)
		}
	}
}
