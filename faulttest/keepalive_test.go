package faulttest

import (
	"fmt"
	"net"
	"testing"
	"time"

	toxics "github.com/Shopify/toxiproxy/v2/client"
	"github.com/reloads-go/reloads"
)

// TestIdleConnectionIsClosed makes a call right after the tenant has closed the connection of the previous call.
// Whether or not the client has noticed that, the call succeeds, and a trigger makes one reload.
func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		for n := range 8 {
			t.Run(fmt.Sprint(op.name, n), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				client := newClient(t, newRoute(t, w.address))
				w.warm(t, client)
				w.server.CloseClientConnections()
				w.expect(t, op, client)
			})
		}
	}
}

// TestConnectionEndsInTheNextRequest is the worst case of TestIdleConnectionIsClosed: the server ends the connection of
// the previous call when the next request is already being sent.
func TestConnectionEndsInTheNextRequest(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*net.TCPConn){
		"closed": func(c *net.TCPConn) { _ = c.Close() },
		"reset":  reset,
		"half-closed": func(c *net.TCPConn) {
			_ = c.CloseWrite()
			drain(c)
		},
	} {
		for _, op := range operations {
			t.Run(name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				once := serveRaw(t, func(c *net.TCPConn) { serveOnce(c, w.address, end) })
				client := newClient(t, newRoute(t, once, w.address))
				w.warm(t, client)
				w.expect(t, op, client)
			})
		}
	}
}

// serveOnce forwards one request and its response. It ends the connection at the first bytes of the next request.
func serveOnce(c *net.TCPConn, tenant string, end func(*net.TCPConn)) {
	if _, response := exchange(c, tenant); response != nil {
		_, _ = c.Write(response)
		_, _ = c.Read(make([]byte, 4096))
	}
	end(c)
}

// TestKeptConnectionIsDead drops all traffic on the connection of the previous call, as a router does that has lost its
// connection state. With HTTP/1.1, the attempt that times out closes the connection, and the next attempt uses a new
// one.
func TestKeptConnectionIsDead(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			proxy := startProxy(t, w.address)
			r := newRoute(t, proxy.Listen, w.address)
			r.faulty.Store(0)
			client := newClient(t, r, reloads.WithAttemptTimeout(time.Second))
			w.warm(t, client)
			swallow(t, proxy)
			r.faulty.Store(1)
			w.expect(t, op, client)
		})
	}
}

// TestKeptHTTP2ConnectionIsDead is the same with HTTP/2. The connection stays open after the first attempt that times
// out. The second one closes it.
func TestKeptHTTP2ConnectionIsDead(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	certificate, _ := trusted.sign(t, leaf("tenant.test"))
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			w, r, _ := newTLSWorld(t, certificate, trusted)
			proxy := startProxy(t, w.address)
			r.addresses = []string{proxy.Listen, w.address}
			r.faulty.Store(0)
			client := newClientOf(t, "https://tenant.test", r, reloads.WithAttemptTimeout(time.Second))
			w.warm(t, client)
			swallow(t, proxy)
			r.faulty.Store(1)
			w.expect(t, op, client)
		})
	}
}

// warm makes a call, so that the client has an idle connection.
func (w *world) warm(t *testing.T, client *reloads.Client) {
	t.Helper()
	if err := operations[1].call(t.Context(), client, w); err != nil {
		t.Fatal(err)
	}
}

// expect makes a call and checks that it succeeds.
func (w *world) expect(t *testing.T, op operation, client *reloads.Client) {
	t.Helper()
	if err := op.call(t.Context(), client, w); err != nil {
		t.Error(err)
	}
	if op.name == "Trigger" && w.own("app") != 1 {
		t.Errorf("the tenant has %d reloads, want 1", w.own("app"))
	}
}

// swallow makes the connections of the proxy drop all traffic in both directions.
func swallow(t *testing.T, proxy *toxics.Proxy) {
	t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		if _, err := proxy.AddToxic("", "timeout", stream, 1, toxics.Attributes{"timeout": 0}); err != nil {
			t.Fatal(err)
		}
	}
}
