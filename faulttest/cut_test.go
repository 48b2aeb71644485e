package faulttest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/reloads-go/reloads"
)

// framings are the ways in which HTTP/1.1 marks the end of a response.
var framings = []struct {
	name  string
	layer func(http.Handler) http.Handler
}{
	{"Content-Length", func(h http.Handler) http.Handler { return h }},
	{"chunked", rewrite(func(w http.ResponseWriter, a *httptest.ResponseRecorder) {
		w.WriteHeader(a.Code)
		for _, part := range [][]byte{a.Body.Next(10), a.Body.Next(100), a.Body.Bytes()} {
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush()
		}
	})},
	{"until the connection ends", rewrite(func(w http.ResponseWriter, a *httptest.ResponseRecorder) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\n\r\n%s",
			a.Code, http.StatusText(a.Code), a.Header().Get("Date"), a.Body)
	})},
	{"gzip, until the connection ends", rewrite(func(w http.ResponseWriter, a *httptest.ResponseRecorder) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n",
			a.Code, http.StatusText(a.Code), a.Header().Get("Date"))
		zip := gzip.NewWriter(conn)
		defer zip.Close()
		_, _ = zip.Write(a.Body.Bytes())
	})},
}

// rewrite returns a layer that writes the responses of the inner handler with the function write.
func rewrite(write func(http.ResponseWriter, *httptest.ResponseRecorder)) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := httptest.NewRecorder()
			h.ServeHTTP(a, r)
			for _, name := range []string{"Date", "Content-Type"} {
				w.Header()[name] = a.Header()[name]
			}
			write(w, a)
		})
	}
}

// TestCutAtEveryByte closes the connection after every number of bytes of a response, without retries. The call returns
// an error or a correct result. The operations check the result.
func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	for _, framing := range framings {
		for _, op := range operations {
			if op.name == "Trigger" {
				continue // Trigger searches for the reload: see TestTriggerCutAtEveryByte
			}
			t.Run(framing.name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, framing.layer)
				response := record(t, op, w)
				var length atomic.Int64
				address := serveRaw(t, func(c *net.TCPConn) {
					_, _ = c.Read(make([]byte, 4096)) // the whole request, because it is small
					_, _ = c.Write(response[:length.Load()])
					_ = c.Close()
				})
				client := newClient(t, newRoute(t, address), once)
				successes := 0
				for n := range len(response) + 1 {
					length.Store(int64(n))
					err := op.call(t.Context(), client, w)
					switch {
					case err == nil:
						successes++
					case n == len(response):
						t.Errorf("after all %d bytes: %v", n, err)
					case errors.Is(err, errWrong):
						t.Errorf("after %d of %d bytes: %v", n, len(response), err)
					}
				}
				t.Logf("%d of %d cuts were successful calls", successes, len(response)+1)
				// In a successful call, the missing bytes are not part of the result: the body of a cancel, or the end
				// of the framing.
				if op.name != "Cancel" && successes > 8 {
					t.Errorf("%d cuts were successful calls, want at most 8", successes)
				}
			})
		}
	}
}

// TestTriggerCutAtEveryByte closes the connection of a trigger after every number of bytes of its response. The client
// finds the reload and does not trigger it again.
func TestTriggerCutAtEveryByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var length atomic.Int64
	length.Store(math.MaxInt64)
	address := serveRaw(t, func(c *net.TCPConn) {
		defer c.Close()
		request, response := exchange(c, w.address)
		if bytes.HasPrefix(request, []byte("POST")) {
			response = response[:min(length.Load(), int64(len(response)))]
		}
		_, _ = c.Write(response)
	})
	r := newRoute(t, address)
	r.transport.DisableKeepAlives = true
	client := newClient(t, r, once)
	// From a complete response that is quick, the client learns the clock of the records. Otherwise each search would take a
	// second.
	size := len(record(t, operations[2], w))
	for n := range 10 {
		app := "first" + strconv.Itoa(n)
		w.tenant.AddApp(app, reloadsForever)
		if _, err := client.Trigger(t.Context(), reloads.Request{AppID: app}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range size + 1 {
		length.Store(int64(n))
		app := "app" + strconv.Itoa(n)
		w.tenant.AddApp(app, reloadsForever)
		r, err := client.Trigger(t.Context(), reloads.Request{AppID: app})
		if err != nil || r.AppID != app || r.ID == "" {
			t.Errorf("after %d of %d bytes: %v, %v", n, size, r, err)
		}
		if own := w.own(app); own != 1 {
			t.Errorf("after %d of %d bytes: the tenant has %d reloads", n, size, own)
		}
	}
}

var once = reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 0})

// record returns the bytes of the response to an operation.
func record(t *testing.T, op operation, w *world) []byte {
	t.Helper()
	var mu sync.Mutex
	var response bytes.Buffer
	r := newRoute(t, w.address)
	dial := r.transport.DialContext
	r.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return recordedConn{conn, &mu, &response}, err
	}
	if err := op.call(t.Context(), newClient(t, r, once), w); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return bytes.Clone(response.Bytes())
}

// recordedConn copies to a buffer what is read from it.
type recordedConn struct {
	net.Conn
	mu *sync.Mutex
	to *bytes.Buffer
}

func (c recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to.Write(p[:n])
	return n, err
}
