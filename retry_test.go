package reloads_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
)

// The failure and the operation decide whether a request is retried.
func TestRetriesByFailureAndOperation(t *testing.T) {
	t.Parallel()
	rate := testdata(t, "error_429_rate.json")
	type want int
	const (
		retried    want = iota // the request is retried, which succeeds
		reconciled             // a trigger lists the reloads before it is retried; other requests are retried
		final                  // the request is not retried
	)
	for _, c := range []struct {
		name  string
		first outcome
		want  want
	}{
		{"refused connection", fails(errDial), retried},
		{"unknown host", fails(errDNS), retried},
		{"connection reset", fails(errReset), reconciled},
		{"connection closed", fails(io.EOF), reconciled},
		{"timeout", hangs, reconciled},
		{"500", respond(500, testdata(t, "error_500.json")), reconciled},
		{"502", respond(502, testdata(t, "gateway_502.html")), reconciled},
		{"504", respond(504, ""), reconciled},
		{"503", respond(503, ""), reconciled},
		{"503 with Retry-After", respond(503, "", "Retry-After", "2"), retried},
		{"503 with Retry-After of 0", respond(503, "", "Retry-After", "0"), retried},
		{"429 with Retry-After", respond(429, rate, "Retry-After", "13"), retried},
		{"429 of the rate limit", respond(429, rate), retried},
		{"429 of a gateway", respond(429, "<html>"), retried},
		{"400", respond(400, testdata(t, "error_400.json")), final},
		{"403", respond(403, testdata(t, "error_403_forbidden.json")), final},
		{"quota", respond(403, testdata(t, "error_403_quota.json")), final},
		{"404", respond(404, testdata(t, "error_404.json")), final},
		{"409", respond(409, testdata(t, "error_409.json")), final},
		{"pending", respond(429, testdata(t, "error_429_pending.json")), final},
	} {
		for _, e := range endpoints {
			t.Run(c.name+" "+e.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					first := true
					wire := scripted(func(r *http.Request) (*http.Response, error) {
						switch {
						case e.name == "trigger" && r.Method == http.MethodGet:
							return respond(200, emptyPage)(r) // no reload was made
						case first:
							first = false
							return c.first(r)
						}
						return e.ok(r)
					})
					err := e.call(t.Context(), scriptedClient(t, wire))
					sent, lists := wire.count(e.method), len(wire.requests())-wire.count(e.method)
					if c.want == final {
						if err == nil || sent != 1 || lists != 0 || errors.Is(err, reloads.ErrOutcomeUnknown) {
							t.Errorf("sent %d times with %d lists, error %v; want once and the error", sent, lists, err)
						}
						return
					}
					if err != nil || sent != 2 {
						t.Errorf("sent %d times, error %v; want twice and no error", sent, err)
					}
					if listed := lists > 0; listed != (c.want == reconciled && e.name == "trigger") {
						t.Errorf("%d lists", lists)
					}
					// The client waits before the retry.
					if all := wire.requests(); all[len(all)-1].At.Sub(all[0].At) < 250*time.Millisecond {
						t.Errorf("retried after %v", all[len(all)-1].At.Sub(all[0].At))
					}
				})
			})
		}
	}
}

// These statuses are never retried, whatever the body is.
func TestFinalStatusesAreNotRetried(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 402, 403, 404, 405, 406, 409, 410, 413, 415, 418, 422, 451, 501, 505, 511, 300, 304, 399} {
		for _, e := range endpoints {
			wire := scripted(respond(status, ""))
			err := e.call(t.Context(), scriptedClient(t, wire))
			if got := asError(t, err); got.StatusCode != status || len(wire.requests()) != 1 || errors.Is(err, reloads.ErrOutcomeUnknown) {
				t.Errorf("%s, %d: %d requests and %v", e.name, status, len(wire.requests()), err)
			}
		}
	}
}

func TestTruncatedBodyIsRetried(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints[:2] {
		synctest.Test(t, func(t *testing.T) {
			wire := scripted(truncatedResponse(200), truncatedResponse(200), e.ok)
			if err := e.call(t.Context(), scriptedClient(t, wire)); err != nil || len(wire.requests()) != 3 {
				t.Errorf("%s: %d requests, %v", e.name, len(wire.requests()), err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		wire := scripted(truncatedResponse(201), respond(200, emptyPage))
		_, err := scriptedClient(t, wire, noRetries).Trigger(t.Context(), reloads.Request{AppID: "app"})
		if !errors.Is(err, reloads.ErrOutcomeUnknown) || !errors.Is(err, errReset) || wire.count("POST") != 1 {
			t.Errorf("trigger: sent %d times, %v", wire.count("POST"), err)
		}
	})
}

// truncatedResponse responds with a body that ends with a lost connection.
func truncatedResponse(status int) outcome {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: http.Header{}, ContentLength: 100, Body: io.NopCloser(&truncatedBody{text: `{"id":`}), Request: r,
		}, nil
	}
}

func TestRetryAfterIsHonored(t *testing.T) {
	t.Parallel()
	const date = "Wed, 04 Nov 2026 03:00:00 GMT"
	for _, c := range []struct {
		value    string
		min, max time.Duration
	}{
		{"13", 13 * time.Second, 13 * time.Second},
		{" 1 ", time.Second, time.Second},
		{"300", 5 * time.Minute, 5 * time.Minute},
		{"Wed, 04 Nov 2026 03:00:07 GMT", 7 * time.Second, 7 * time.Second},
		// These values are ignored, and the client uses its backoff.
		{"0", 250 * time.Millisecond, 500 * time.Millisecond},
		{"Wed, 04 Nov 2026 02:00:00 GMT", 250 * time.Millisecond, 500 * time.Millisecond},
		{"-5", 250 * time.Millisecond, 500 * time.Millisecond},
		{"1.5", 250 * time.Millisecond, 500 * time.Millisecond},
		{"soon", 250 * time.Millisecond, 500 * time.Millisecond},
		{"", 250 * time.Millisecond, 500 * time.Millisecond},
	} {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				wire := scripted(respond(429, testdata(t, "error_429_rate.json"), "Retry-After", c.value, "Date", date), e.ok)
				err := e.call(t.Context(), scriptedClient(t, wire, reloads.WithLimiters(unlimited)))
				if gaps := wire.gaps(); err != nil || len(gaps) != 1 || gaps[0] < c.min || gaps[0] > c.max {
					t.Errorf("%s, Retry-After %q: retried after %v, want %v to %v; %v", e.name, c.value, gaps, c.min, c.max, err)
				}
			})
		}
	}
}

func TestRetryAfterAboveMaximumEndsRetries(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"301": 301 * time.Second, "99999999999999999999": 9223372036 * time.Second, "9223372037": 9223372036 * time.Second,
	} {
		for _, e := range endpoints {
			for _, status := range []int{429, 503} {
				synctest.Test(t, func(t *testing.T) {
					wire := scripted(respond(status, "", "Retry-After", value))
					err := e.call(t.Context(), scriptedClient(t, wire))
					if got := asError(t, err); got.RetryAfter != want || len(wire.requests()) != 1 {
						t.Errorf("%s, %d with Retry-After %s: %d requests, RetryAfter %v, want %v", e.name, status, value, len(wire.requests()), got.RetryAfter, want)
					}
				})
			}
		}
	}
}

// The time that a server can make the client wait is bounded.
func TestWaitForRetryAfterIsBounded(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"-5", "1.5", "1e9", "99999999999999999999", "315360000", "Mon, 01 Jan 1990 00:00:00 GMT", "Tue, 01 Jan 2036 00:00:00 GMT",
		"Thu, 31 Dec 9999 23:59:59 GMT", "soon", "0", " ", "١٣", strings.Repeat("9", 100_000),
	} {
		for _, status := range []int{429, 503} {
			for _, e := range endpoints {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
					defer cancel()
					wire := scripted(respond(status, `{"errors":[{"code":"HTTP-429"}]}`, "Retry-After", value))
					began := time.Now()
					err := e.call(ctx, scriptedClient(t, wire))
					if err == nil || ctx.Err() != nil {
						t.Errorf("%s, %d, %.40q: %v", e.name, status, value, err)
					}
					if took := time.Since(began); took > 30*time.Minute {
						t.Errorf("%s, %d, %.40q: took %v", e.name, status, value, took)
					}
				})
			}
		}
	}
}

func TestBackoffDoublesWithJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 20 {
			wire := scripted(respond(500, ""))
			client := scriptedClient(t, wire, reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 8}))
			_, err := client.Get(t.Context(), reloadID)
			if e := asError(t, err); e.Attempts != 9 || !errors.Is(err, reloads.ErrServer) {
				t.Errorf("%v after %d attempts, want ErrServer after 9", err, e.Attempts)
			}
			most := 500 * time.Millisecond
			for i, gap := range wire.gaps() {
				if gap < most/2 || gap > most {
					t.Errorf("wait %d is %v, want %v to %v", i, gap, most/2, most)
				}
				most = min(2*most, 30*time.Second)
			}
			seen[wire.gaps()[0]] = true
		}
		if len(seen) < 10 {
			t.Errorf("%d of 20 waits differ: no jitter", len(seen))
		}
	})
}

func TestRetryPolicy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy   reloads.RetryPolicy
		requests int
	}{
		"none":    {reloads.RetryPolicy{}, 1},
		"two":     {reloads.RetryPolicy{MaxRetries: 2}, 3},
		"backoff": {reloads.RetryPolicy{MaxRetries: 2, MinBackoff: time.Hour}, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			wire := scripted(respond(500, ""))
			_, err := scriptedClient(t, wire, reloads.WithRetry(c.policy)).Get(t.Context(), reloadID)
			if e := asError(t, err); len(wire.requests()) != c.requests || e.Attempts != c.requests {
				t.Errorf("%s: %d requests, Attempts %d, want %d", name, len(wire.requests()), e.Attempts, c.requests)
			}
			for _, gap := range wire.gaps() {
				if least := max(c.policy.MinBackoff/2, 250*time.Millisecond); gap < least {
					t.Errorf("%s: waited %v, want at least %v", name, gap, least)
				}
			}
		})
	}
	// The largest MaxRetries does not overflow.
	synctest.Test(t, func(t *testing.T) {
		wire := scripted(append(slices.Repeat([]outcome{fails(errDial)}, 100), respond(200, queued))...)
		client := scriptedClient(t, wire, reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 1<<63 - 1}))
		if _, err := client.Get(t.Context(), reloadID); err != nil {
			t.Errorf("with the largest MaxRetries: %d requests, %v", len(wire.requests()), err)
		}
	})
}

func TestContextEndsRetries(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints {
		synctest.Test(t, func(t *testing.T) {
			wire := scripted(respond(429, testdata(t, "error_429_rate.json"), "Retry-After", "60"))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Second, cancel)
			began := time.Now()
			err := e.call(ctx, scriptedClient(t, wire))
			if !errors.Is(err, context.Canceled) || asError(t, err).StatusCode != 429 || time.Since(began) != 10*time.Second {
				t.Errorf("%s, canceled: got %v after %v", e.name, err, time.Since(began))
			}

			ctx, cancel = context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			began, wire = time.Now(), scripted(respond(429, testdata(t, "error_429_rate.json"), "Retry-After", "60"))
			err = e.call(ctx, scriptedClient(t, wire))
			if !errors.Is(err, context.DeadlineExceeded) || asError(t, err).StatusCode != 429 || time.Since(began) != 0 {
				t.Errorf("%s, a deadline before the next attempt: got %v after %v", e.name, err, time.Since(began))
			}
			if n := len(wire.requests()); n != 1 {
				t.Errorf("%s: %d requests", e.name, n)
			}
		})
	}
}
