package faulttest

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
	"golang.org/x/net/dns/dnsmessage"
)

// TestNameIsUnknown uses a name server that does not know the host name of the tenant, and one that does not respond.
// Nothing is sent, so the outcome is never unknown. Every operation is retried, unless the name does not exist.
func TestNameIsUnknown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server   func(*testing.T) string
		notFound bool
		timeout  time.Duration // of an attempt; 0 means none
		attempts int64
	}{
		"no such name":        {serveNoName, true, 0, 1},
		"no name server":      {func(t *testing.T) string { return closedPort(t, "udp") }, false, 0, maxRetries + 1},
		"no response in time": {serveNothing, false, time.Second, maxRetries + 1},
	} {
		for _, op := range operations {
			t.Run(name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				server := c.server(t)
				dialer := &net.Dialer{Resolver: &net.Resolver{
					PreferGo: true,
					Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
						return new(net.Dialer).DialContext(ctx, "udp", server)
					},
				}}
				r := newRoute(t)
				r.transport.DialContext = dialer.DialContext
				err := op.call(t.Context(), newClientOf(t, "https://tenant.invalid", r, reloads.WithAttemptTimeout(c.timeout)), w)
				var dns *net.DNSError
				isDNS := errors.As(err, &dns) && dns.IsNotFound == c.notFound && strings.Contains(err.Error(), "tenant.invalid")
				if c.timeout == 0 && !isDNS || c.timeout > 0 && !late(err) || errors.Is(err, reloads.ErrOutcomeUnknown) {
					t.Errorf("got %v", err)
				}
				if n := r.attempts.Load(); n != c.attempts {
					t.Errorf("%d attempts, want %d", n, c.attempts)
				}
				t.Log(err)
			})
		}
	}
}

// serveNoName starts a name server that does not know any name.
func serveNoName(t *testing.T) (address string) {
	return serveNames(t, func(query []byte) []byte {
		var m dnsmessage.Message
		if m.Unpack(query) != nil {
			return nil
		}
		m.Header.Response, m.Header.RCode = true, dnsmessage.RCodeNameError
		m.Additionals = nil
		response, err := m.Pack()
		if err != nil {
			return nil
		}
		return response
	})
}

// serveNothing starts a name server that never responds.
func serveNothing(t *testing.T) (address string) {
	return serveNames(t, func([]byte) []byte { return nil })
}

// serveNames starts a name server that sends the response that respond returns for a query. If that is nil, it does not
// respond.
func serveNames(t *testing.T, respond func(query []byte) []byte) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		query := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if response := respond(query[:n]); response != nil {
				_, _ = conn.WriteTo(response, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}
