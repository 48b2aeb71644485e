package faulttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	toxics "github.com/Shopify/toxiproxy/v2/client"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// A world is a fake tenant that listens on a socket, and the records that the operations use.
type world struct {
	tenant  *reloadstest.Tenant
	server  *httptest.Server
	address string // of the server
	record  reloads.Reload
	running reloads.Reload // for Cancel
}

var reloadsForever = reloadstest.App{RunFor: time.Hour, CancelFor: time.Hour}

// newWorld starts a tenant. Its responses pass through the layers.
func newWorld(t *testing.T, layers ...func(http.Handler) http.Handler) *world {
	t.Helper()
	w := &world{tenant: reloadstest.NewTenant(reloadstest.WithMetering(reloadstest.TokenBucket, 0))}
	w.tenant.AddApp("app", reloadsForever)
	w.tenant.AddApp("running", reloadsForever)
	w.record = w.tenant.AddReload(reloads.Reload{
		ID: "record", AppID: "history", Status: reloads.StatusSucceeded, Log: "a log\nof two lines",
		CreationTime: time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond),
	})
	w.running, _ = w.tenant.Trigger("running", reloads.Reload{})
	var handler http.Handler = w.tenant
	for _, layer := range layers {
		handler = layer(handler)
	}
	w.server = httptest.NewServer(handler)
	t.Cleanup(w.server.Close)
	w.address = w.server.Listener.Addr().String()
	return w
}

// own returns the number of reloads of the app.
func (w *world) own(app string) (n int) {
	for _, r := range w.tenant.Reloads() {
		if r.AppID == app {
			n++
		}
	}
	return n
}

// errWrong means that a call succeeded with a result that does not match the tenant.
var errWrong = errors.New("the result is wrong")

// An operation is one of the four calls. It returns an error that matches errWrong if the result of the call is wrong.
type operation struct {
	name string
	call func(ctx context.Context, c *reloads.Client, w *world) error
}

var operations = []operation{
	{"List", func(ctx context.Context, c *reloads.Client, w *world) error {
		page, err := c.List(ctx, reloads.ListOptions{AppID: "history", Log: true})
		if err == nil && (page.Next != "" || len(page.Reloads) != 1) {
			return fmt.Errorf("%w: the page is %+v", errWrong, page)
		} else if err == nil {
			err = same(page.Reloads[0], w.record)
		}
		return err
	}},
	{"Get", func(ctx context.Context, c *reloads.Client, w *world) error {
		r, err := c.Get(ctx, w.record.ID)
		if err == nil {
			err = same(*r, w.record)
		}
		return err
	}},
	{"Trigger", func(ctx context.Context, c *reloads.Client, w *world) error {
		r, err := c.Trigger(ctx, reloads.Request{AppID: "app"})
		if err == nil {
			for _, want := range w.tenant.Reloads() {
				if want.ID == r.ID && want.AppID == "app" {
					return nil
				}
			}
			return fmt.Errorf("%w: the tenant has no reload %s", errWrong, r.ID)
		}
		return err
	}},
	{"Cancel", func(ctx context.Context, c *reloads.Client, w *world) error {
		status, err := c.Cancel(ctx, w.running.ID)
		if err == nil && status != reloads.StatusCanceling && status != reloads.StatusCanceled {
			return fmt.Errorf("%w: the status is %q", errWrong, status)
		}
		return err
	}},
}

func same(got, want reloads.Reload) error {
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(reloads.Reload{}, "Links")); diff != "" {
		return fmt.Errorf("%w: the record differs (-want +got):\n%s", errWrong, diff)
	}
	return nil
}

// maxRetries is the number of retries of the clients that newClient returns.
const maxRetries = 2

// newClient returns a client that uses the route as its transport.
func newClient(t *testing.T, r *route, opts ...reloads.Option) *reloads.Client {
	t.Helper()
	return newClientOf(t, "http://127.0.0.1", r, opts...)
}

// newClientOf returns a client with backoffs of milliseconds and without rate limits.
func newClientOf(t *testing.T, tenantURL string, transport http.RoundTripper, opts ...reloads.Option) *reloads.Client {
	t.Helper()
	free := reloads.NewLimiter(1, 0)
	opts = append([]reloads.Option{
		reloads.WithHTTPClient(&http.Client{Transport: transport}),
		reloads.WithLimiters(reloads.Limiters{Read: free, Trigger: free, Cancel: free}),
		reloads.WithRetry(reloads.RetryPolicy{MaxRetries: maxRetries, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond}),
		reloads.WithPolling(reloads.PollPolicy{MinInterval: 10 * time.Millisecond}),
	}, opts...)
	client, err := reloads.NewClient(tenantURL, reloads.APIKey(reloadstest.DefaultToken), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// A toxic is a fault that a proxy causes in one direction of its connections; see the documentation of toxiproxy.
type toxic struct {
	kind, stream string // stream is upstream, which is to the tenant, or downstream
	attributes   toxics.Attributes
}

var proxyNumber atomic.Int64

// startProxy starts a proxy that forwards to the address upstream.
func startProxy(t *testing.T, upstream string, list ...toxic) *toxics.Proxy {
	t.Helper()
	proxy, err := proxies.CreateProxy(fmt.Sprint("proxy", proxyNumber.Add(1)), "127.0.0.1:0", upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Delete(); err != nil {
			t.Error(err)
		}
	})
	for _, x := range list {
		if _, err := proxy.AddToxic("", x.kind, x.stream, 1, x.attributes); err != nil {
			t.Fatal(err)
		}
	}
	return proxy
}

// serveRaw starts a server that calls f for each connection. f must close the connection.
func serveRaw(t *testing.T, f func(*net.TCPConn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go f(conn.(*net.TCPConn))
		}
	}()
	return listener.Addr().String()
}

// closedPort returns an address that refuses connections, or datagrams if network is "udp". The port stays reserved until
// the end of the test: it is that of a socket that is connected to another one.
func closedPort(t *testing.T, network string) (address string) {
	t.Helper()
	peer := "127.0.0.1:9" // datagrams need no peer
	if network == "tcp" {
		peer = serveRaw(t, drain)
	}
	conn, err := net.Dial(network, peer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}
