package reloads_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync/atomic"
	"testing"
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
		})
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
		"that checks redirects": {CheckRedirect: func(*http.Request, []*http.Request) error {
			t.Error("CheckRedirect was called")
			return nil
		}},
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
