package reloads_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

func TestContextEndsAnAttempt(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			wire := plays(hangs)
			err := e.call(ctx, scriptedClient(t, wire))
			if !errors.Is(err, context.DeadlineExceeded) || len(wire.requests()) != 1 {
				t.Errorf("%s: %d requests, %v", e.name, len(wire.requests()), err)
			}
			if got := errors.Is(err, reloads.ErrOutcomeUnknown); got != (e.name == "trigger") {
				t.Errorf("%s: ErrOutcomeUnknown is %v", e.name, got)
			}
			// A context that has ended sends nothing, so nothing is unknown.
			for name, opt := range map[string]reloads.Option{
				"client's limiter":          reloads.WithLimiters(reloads.Limiters{}),
				"limiter that does not ask": reloads.WithLimiters(reloads.Limiters{Read: &counter{}, Trigger: &counter{}, Cancel: &counter{}}),
			} {
				wire = plays(e.ok)
				err = e.call(ctx, scriptedClient(t, wire, opt))
				if !errors.Is(err, context.DeadlineExceeded) || len(wire.requests()) != 0 || errors.Is(err, reloads.ErrOutcomeUnknown) {
					t.Errorf("%s, ended before, %s: %d requests, %v", e.name, name, len(wire.requests()), err)
				}
			}
		})
	}
}

func TestAttemptTimeout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opts []reloads.Option
		user time.Duration // of the user's http.Client
		want time.Duration
	}{
		"default":       {nil, 0, time.Minute},
		"shorter":       {[]reloads.Option{reloads.WithAttemptTimeout(5 * time.Second)}, 0, 5 * time.Second},
		"user's":        {nil, 7 * time.Second, 7 * time.Second},
		"both":          {[]reloads.Option{reloads.WithAttemptTimeout(5 * time.Second)}, 7 * time.Second, 5 * time.Second},
		"none but user": {[]reloads.Option{reloads.WithAttemptTimeout(0)}, 7 * time.Second, 7 * time.Second},
		"none":          {[]reloads.Option{reloads.WithAttemptTimeout(0)}, 0, time.Hour}, // the context's
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			hc := &http.Client{Transport: plays(hangs), Timeout: c.user}
			began := time.Now()
			_, err := scriptedClient(t, nil, append(c.opts, none, reloads.WithHTTPClient(hc))...).Get(ctx, reloadID)
			if took := time.Since(began); err == nil || took != c.want {
				t.Errorf("%s: gave up after %v, want %v: %v", name, took, c.want, err)
			}
		})
	}
}

// counter is a limiter that lets everything through, or fails at its nth call.
type counter struct{ calls, failAt int }

var errLimiter = errors.New("the limiter is broken")

func (c *counter) Wait(context.Context) error {
	if c.calls++; c.calls == c.failAt {
		return errLimiter
	}
	return nil
}

func TestEveryAttemptAsksItsOwnLimiter(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][3]int{"list": {3, 0, 0}, "get": {3, 0, 0}, "trigger": {0, 3, 0}, "cancel": {0, 0, 3}} {
		synctest.Test(t, func(t *testing.T) {
			for _, e := range endpoints {
				if e.name != name {
					continue
				}
				var read, trigger, cancel counter
				with := reloads.WithLimiters(reloads.Limiters{Read: &read, Trigger: &trigger, Cancel: &cancel})
				if err := e.call(t.Context(), scriptedClient(t, plays(fails(errDial), fails(errDial), e.ok), with)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, [3]int{read.calls, trigger.calls, cancel.calls}); diff != "" {
					t.Errorf("%s: calls of read, trigger and cancel (-want +got):\n%s", name, diff)
				}
				// Its error ends the call: before anything is sent, or before it is sent again.
				for at := 1; at <= 2; at++ {
					broken := func() reloads.Limiter { return &counter{failAt: at} }
					wire := plays(fails(errDial))
					with := reloads.WithLimiters(reloads.Limiters{Read: broken(), Trigger: broken(), Cancel: broken()})
					err := e.call(t.Context(), scriptedClient(t, wire, with))
					if !errors.Is(err, errLimiter) || errors.Is(err, errDial) != (at == 2) || len(wire.requests()) != at-1 {
						t.Errorf("%s, failing at call %d: %d requests, %v", name, at, len(wire.requests()), err)
					}
				}
			}
		})
	}
}
