package reloads_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

func TestAttemptTimeout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opts []reloads.Option
		user time.Duration // the timeout of the user's http.Client
		want time.Duration
	}{
		"default":       {nil, 0, time.Minute},
		"shorter":       {[]reloads.Option{reloads.WithAttemptTimeout(5 * time.Second)}, 0, 5 * time.Second},
		"user's":        {nil, 7 * time.Second, 7 * time.Second},
		"both":          {[]reloads.Option{reloads.WithAttemptTimeout(5 * time.Second)}, 7 * time.Second, 5 * time.Second},
		"none but user": {[]reloads.Option{reloads.WithAttemptTimeout(0)}, 7 * time.Second, 7 * time.Second},
		"none":          {[]reloads.Option{reloads.WithAttemptTimeout(0)}, 0, time.Hour}, // the deadline of the context
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			hc := &http.Client{Transport: scripted(hangs), Timeout: c.user}
			began := time.Now()
			_, err := scriptedClient(t, nil, append(c.opts, noRetries, reloads.WithHTTPClient(hc))...).Get(ctx, reloadID)
			if took := time.Since(began); err == nil || took != c.want {
				t.Errorf("%s: gave up after %v, want %v: %v", name, took, c.want, err)
			}
			if text := fmt.Sprint("the attempt took longer than ", c.want); name != "none" && !strings.HasSuffix(err.Error(), text) {
				t.Errorf("%s: got %v, want %q", name, err, text)
			}
		})
	}
}

// The timeout of an attempt and the deadline of the caller, whichever is earlier, end a call. This is real time, because the
// times in a bubble have no monotonic clock reading.
func TestAttemptTimeoutAndDeadline(t *testing.T) {
	t.Parallel()
	const short = 20 * time.Millisecond
	for limit, left := range map[time.Duration]time.Duration{short: time.Hour, time.Hour: short} {
		ctx, cancel := context.WithTimeout(t.Context(), left)
		defer cancel()
		_, err := scriptedClient(t, scripted(hangs), noRetries, reloads.WithAttemptTimeout(limit)).Get(ctx, reloadID)
		if errors.Is(err, context.DeadlineExceeded) != (left < limit) {
			t.Errorf("timeout %v, deadline in %v: %v", limit, left, err)
		}
	}
}

// The error of a trigger that was sent, and got no response, matches that of net/http.
func TestErrorOfLostTrigger(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var requests atomic.Int32
	client := rawClient(t, rawServer(t, func(io.Writer) {
		if requests.Add(1) == 2 { // the first list
			cancel()
		}
	}))
	if _, err := client.Trigger(ctx, reloads.Request{AppID: "app"}); !errors.Is(err, reloads.ErrOutcomeUnknown) || !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want ErrOutcomeUnknown and io.EOF", err)
	}
}

// The timeout of an attempt is not reported as the deadline of the caller.
func TestAttemptTimeoutIsNotDeadlineExceeded(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]outcome{
		"the response": hangs,
		"the body": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(blockedBody{r.Context()}), ContentLength: -1, Request: r}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := scriptedClient(t, scripted(outcome), reloads.WithAttemptTimeout(7*time.Second), reloads.WithRetry(reloads.RetryPolicy{}))
				began := time.Now()
				_, err := client.Get(t.Context(), reloadID)
				var timeout net.Error
				if !errors.As(err, &timeout) || !timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 7*time.Second {
					t.Errorf("got %v after %v, want a timeout that is not DeadlineExceeded, after 7s", err, time.Since(began))
				}

				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if _, err := client.Get(ctx, reloadID); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want the caller's DeadlineExceeded", err)
				}
			})
		})
	}
}

// Neither is a timeout of the base transport, although those of net and net/http match it, unless the deadline has passed.
func TestTimeoutOfTransportIsNotDeadlineExceeded(t *testing.T) {
	t.Parallel()
	timedOut := fails(&net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for _, deadline := range []reloads.Option{reloads.WithAttemptTimeout(2 * time.Hour), reloads.WithAttemptTimeout(0), reloads.WithAttemptTimeout(time.Minute)} {
			wire := scripted(timedOut)
			_, err := scriptedClient(t, wire, deadline).Trigger(ctx, reloads.Request{AppID: "app"})
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want a timeout that is not DeadlineExceeded", err)
			}
			if op := new(net.OpError); !errors.As(err, &op) || op.Op != "dial" {
				t.Errorf("got %v, want the cause in its chain", err)
			}
			if wire.count(http.MethodPost) != 6 || wire.count(http.MethodGet) != 0 { // it was never sent
				t.Errorf("%d triggers and %d lists", wire.count(http.MethodPost), wire.count(http.MethodGet))
			}
		}
		canceled, cancelNow := context.WithCancel(t.Context())
		slow := outcome(func(r *http.Request) (*http.Response, error) {
			cancelNow()
			return timedOut(r)
		})
		if _, err := scriptedClient(t, slow).Get(canceled, reloadID); !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want context.Canceled only", err)
		}
		// net uses the deadline of a context, too, and its timer may be the first one.
		late := outcome(func(r *http.Request) (*http.Response, error) {
			deadline, _ := r.Context().Deadline()
			time.Sleep(time.Until(deadline))
			return timedOut(r)
		})
		short, cancelShort := context.WithDeadline(t.Context(), time.Now().Add(time.Second))
		defer cancelShort()
		if _, err := scriptedClient(t, late, noRetries).Get(short, reloadID); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the caller's DeadlineExceeded", err)
		}
	})
}

// The cause of a context, which net/http returns, can be the error of another call. It says nothing about this one.
func TestCauseOfContext(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]outcome{
		"404": respond(404, ""), "pending": respond(429, `{"errors":[{"code":"RELOADS-013"}]}`), "bad request": respond(400, ""),
		"not sent": fails(errDial), "host": fails(errDNS), "timeout": hangs,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, cause := scriptedClient(t, scripted(other), noRetries).Get(t.Context(), reloadID)
				ctx, cancel := context.WithCancelCause(t.Context())
				wire := scripted(func(r *http.Request) (*http.Response, error) {
					cancel(cause)
					return nil, &net.OpError{Op: "read", Net: "tcp", Err: context.Cause(r.Context())}
				})
				client := scriptedClient(t, wire)
				for result := range client.RunAll(ctx, []reloads.Request{{AppID: "app"}}) {
					if !errors.Is(result.Err, reloads.ErrOutcomeUnknown) || !errors.Is(result.Err, context.Canceled) || errors.Is(result.Err, reloads.ErrNotStarted) {
						t.Errorf("got %v, want ErrOutcomeUnknown because of ctx", result.Err)
					}
					for _, class := range []error{reloads.ErrNotFound, reloads.ErrReloadPending, reloads.ErrBadRequest, context.DeadlineExceeded} {
						if errors.Is(result.Err, class) {
							t.Errorf("%v matches %v, like the error of the other call", result.Err, class)
						}
					}
					if !strings.Contains(result.Err.Error(), cause.Error()) {
						t.Errorf("%v does not show the cause, %v", result.Err, cause)
					}
				}
			})
		})
	}
}

// Not even if it is the timeout of another call, or one of the errors of contexts.
func TestCauseThatIsAnErrorOfContexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}), noRetries)
		_, err := client.Get(t.Context(), reloadID)
		var timeout net.Error
		if !errors.As(err, &timeout) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(timeout) })
		if _, err := client.Get(ctx, reloadID); !errors.Is(err, context.Canceled) || errors.Is(err, timeout) {
			t.Errorf("got %v, want context.Canceled only", err)
		}
		ctx, cancelDeadline := context.WithTimeoutCause(t.Context(), time.Second, context.Canceled)
		defer cancelDeadline()
		if _, err := client.Get(ctx, reloadID); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want DeadlineExceeded only", err)
		}
	})
}

// The error of a body may wrap a net/url.Error of its own. It is kept, together with that of ctx.
func TestBodyErrorOfAnotherRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cause := &url.Error{Op: "Get", URL: "https://storage.example.com", Err: errReset}
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			cancel()
			resp, err := respond(http.StatusOK, "")(r)
			resp.Body = io.NopCloser(iotest.ErrReader(cause))
			return resp, err
		}))
		_, err := client.Get(ctx, reloadID)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || !strings.Contains(err.Error(), "reading the response body") {
			t.Errorf("got %v, want an error that matches both", err)
		}
	})
}

// blockedBody is a body that blocks until the context ends.
type blockedBody struct{ ctx context.Context }

func (s blockedBody) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// The timeout of an attempt includes reading the body.
func TestSlowBodyTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := scripted(slowResponse)
		began := time.Now()
		_, err := scriptedClient(t, wire, noRetries).Get(t.Context(), reloadID)
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestAttemptTimeoutExcludesLogBody(t *testing.T) {
	t.Parallel()
	limit := reloads.WithAttemptTimeout(7 * time.Second)
	synctest.Test(t, func(t *testing.T) {
		log, err := scriptedClient(t, scripted(respondStream(&delayedBody{360})), limit).Log(t.Context(), "app", reloadID)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if b, err := io.ReadAll(log); len(b) != 360 || err != nil || time.Since(began) != time.Hour {
			t.Errorf("%d bytes, %v after %v", len(b), err, time.Since(began))
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}

		began = time.Now()
		var timeout net.Error
		_, err = scriptedClient(t, scripted(hangs), limit, noRetries).Log(t.Context(), "app", reloadID)
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(began) != 7*time.Second {
			t.Errorf("without a log: %v after %v, want a timeout after 7s", err, time.Since(began))
		}
	})
}

// delayedBody is a body of one byte every ten seconds.
type delayedBody struct{ left int }

func (s *delayedBody) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(10 * time.Second)
	s.left--
	return copy(p, "."), nil
}

// A redirect is an error. Nothing is sent to its target.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere, hits := gateway(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, queued) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, target := range map[string]string{
			"a subdomain": "https://sub.localhost/api/v1/reloads", "plain http": "http://elsewhere.example.com/api/v1/reloads",
			"other port": elsewhere + "/api/v1/reloads", "other host": "https://elsewhere.example.com/", "same host": prefix + "/api/v1/reloads/2",
			"no target": "", "an invalid target": "https://%zz/?" + testToken,
		} {
			for _, e := range endpoints {
				client, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					if target != "" {
						w.Header().Set("Location", target)
					}
					w.WriteHeader(status)
				}, noRetries, reloads.WithLimiters(unlimited))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				err := e.call(ctx, client)
				cancel()
				if got := asError(t, err); got.StatusCode != status || len(requests.requests()) != 1 {
					t.Errorf("%s, %d to %s: %d requests, %v", e.name, status, name, len(requests.requests()), err)
				}
				checkNoSecrets(t, "the error", err.Error(), "elsewhere")
			}
		}
	}
	if n := len(hits.requests()); n != 0 {
		t.Errorf("%d requests went to the target of a redirect", n)
	}
}

// The client works with any http.Client, with or without a jar, a timeout and a transport.
func TestUserHTTPClients(t *testing.T) {
	t.Parallel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, hc := range map[string]*http.Client{
		"zero": {}, "with a jar": {Jar: jar}, "with a timeout": {Timeout: 10 * time.Second},
		"with a transport": {Transport: http.DefaultTransport},
	} {
		client, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "sticky", Value: "node7", Path: "/"})
			_, _ = io.WriteString(w, queued)
		}, reloads.WithHTTPClient(hc))
		for range 2 {
			if _, err := client.Get(t.Context(), reloadID); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		cookie := requests.requests()[1].Header.Get("Cookie")
		if (cookie == "sticky=node7") != (hc.Jar != nil) {
			t.Errorf("%s: the second request has the cookie %q", name, cookie)
		}
	}
}

func TestUserHTTPClientIsNotModified(t *testing.T) {
	t.Parallel()
	transport := &idleCountingTransport{scriptedTransport: scripted(respond(404, ""), respond(302, "", "Location", "https://elsewhere.example.com"))}
	checked := false
	hc := &http.Client{Transport: transport, Timeout: time.Hour, CheckRedirect: func(*http.Request, []*http.Request) error {
		checked = true
		return nil
	}}
	client := scriptedClient(t, nil, reloads.WithHTTPClient(hc))
	for range 2 {
		if _, err := client.Get(t.Context(), reloadID); err == nil {
			t.Error("no error")
		}
	}
	if hc.Transport != transport || hc.Timeout != time.Hour || hc.Jar != nil || checked {
		t.Errorf("the http.Client is now %+v; its CheckRedirect was called: %v", hc, checked)
	}
	if _ = hc.CheckRedirect(nil, nil); !checked {
		t.Error("the http.Client has another CheckRedirect")
	}
	if transport.closed != 0 {
		t.Errorf("the idle connections were closed %d times", transport.closed)
	}
}

// idleCountingTransport counts how often its idle connections are closed.
type idleCountingTransport struct {
	*scriptedTransport
	closed int
}

func (s *idleCountingTransport) CloseIdleConnections() { s.closed++ }

// After an attempt without a response, the next attempt closes its connection, because it may use the same dead one.
func TestDeadConnectionIsNotReused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var closes []bool
		noted := func(o outcome) outcome {
			return func(r *http.Request) (*http.Response, error) {
				closes = append(closes, r.Close)
				return o(r)
			}
		}
		ok := noted(respond(200, queued))
		drips := func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(blockedBody{r.Context()}), ContentLength: -1, Request: r}, nil
		}
		client := scriptedClient(t, scripted(ok, noted(hangs), noted(hangs), ok, ok, noted(drips), ok, ok, noted(hangs), ok, ok))
		for range 5 {
			if _, err := client.Get(t.Context(), reloadID); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // shorter than the timeout of an attempt
		defer cancel()
		if _, err := client.Get(ctx, reloadID); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := client.Get(t.Context(), reloadID); err != nil {
				t.Fatal(err)
			}
		}
		want := []bool{false, false, true, true, false, false, true, false, false, true, false}
		if diff := cmp.Diff(want, closes); diff != "" {
			t.Errorf("the connection is closed after the attempt (-want +got):\n%s", diff)
		}
	})
}

// An attempt makes its connection suspect if it ended by a timeout, whoever set it, or had no response for long.
func TestSuspectConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		outcome outcome
		cancel  time.Duration // after which the caller cancels
		suspect bool
	}{
		"timeout of the transport": {fails(fmt.Errorf("no header: %w", os.ErrDeadlineExceeded)), time.Hour, true},
		"timeout of a middleware":  {fails(context.DeadlineExceeded), time.Hour, true},
		"cancel of a middleware":   {fails(context.Canceled), time.Hour, false},
		"reset":                    {fails(errReset), time.Hour, false},
		"canceled early":           {hangs, 4 * time.Second, false},
		"canceled late":            {hangs, 6 * time.Second, true},
		"canceled late in the body": {func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(blockedBody{r.Context()}), ContentLength: -1, Request: r}, nil
		}, 6 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var closed bool
				client := scriptedClient(t, scripted(c.outcome, func(r *http.Request) (*http.Response, error) {
					closed = r.Close
					return respond(200, queued)(r)
				}), noRetries)
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(c.cancel, cancel).Stop()
				if _, err := client.Get(ctx, reloadID); err == nil {
					t.Fatal("the first call succeeded")
				}
				if _, err := client.Get(t.Context(), reloadID); err != nil || closed != c.suspect {
					t.Errorf("the next attempt closes its connection: %v, want %v (%v)", closed, c.suspect, err)
				}
				cancel()
			})
		})
	}
}

// Attempts that the caller cancels early make the connection suspect together, unless there is a response in between.
func TestSuspectConnectionOfManyAttempts(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var closed bool
			second := outcome(hangs)
			if answered {
				second = respond(200, queued)
			}
			client := scriptedClient(t, scripted(hangs, second, hangs, func(r *http.Request) (*http.Response, error) {
				closed = r.Close
				return respond(200, queued)(r)
			}), noRetries)
			for range 4 {
				ctx, cancel := context.WithCancel(t.Context())
				stop := time.AfterFunc(3*time.Second, cancel).Stop
				_, _ = client.Get(ctx, reloadID)
				stop()
				cancel()
			}
			if closed == answered {
				t.Errorf("answered %v: the next attempt closes its connection: %v", answered, closed)
			}
		})
	}
}

// If the server closed the connection between two calls, the next call uses another one.
func TestConnectionClosedByServer(t *testing.T) {
	t.Parallel()
	response := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", responseHead, len(queued), queued)
	client := rawClient(t, rawServer(t, writeText(response)), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 3}))
	for i := range 20 {
		if _, err := client.Get(t.Context(), reloadID); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

// A server without TLS is not retried.
func TestServerWithoutTLS(t *testing.T) {
	t.Parallel()
	var dialed atomic.Int32
	url, _ := gateway(t, always(http.StatusOK, queued))
	dialer := &net.Dialer{}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialed.Add(1)
		return dialer.DialContext(ctx, network, addr)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := reloads.NewClient(strings.Replace(url, "http:", "https:", 1), reloads.APIKey(testToken), reloads.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(t.Context(), reloadID); err == nil || dialed.Load() != 1 {
		t.Errorf("%d connections, %v", dialed.Load(), err)
	}
}

// countingListener counts the connections that it accepts. It can freeze them: they stay open, but nothing arrives any more.
type countingListener struct {
	net.Listener
	transport        *http.Transport // of the client
	accepted, frozen atomic.Int32
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &freezingConn{conn, l, l.accepted.Add(1)}, nil
}

// freeze freezes the connections that are open.
func (l *countingListener) freeze() { l.frozen.Store(l.accepted.Load()) }

// freezingConn is a connection of a countingListener.
type freezingConn struct {
	net.Conn
	listener *countingListener
	number   int32
}

func (c *freezingConn) isFrozen() bool { return c.number <= c.listener.frozen.Load() }

func (c *freezingConn) Read(p []byte) (int, error) {
	for {
		if n, err := c.Conn.Read(p); err != nil || !c.isFrozen() {
			return n, err
		}
	}
}

func (c *freezingConn) Write(p []byte) (int, error) {
	if c.isFrozen() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// spare is how many connections a test may open in addition: net/http does not reuse one if, on a busy machine, the goroutine
// that wrote the request has not said so within 50 ms.
const spare = 2

// countConnections starts a server that runs handler under the prefix, over HTTP/1.1 or HTTP/2. It returns a client of it
// with a pool of its own, and the counter of the server's connections.
func countConnections(t *testing.T, http2 bool, handler http.HandlerFunc, source reloads.TokenSource, opts ...reloads.Option) (*reloads.Client, *countingListener) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.ProtoMajor == 2) != http2 {
			t.Errorf("a request over %s", r.Proto)
		}
		handler(w, r)
	})))
	transport := &http.Transport{}
	listener := &countingListener{Listener: server.Listener, transport: transport}
	server.Listener = listener
	if server.EnableHTTP2 = http2; http2 {
		server.StartTLS()
		transport.ForceAttemptHTTP2, transport.TLSClientConfig = true, server.Client().Transport.(*http.Transport).TLSClientConfig
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	t.Cleanup(transport.CloseIdleConnections)
	opts = append([]reloads.Option{
		unmetered, reloads.WithHTTPClient(&http.Client{Transport: transport}),
		reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 5, MinBackoff: time.Millisecond}),
	}, opts...)
	client, err := reloads.NewClient(server.URL+prefix, source, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return client, listener
}

// respondOK responds as the service does when nothing fails.
func respondOK(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/actions/cancel"):
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, queued)
	case strings.HasPrefix(r.URL.Path, "/api/v1/apps/"):
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "line\r\n")
	case r.URL.Path == "/api/v1/reloads":
		_, _ = io.WriteString(w, emptyPage)
	default:
		_, _ = io.WriteString(w, queued)
	}
}

// The response of a failed attempt is read to its end, so that the retry uses the same connection.
func TestRetryReusesConnection(t *testing.T) {
	t.Parallel()
	page := "<html>" + strings.Repeat("The service is not available. ", 10_000) // longer than the buffers of net/http
	for name, c := range map[string]struct {
		status       int
		header, body string
	}{
		"503":           {http.StatusServiceUnavailable, "Retry-After: 0", page},
		"500":           {http.StatusInternalServerError, "", testdata(t, "error_500.json")},
		"502, streamed": {http.StatusBadGateway, "Content-Type: text/html", page},
		"401":           {http.StatusUnauthorized, "", testdata(t, "error_401.json")},
		"429":           {http.StatusTooManyRequests, "Retry-After: 0", ""},
	} {
		for _, http2 := range []bool{false, true} {
			for _, e := range endpoints {
				if e.name == "trigger" && (c.status == 500 || c.status == 502) {
					continue // it is not retried
				}
				t.Run(fmt.Sprintf("%s, %s, HTTP/2 %v", name, e.name, http2), func(t *testing.T) {
					sample(t, 4)
					t.Parallel()
					var requests, tokens atomic.Int32
					source := reloads.TokenFunc(func(context.Context) (string, error) { return fmt.Sprint(testToken, tokens.Add(1)), nil })
					client, listener := countConnections(t, http2, func(w http.ResponseWriter, r *http.Request) {
						if requests.Add(1)%2 == 0 {
							respondOK(w, r)
							return
						}
						if name, value, ok := strings.Cut(c.header, ": "); ok {
							w.Header().Set(name, value)
						}
						w.WriteHeader(c.status)
						_, _ = io.WriteString(w, c.body)
					}, source)
					for range 10 {
						if err := e.call(t.Context(), client); err != nil {
							t.Fatal(err)
						}
					}
					if n := listener.accepted.Load(); n < 1 || n > 1+spare || requests.Load() != 20 {
						t.Errorf("%d connections for %d requests, want 1 for 20", n, requests.Load())
					}
				})
			}
		}
	}
}

// hangOr responds like respondOK, except that requests for the reload "hangs" have no response until the client gives up.
func hangOr(entered chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/hangs") {
			respondOK(w, r)
			return
		}
		entered <- struct{}{}
		<-r.Context().Done()
	}
}

// A canceled call closes no connection of another call. Over HTTP/1.1 it closes its own one, over HTTP/2 none.
func TestCanceledCallsKeepConnections(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"canceled": context.WithCancel,
		"canceled with a cause": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(errors.New("the user gave up")) }
		},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", name, http2), func(t *testing.T) {
				t.Parallel()
				const canceled, others = 10, 3
				entered := make(chan struct{})
				client, listener := countConnections(t, http2, hangOr(entered), reloads.APIKey(testToken))
				get := func() {
					if _, err := client.Get(t.Context(), reloadID); err != nil {
						t.Error(err)
					}
				}
				get()
				for range canceled {
					ctx, cancel := end(t.Context())
					failed := make(chan error)
					go func() {
						_, err := client.Get(ctx, "hangs")
						failed <- err
					}()
					<-entered
					cancel()
					if err := <-failed; !errors.Is(err, context.Canceled) {
						t.Errorf("got %v, want Canceled", err)
					}
					for range others {
						get()
					}
				}
				want := int32(1)
				if !http2 {
					want += canceled
				}
				if n := listener.accepted.Load(); n < want || n > want+spare {
					t.Errorf("%d connections, want %d", n, want)
				}
			})
		}
	}
}

// A connection that no longer delivers anything is left, whatever limit ended the attempt.
func TestDeadConnectionIsLeft(t *testing.T) {
	t.Parallel()
	const short = 250 * time.Millisecond
	for name, c := range map[string]struct {
		timeout time.Duration // of an attempt
		header  time.Duration // timeout of the caller's transport
		limit   func(context.Context) (context.Context, context.CancelFunc)
	}{
		"attempt timeout":          {short, 0, context.WithCancel},
		"timeout of the transport": {0, short, context.WithCancel},
		"deadline": {0, 0, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, short)
		}},
		"deadline with a cause": {0, 0, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, short, errors.New("the batch took too long"))
		}},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", name, http2), func(t *testing.T) {
				t.Parallel()
				client, listener := countConnections(t, http2, respondOK, reloads.APIKey(testToken), noRetries, reloads.WithAttemptTimeout(c.timeout))
				listener.transport.ResponseHeaderTimeout = c.header
				get := func() error {
					ctx, cancel := c.limit(t.Context())
					defer cancel()
					_, err := client.Get(ctx, reloadID)
					return err
				}
				err := get()
				for range 20 { // the first handshake may take longer than the timeout
					if err == nil {
						break
					}
					err = get()
				}
				if err != nil {
					t.Fatal(err)
				}
				listener.freeze()
				for range 6 { // the second one tells net/http not to reuse the connection
					if err = get(); err == nil {
						return
					}
				}
				t.Errorf("all calls used the dead connection: %v", err)
			})
		}
	}
}

// wallDeadline is a context whose deadline was computed from a time of day. Its timer runs by the monotonic clock, so that
// it can end later than its deadline, for example after the machine was suspended.
type wallDeadline struct {
	context.Context
	deadline time.Time
}

func (w wallDeadline) Deadline() (time.Time, bool) { return w.deadline, true }

// The timeout of an attempt holds even if the deadline of ctx, which is nearer, passes without an effect.
func TestAttemptTimeoutAndDeadlineByTimeOfDay(t *testing.T) {
	t.Parallel()
	for _, left := range []time.Duration{-time.Hour, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			parent, cancel := context.WithTimeout(t.Context(), 5*time.Hour)
			defer cancel()
			client := scriptedClient(t, scripted(hangs, respond(200, queued)))
			began := time.Now()
			_, err := client.Get(wallDeadline{parent, began.Add(left).Round(0)}, reloadID)
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("%v left: %v after %v, want the timeout of an attempt, one minute", left, err, took)
			}
		})
	}
}

// closedOnce is a body that must not be closed again, as io.Closer leaves open what that does.
type closedOnce struct {
	io.Reader
	closed chan struct{}
}

func (c closedOnce) Close() error {
	close(c.closed)
	return nil
}

func TestBodyIsClosedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			resp, err := respond(http.StatusServiceUnavailable, "later")(r)
			resp.Body = closedOnce{resp.Body, make(chan struct{})}
			return resp, err
		}))
		for _, e := range endpoints {
			if err := e.call(t.Context(), client); err == nil {
				t.Errorf("%s: no error", e.name)
			}
		}
	})
}

// What the status of an error says, such as its Retry-After, does not wait for a body that never ends.
func TestErrorWithEndlessBody(t *testing.T) {
	t.Parallel()
	for limit, want := range map[time.Duration]time.Duration{time.Minute: 5 * time.Second, 2 * time.Second: 2 * time.Second, 0: 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
				resp, err := respond(http.StatusTooManyRequests, "", "Retry-After", "50")(r)
				resp.Body = io.NopCloser(blockedBody{r.Context()})
				return resp, err
			}), noRetries, reloads.WithAttemptTimeout(limit))
			began := time.Now()
			_, err := client.Get(t.Context(), reloadID)
			if e := asError(t, err); e.RetryAfter != 50*time.Second || time.Since(began) != want {
				t.Errorf("limit %v: %v after %v, want %v", limit, err, time.Since(began), want)
			}
		})
	}
}

// An attempt ends with a panic of the base transport.
func TestPanicEndsAttempt(t *testing.T) {
	t.Parallel()
	var attempt context.Context
	client := scriptedClient(t, scripted(func(r *http.Request) (*http.Response, error) {
		attempt = r.Context()
		panic("no response")
	}))
	func() {
		defer func() { _ = recover() }()
		_, _ = client.Get(t.Context(), reloadID)
	}()
	if attempt.Err() == nil {
		t.Error("the context of the attempt has not ended")
	}
}

// sharedResponse is a transport that returns one response to all requests, as simple stubs do.
type sharedResponse struct {
	t        *testing.T
	response *http.Response
}

func (s sharedResponse) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/elsewhere" {
		s.t.Error("the redirect was followed")
	}
	return s.response, nil
}

// shortBody is a body that many requests can read at once.
type shortBody string

func (b shortBody) Read(p []byte) (int, error) { return copy(p, b), io.EOF }
func (b shortBody) Close() error               { return nil }

// A transport may return the same response to concurrent requests. Neither the response nor its header is written to.
func TestSharedResponseIsNotModified(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   io.ReadCloser
	}{
		"record": {http.StatusOK, shortBody(queued)}, "created": {http.StatusCreated, shortBody(queued)}, "page": {http.StatusOK, shortBody(emptyPage)},
		"no content": {http.StatusNoContent, http.NoBody}, "redirect": {http.StatusFound, shortBody("moved")}, "permanent redirect": {http.StatusPermanentRedirect, shortBody("")},
		"refusal": {http.StatusForbidden, shortBody(`{"errors":[{"code":"RELOADS-003"}]}`)}, "HTML": {http.StatusNotFound, shortBody("<html>")},
		"without a body": {http.StatusNoContent, nil}, "refusal without a body": {http.StatusForbidden, nil}, "redirect without a body": {http.StatusFound, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				jar, err := cookiejar.New(nil)
				if err != nil {
					t.Fatal(err)
				}
				shared := &http.Response{StatusCode: c.status, Body: c.body, ContentLength: -1, Header: http.Header{
					"Location": {"/elsewhere"}, "Content-Type": {"text/plain"}, "Set-Cookie": {"sticky=node7"}, "Date": {"Wed, 04 Nov 2026 03:00:00 GMT"},
				}}
				before, header := *shared, shared.Header.Clone()
				client := scriptedClient(t, nil, unmetered, noRetries, reloads.WithHTTPClient(&http.Client{Transport: sharedResponse{t, shared}, Jar: jar, Timeout: time.Hour}))
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(100*time.Millisecond, cancel) // ends the reconciliation of a trigger
				var calling sync.WaitGroup
				for range 20 {
					for _, e := range endpoints {
						calling.Go(func() {
							if err := e.call(ctx, client); err == nil && c.status >= 300 {
								t.Errorf("%s, status %d: no error", e.name, c.status)
							}
						})
					}
				}
				calling.Wait()
				if diff := cmp.Diff(header, shared.Header); diff != "" {
					t.Errorf("the header (-want +got):\n%s", diff)
				}
				if shared.StatusCode != before.StatusCode || shared.Body != before.Body || shared.Request != before.Request || shared.ContentLength != before.ContentLength {
					t.Errorf("the response is now %+v, want %+v", *shared, before)
				}
			})
		})
	}
}

// A host that does not exist, or has no valid certificate, is not tried again. A resolver that fails temporarily is.
func TestUnknownHostIsNotRetried(t *testing.T) {
	t.Parallel()
	calls := map[string]func(context.Context, *reloads.Client) error{
		"Wait": func(ctx context.Context, c *reloads.Client) error { _, err := c.Wait(ctx, reloadID); return err },
		"Watch": func(ctx context.Context, c *reloads.Client) error {
			_, _, err := collect(c.Watch(ctx, reloadID))
			return err
		},
		"Run": func(ctx context.Context, c *reloads.Client) error {
			_, err := c.Run(ctx, reloads.Request{AppID: "app"}, reloads.AttachToPending(), reloads.CancelOnAbort())
			return err
		},
		"RunAll": func(ctx context.Context, c *reloads.Client) (err error) {
			for r := range c.RunAll(ctx, requestsFor("app")) {
				err = r.Err
			}
			return err
		},
		"WaitAll": func(ctx context.Context, c *reloads.Client) (err error) {
			for r := range c.WaitAll(ctx, []*reloads.Reload{{ID: reloadID}}) {
				err = r.Err
			}
			return err
		},
	}
	for _, e := range endpoints {
		calls[e.name] = e.call
	}
	unknown := &net.DNSError{Err: "no such host", Name: "tenant.example.com", IsNotFound: true}
	temporary := &net.DNSError{Err: "server misbehaving", Name: "tenant.example.com", IsTemporary: true}
	timeout := &net.DNSError{Err: "i/o timeout", Name: "tenant.example.com", IsTimeout: true, IsTemporary: true}
	for name, c := range map[string]struct {
		err   error
		retry bool
	}{
		"unknown host": {unknown, false}, "unknown host, from a dialer": {&net.OpError{Op: "dial", Net: "tcp", Err: unknown}, false},
		"invalid certificate": {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		"unknown proxy":       {&net.OpError{Op: "proxyconnect", Net: "tcp", Err: &net.OpError{Op: "dial", Err: unknown}}, false},
		"temporary":           {temporary, true}, "timeout, from a dialer": {&net.OpError{Op: "dial", Net: "tcp", Err: timeout}, true},
	} {
		for call, do := range calls {
			t.Run(name+", "+call, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dials := 0
					transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
						dials++
						return nil, c.err
					}}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					began := time.Now()
					err := do(ctx, scriptedClient(t, transport))
					took := time.Since(began)
					if !errors.Is(err, c.err) && !c.retry || err == nil || errors.Is(err, reloads.ErrOutcomeUnknown) {
						t.Errorf("got %v, want %v", err, c.err)
					}
					limit := time.Duration(0)
					if call == "WaitAll" || call == "RunAll" {
						limit = 2 * time.Second // until the first poll, and until all goroutines have ended
					}
					switch {
					case !c.retry && (dials != 1 || took > limit):
						t.Errorf("%d dials within %v, want 1 at once", dials, took)
					case c.retry && (dials < 6 || took < 5*time.Second):
						t.Errorf("%d dials within %v, want at least 6", dials, took)
					}
				})
			})
		}
	}
}

// A server reads a trigger and then sends something that is not TLS. The trigger may have taken effect.
func TestTriggerWithInvalidTLSResponse(t *testing.T) {
	t.Parallel()
	var posts atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusForbidden) // the reload cannot be found
			return
		}
		posts.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		raw := conn.(*tls.Conn).NetConn()
		_, _ = io.WriteString(raw, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		time.Sleep(50 * time.Millisecond) // closing at once may reset the connection instead
		_ = raw.Close()
	}))
	server.StartTLS()
	t.Cleanup(server.Close)
	client := rawClient(t, server.URL, reloads.WithHTTPClient(server.Client()))
	reload, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
	if reload != nil || !errors.Is(err, reloads.ErrOutcomeUnknown) || posts.Load() != 1 {
		t.Errorf("got %v, %v after %d triggers, want ErrOutcomeUnknown after 1", reload, err, posts.Load())
	}
}
