package reloads_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
)

func TestRetryAfterIsKeptExactly(t *testing.T) {
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
		// The rest say nothing, so that the client chooses.
		{"0", 250 * time.Millisecond, 500 * time.Millisecond},
		{"Wed, 04 Nov 2026 02:00:00 GMT", 250 * time.Millisecond, 500 * time.Millisecond},
		{"-5", 250 * time.Millisecond, 500 * time.Millisecond},
		{"1.5", 250 * time.Millisecond, 500 * time.Millisecond},
		{"soon", 250 * time.Millisecond, 500 * time.Millisecond},
		{"", 250 * time.Millisecond, 500 * time.Millisecond},
	} {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				wire := plays(answer(429, testdata(t, "error_429_rate.json"), "Retry-After", c.value, "Date", date), e.ok)
				err := e.call(t.Context(), scriptedClient(t, wire, reloads.WithLimiters(unlimited)))
				if gaps := wire.gaps(); err != nil || len(gaps) != 1 || gaps[0] < c.min || gaps[0] > c.max {
					t.Errorf("%s, Retry-After %q: sent again after %v, want %v to %v; %v", e.name, c.value, gaps, c.min, c.max, err)
				}
			})
		}
	}
}

func TestARetryAfterThatIsTooLongIsReturned(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"301": 301 * time.Second, "99999999999999999999": 9223372036 * time.Second, "9223372037": 9223372036 * time.Second,
	} {
		for _, e := range endpoints {
			for _, status := range []int{429, 503} {
				synctest.Test(t, func(t *testing.T) {
					wire := plays(answer(status, "", "Retry-After", value))
					err := e.call(t.Context(), scriptedClient(t, wire))
					if got := asError(t, err); got.RetryAfter != want || len(wire.requests()) != 1 {
						t.Errorf("%s, %d with Retry-After %s: %d requests, RetryAfter %v, want %v", e.name, status, value, len(wire.requests()), got.RetryAfter, want)
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
			wire := plays(answer(500, ""))
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
			t.Errorf("of 20 waits %d are different: no jitter", len(seen))
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
			wire := plays(answer(500, ""))
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
	// As many as one likes, until it passes.
	synctest.Test(t, func(t *testing.T) {
		wire := plays(append(slices.Repeat([]outcome{fails(errDial)}, 100), answer(200, queued))...)
		client := scriptedClient(t, wire, reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 1<<63 - 1}))
		if _, err := client.Get(t.Context(), reloadID); err != nil {
			t.Errorf("with the largest MaxRetries: %d requests, %v", len(wire.requests()), err)
		}
	})
}

func TestContextEndsTheRetries(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints {
		synctest.Test(t, func(t *testing.T) {
			wire := plays(answer(429, testdata(t, "error_429_rate.json"), "Retry-After", "60"))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Second, cancel)
			began := time.Now()
			err := e.call(ctx, scriptedClient(t, wire))
			if !errors.Is(err, context.Canceled) || asError(t, err).StatusCode != 429 || time.Since(began) != 10*time.Second {
				t.Errorf("%s, canceled: got %v after %v", e.name, err, time.Since(began))
			}

			ctx, cancel = context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			began, wire = time.Now(), plays(answer(429, testdata(t, "error_429_rate.json"), "Retry-After", "60"))
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
