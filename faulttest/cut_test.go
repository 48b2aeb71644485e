package faulttest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	toxics "github.com/Shopify/toxiproxy/v2/client"
	"github.com/reloads-go/reloads"
)

// framings are the ways in which HTTP/1.1 tells where an answer ends.
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
		fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\n\r\n%s",
			a.Code, http.StatusText(a.Code), a.Header().Get("Date"), a.Body)
	})},
	{"gzip, until the connection ends", rewrite(func(w http.ResponseWriter, a *httptest.ResponseRecorder) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n",
			a.Code, http.StatusText(a.Code), a.Header().Get("Date"))
		zip := gzip.NewWriter(conn)
		defer zip.Close()
		_, _ = zip.Write(a.Body.Bytes())
	})},
}

// rewrite is a layer that writes the answers of the layer below in its own way.
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

// TestCutAtEveryByte ends the connection after every number of bytes of an answer, without another attempt: the call
// fails, or its result is the truth. The operations themselves check that.
func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	for _, framing := range framings {
		for _, op := range operations {
			if op.name == "Trigger" {
				continue // it is looked for: TestTriggerCutAtEveryByte
			}
			t.Run(framing.name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, framing.layer)
				answer := record(t, op, w)
				var length atomic.Int64
				address := serveRaw(t, func(c *net.TCPConn) {
					_, _ = c.Read(make([]byte, 4096)) // the whole request, which is small
					_, _ = c.Write(answer[:length.Load()])
					_ = c.Close()
				})
				client := newClient(t, newRoute(t, address), once)
				fine := 0
				for n := range len(answer) + 1 {
					length.Store(int64(n))
					err := op.call(t.Context(), client, w)
					switch {
					case err == nil:
						fine++
					case n == len(answer):
						t.Errorf("all %d bytes came: %v", n, err)
					case errors.Is(err, errWrong):
						t.Errorf("after %d of %d bytes: %v", n, len(answer), err)
					}
				}
				t.Logf("%d of %d cuts were a success", fine, len(answer)+1)
				// What is missing then is no part of the result: the body of a cancel, or the end of the framing.
				if op.name != "Cancel" && fine > 8 {
					t.Errorf("%d cuts were a success", fine)
				}
			})
		}
	}
}

// TestTriggerCutAtEveryByte ends the connection of a trigger after every number of bytes of its answer: the reload that
// it made is found, and not triggered again.
func TestTriggerCutAtEveryByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	size := len(record(t, operations[2], w))
	for n := range size + 1 {
		app := "app" + strconv.Itoa(n)
		w.tenant.AddApp(app, reloadsForever)
		cut := startProxy(t, w.address, toxic{"limit_data", "downstream", toxics.Attributes{"bytes": n}})
		client := newClient(t, newRoute(t, cut.Listen, w.address), once)
		// With a ResourceID it need not compare the clocks, which takes a second.
		r, err := client.Trigger(t.Context(), reloads.Request{AppID: app, ResourceID: app})
		if err != nil || r.AppID != app || r.ID == "" {
			t.Errorf("after %d of %d bytes: %v, %v", n, size, r, err)
		}
		if own := w.own(app); own != 1 {
			t.Errorf("after %d of %d bytes: the tenant has %d reloads", n, size, own)
		}
	}
}

var once = reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 0})

// record returns the bytes of the answer to an operation.
func record(t *testing.T, op operation, w *world) []byte {
	t.Helper()
	var mu sync.Mutex
	var answer bytes.Buffer
	r := newRoute(t, w.address)
	dial := r.transport.DialContext
	r.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return recordedConn{conn, &mu, &answer}, err
	}
	if err := op.call(t.Context(), newClient(t, r, once), w); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return bytes.Clone(answer.Bytes())
}

// recordedConn keeps what is read.
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
