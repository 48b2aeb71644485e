package faulttest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	toxics "github.com/Shopify/toxiproxy/v2/client"
	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// A fault is a failure of a connection of the client.
type fault struct {
	name   string
	start  func(t *testing.T, tenant string) (address string)
	ending ending
	works  bool // the tenant processes the request nevertheless
}

// An ending is the effect of a fault on the client.
type ending int

const (
	refuses ending = iota // the connection is refused, so nothing is sent
	ends                  // the connection ends before the response is complete
	hangs                 // nothing happens until the attempt times out
)

// matches reports whether err, the error of a call, has this cause.
func (e ending) matches(err error) bool {
	return map[ending]func(error) bool{refuses: refused, ends: lost, hangs: late}[e](err)
}

// through returns a start function for a fault that toxics cause.
func through(list ...toxic) func(*testing.T, string) string {
	return func(t *testing.T, tenant string) string { return startProxy(t, tenant, list...).Listen }
}

// raw returns a start function for a fault of a server that handles its connections with f.
func raw(f func(*net.TCPConn)) func(*testing.T, string) string {
	return func(t *testing.T, _ string) string { return serveRaw(t, f) }
}

var faults = []fault{
	{"refused", func(t *testing.T, _ string) string { return closedPort(t, "tcp") }, refuses, false},
	{"reset before the request", raw(func(c *net.TCPConn) { reset(c) }), ends, false},
	{"reset during the request", raw(func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		reset(c)
	}), ends, false},
	{"reset when the request has arrived", through(toxic{"reset_peer", "upstream", toxics.Attributes{"timeout": 0}}), ends, false},
	{"reset after the request", through(toxic{"reset_peer", "downstream", toxics.Attributes{"timeout": 0}}), ends, true},
	{"request swallowed", through(toxic{"timeout", "upstream", toxics.Attributes{"timeout": 0}}), hangs, false},
	{"request swallowed, then closed", through(toxic{"timeout", "upstream", toxics.Attributes{"timeout": 100}}), ends, false},
	{"response swallowed", func(t *testing.T, tenant string) string {
		// Not by a toxic, which forwards the end of the connection if the request asks the tenant to close it.
		return serveRaw(t, func(c *net.TCPConn) { swallowResponse(c, tenant) })
	}, hangs, true},
	{"never accepted by the program", func(t *testing.T, _ string) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		return listener.Addr().String()
	}, hangs, false},
	{"latency of 10 s before the tenant", through(toxic{"latency", "upstream", toxics.Attributes{"latency": 10_000}}), hangs, true},
	{"latency of 10 s after the tenant", through(toxic{"latency", "downstream", toxics.Attributes{"latency": 10_000}}), hangs, true},
	{"1 byte/s", through(toxic{"slicer", "downstream", toxics.Attributes{"average_size": 1, "delay": 1_000_000}}), hangs, true},
	{"1 byte/s in the body", func(t *testing.T, tenant string) string {
		return serveRaw(t, func(c *net.TCPConn) { drip(c, tenant) })
	}, hangs, true},
	{"half-closed by the tenant at once", raw(func(c *net.TCPConn) {
		_ = c.CloseWrite()
		drain(c)
	}), ends, false},
	{"half-closed by the tenant after the request", raw(func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 4096))
		_ = c.CloseWrite()
		drain(c)
	}), ends, false},
	{"half-closed by the tenant, which reads no more", func(t *testing.T, _ string) string {
		done := make(chan struct{})
		t.Cleanup(func() { close(done) })
		return serveRaw(t, func(c *net.TCPConn) {
			_ = c.CloseRead()
			<-done
			_ = c.Close()
		})
	}, hangs, false},
}

// maxLists is how often the client lists reloads at most to find the reload of a trigger whose outcome is unknown.
const maxLists = 6

// TestFaultPasses has each fault on the first connection only. Every call succeeds, and a trigger makes exactly one
// reload.
func TestFaultPasses(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		for _, op := range operations {
			t.Run(f.name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				r := newRoute(t, f.start(t, w.address), w.address)
				client := newClient(t, r, reloads.WithAttemptTimeout(3*time.Second))
				if err := op.call(t.Context(), client, w); err != nil {
					t.Error(err)
				}
				if n := r.attempts.Load(); n < 2 || n > 40 {
					t.Errorf("%d attempts", n)
				}
				if op.name == "Trigger" && w.own("app") != 1 {
					t.Errorf("the tenant has %d reloads, want 1", w.own("app"))
				}
			})
		}
	}
}

// TestFaultLasts has each fault on every connection. The calls fail after all retries, with an error that states the
// cause. The error of a trigger that may have been sent matches ErrOutcomeUnknown.
func TestFaultLasts(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		for _, op := range operations {
			t.Run(f.name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				r := newFaultyRoute(t, f.start(t, w.address))
				client := newClient(t, r)
				if f.ending == hangs {
					client = newClient(t, r, reloads.WithAttemptTimeout(time.Second))
				}
				err := op.call(t.Context(), client, w)
				if err == nil || !f.ending.matches(err) {
					t.Errorf("the error does not state the cause: %v", err)
				}
				if err != nil && !strings.Contains(err.Error(), "/api/v1/reloads") {
					t.Errorf("the error does not name the request: %v", err)
				}
				var dial *net.OpError // a reset can also occur while the connection is established
				sent := !errors.As(err, &dial) || dial.Op != "dial"
				unknown := op.name == "Trigger" && sent
				if errors.Is(err, reloads.ErrOutcomeUnknown) != unknown {
					t.Errorf("got %v, want an unknown outcome: %v", err, unknown)
				}
				if n := r.attempts.Load(); !unknown && n != maxRetries+1 || n > (1+maxLists)*(maxRetries+1) {
					t.Errorf("%d attempts", n)
				}
				w.checkTriggers(t, op, f)
			})
		}
	}
}

// checkTriggers checks what a failed trigger has caused in the tenant.
func (w *world) checkTriggers(t *testing.T, op operation, f fault) {
	t.Helper()
	if op.name != "Trigger" {
		return
	}
	want := 0
	if f.works {
		want = 1
	}
	// On a busy machine, an attempt may time out before its request arrives.
	if n := w.own("app"); n > want || n < want && f.ending != hangs {
		t.Errorf("the tenant has %d reloads, want %d", n, want)
	}
	posts := 0
	for _, r := range w.tenant.Requests() {
		if r.Operation == reloadstest.Trigger {
			posts++
		}
	}
	if posts > 1 {
		t.Errorf("the trigger was sent %d times although its outcome was unknown", posts)
	}
}

// TestLatencyBelowTheTimeout has a slow network without a fault. One attempt is sufficient.
func TestLatencyBelowTheTimeout(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			slow := through(toxic{"latency", "upstream", toxics.Attributes{"latency": 200}},
				toxic{"latency", "downstream", toxics.Attributes{"latency": 200, "jitter": 100}},
				toxic{"bandwidth", "downstream", toxics.Attributes{"rate": 1}})(t, w.address)
			r := newRoute(t, slow)
			if err := op.call(t.Context(), newClient(t, r), w); err != nil {
				t.Error(err)
			}
			if n := len(w.tenant.Requests()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// TestTriggerEndsWithItsContext ends the context of a trigger while the client searches for the reload. The outcome is
// unknown.
func TestTriggerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRoute(t, through(toxic{"timeout", "upstream", toxics.Attributes{"timeout": 1}})(t, w.address), w.address)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.onAttempt = func(n int64) {
		if n == 2 { // the first list
			cancel()
		}
	}
	_, err := newClient(t, r).Trigger(ctx, reloads.Request{AppID: "app"})
	if !errors.Is(err, reloads.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want an unknown outcome because of the end of the context", err)
	}
	if n := w.own("app"); n != 0 {
		t.Errorf("the tenant has %d reloads, want 0", n)
	}
}

// refused reports whether err is that of a connection that was refused.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// lost reports whether err is that of a connection that ended early.
func lost(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		strings.Contains(err.Error(), "server closed idle connection") // net/http does not export this error
}

// late reports whether err is that of an attempt that timed out. The deadline of the caller does not count.
func late(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() && !errors.Is(err, context.DeadlineExceeded)
}

// reset closes the connection with a TCP reset.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// drain reads until the client closes the connection.
func drain(c *net.TCPConn) {
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
}

// exchange forwards a request to the tenant and returns its response, both as they are sent. It returns nil if the client
// or the tenant ends the connection first.
func exchange(c *net.TCPConn, tenant string) (request, response []byte) {
	request, err := readMessage(c, func(r *bufio.Reader) (io.ReadCloser, error) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return nil, err
		}
		return req.Body, nil
	})
	if err != nil {
		return nil, nil
	}
	upstream, err := net.Dial("tcp", tenant)
	if err != nil {
		return nil, nil
	}
	defer upstream.Close()
	if _, err := upstream.Write(request); err != nil {
		return nil, nil
	}
	response, err = readMessage(upstream, func(r *bufio.Reader) (io.ReadCloser, error) {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return nil, err
		}
		return resp.Body, nil
	})
	if err != nil {
		return nil, nil
	}
	return request, response
}

// readMessage returns the bytes of one request or response, however many packets they arrive in. parse reads the header
// and returns the body.
func readMessage(from io.Reader, parse func(*bufio.Reader) (io.ReadCloser, error)) ([]byte, error) {
	var message bytes.Buffer
	body, err := parse(bufio.NewReader(io.TeeReader(from, &message)))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return message.Bytes(), err
}

// swallowResponse forwards a request to the tenant but not its response.
func swallowResponse(c *net.TCPConn, tenant string) {
	_, _ = exchange(c, tenant)
	drain(c)
}

// drip forwards a request to the tenant and its response to the client: the header at once, the body at 1 byte/s.
func drip(c *net.TCPConn, tenant string) {
	defer c.Close()
	_, response := exchange(c, tenant)
	head := bytes.Index(response, []byte("\r\n\r\n")) + 4
	if response == nil {
		return
	}
	if _, err := c.Write(response[:head]); err != nil {
		return
	}
	for ; head < len(response); head++ {
		if _, err := c.Write(response[head : head+1]); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}
