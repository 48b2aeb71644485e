package redislimit_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/redislimit"
)

var _ reloads.Limiter = (*redislimit.Limiter)(nil)
var _ interface{ Pause(time.Time) } = (*redislimit.Limiter)(nil)

const key = "reloads:{test}:trigger"

// newLimiter returns a limiter whose calls may take long, because the machine of a test may be busy.
func newLimiter(t testing.TB, client redis.Scripter, requests int, per time.Duration, opts ...redislimit.Option) *redislimit.Limiter {
	t.Helper()
	opts = append([]redislimit.Option{redislimit.WithTimeout(time.Minute)}, opts...)
	l, err := redislimit.New(client, key, requests, per, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// within calls Wait with a timeout of d.
func within(t *testing.T, l *redislimit.Limiter, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return l.Wait(ctx)
}

func isTooLate(err error) bool {
	return errors.Is(err, reloads.ErrRateLimited) && errors.Is(err, context.DeadlineExceeded)
}

func TestAnIdleFleetMayStartAllAtOnce(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	client, trips := connect(t, server)
	other, _ := connect(t, server)
	fleet := []*redislimit.Limiter{newLimiter(t, client, 50, time.Hour), newLimiter(t, other, 50, time.Hour)}
	for i := range 50 {
		if err := within(t, fleet[i%2], 50*time.Minute); err != nil {
			t.Fatalf("request %d of an idle fleet: %v", i+1, err)
		}
	}
	if err := within(t, fleet[0], 50*time.Minute); !isTooLate(err) {
		t.Errorf("request 51: got %v, want an error that matches ErrRateLimited and DeadlineExceeded", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fleet[0].Wait(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, reloads.ErrRateLimited) {
		t.Errorf("with a canceled context: %v", err)
	}
	if n := trips.Load(); n != 26+1 { // the server did not know the script at first
		t.Errorf("26 calls took %d round trips", n)
	}
}

// One thousand requests wait in one process, far from Redis or near: each of them starts, with
// two round trips at most. Waiting for a call is not an outage.
func TestAThousandWaiters(t *testing.T) {
	t.Parallel()
	for _, roundTrip := range []time.Duration{0, 10 * time.Millisecond, 40 * time.Millisecond} {
		t.Run(roundTrip.String(), func(t *testing.T) {
			t.Parallel()
			const waiters, limit, per = 1000, 500, 20 * time.Second
			client, trips := connectFarAway(t, startRedis(t).Addr, roundTrip)
			if err := client.ScriptLoad(t.Context(), script(t)).Err(); err != nil {
				t.Fatal(err)
			}
			l := newLimiter(t, client, limit, per, redislimit.WithTimeout(2*time.Second))
			var wg sync.WaitGroup
			for range waiters {
				wg.Go(func() {
					if err := l.Wait(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			t.Logf("%d requests made %d round trips", waiters, trips.Load())
			if n := trips.Load(); n > 2*waiters {
				t.Errorf("%d requests made %d round trips, want at most 2 each", waiters, n)
			}
		})
	}
}

func TestAWaiterThatGivesUp(t *testing.T) {
	t.Parallel()
	client, trips := connect(t, startRedis(t))
	l := newLimiter(t, client, 1, time.Minute)
	if err := l.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := l.Wait(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, reloads.ErrRateLimited) {
				t.Errorf("a canceled request got %v", err)
			}
		})
	}
	for grantedSlots(t, client) < 21 { // until all of them have a slot
	}
	cancel()
	wg.Wait()
	if n := trips.Load(); n > 1+1+2*20 {
		t.Errorf("one request and 20 canceled ones made %d round trips, want at most 2 each", n)
	}
	if err := within(t, l, 59*time.Second); !isTooLate(err) || !strings.Contains(err.Error(), "may start in 1m") {
		t.Errorf("after the cancellations: got %v, want a start in one minute", err)
	}
}

func TestAPauseHoldsEverybody(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	one, _ := connect(t, server)
	two, _ := connect(t, server)
	const per = 15 * time.Second
	pauser, waiter := newLimiter(t, one, 2, per), newLimiter(t, two, 2, per)
	for _, l := range []*redislimit.Limiter{pauser, waiter} {
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := grantedSlots(t, two)
	waited := make(chan error)
	go func() { waited <- waiter.Wait(t.Context()) }()
	for grantedSlots(t, two) == before {
	}
	began := time.Now()
	pauser.Pause(began.Add(per))
	if err := within(t, waiter, per*9/10); !isTooLate(err) {
		t.Errorf("with a deadline before the end of the pause: %v", err)
	}
	if err := <-waited; err != nil || time.Since(began) < per {
		t.Errorf("a waiting request started %v after the beginning of a pause of %v: %v", time.Since(began), per, err)
	}
	if n := grantedSlots(t, two); n != before+1 {
		t.Errorf("%d slots were granted, want %d: a waiting request keeps its slot", n, before+1)
	}
}

// grantedSlots returns the number of slots that were granted.
func grantedSlots(t *testing.T, client *redis.Client) int {
	t.Helper()
	n, err := client.HGet(t.Context(), key, "seq").Int()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKeysExpire(t *testing.T) {
	t.Parallel()
	client, _ := connect(t, startRedis(t))
	l := newLimiter(t, client, 5, 6*time.Second)
	if err := l.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Pause(time.Now().Add(time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		n, err := client.Exists(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

func TestNewLimiters(t *testing.T) {
	t.Parallel()
	client, _ := connect(t, startRedis(t))
	limiters, err := redislimit.NewLimiters(client, "tenant.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []reloads.Limiter{limiters.Read, limiters.Trigger, limiters.Cancel} {
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for _, tier := range []string{"read", "trigger", "cancel"} {
		k := "reloads:{tenant.example.com}:" + tier
		got[k] = client.HGet(t.Context(), k, "limit").Val()
	}
	want := map[string]string{
		"reloads:{tenant.example.com}:read":    "1000/1m0s",
		"reloads:{tenant.example.com}:trigger": "50/1m0s",
		"reloads:{tenant.example.com}:cancel":  "50/1m0s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	defer client.Close()
	noTimeout := redis.NewClient(&redis.Options{})
	defer noTimeout.Close()
	for name, make := range map[string]func() (*redislimit.Limiter, error){
		"no client":          func() (*redislimit.Limiter, error) { return redislimit.New(nil, key, 1, time.Minute) },
		"no context timeout": func() (*redislimit.Limiter, error) { return redislimit.New(noTimeout, key, 1, time.Minute) },
		"no key":             func() (*redislimit.Limiter, error) { return redislimit.New(client, "", 1, time.Minute) },
		"no requests":        func() (*redislimit.Limiter, error) { return redislimit.New(client, key, 0, time.Minute) },
		"too many requests":  func() (*redislimit.Limiter, error) { return redislimit.New(client, key, 1e6+1, time.Minute) },
		"a short period":     func() (*redislimit.Limiter, error) { return redislimit.New(client, key, 1, time.Millisecond) },
		"a long period":      func() (*redislimit.Limiter, error) { return redislimit.New(client, key, 1, 25*time.Hour) },
		"a nil option":       func() (*redislimit.Limiter, error) { return redislimit.New(client, key, 1, time.Minute, nil) },
		"no time": func() (*redislimit.Limiter, error) {
			return redislimit.New(client, key, 1, time.Minute, redislimit.WithTimeout(0))
		},
		"no share": func() (*redislimit.Limiter, error) {
			return redislimit.New(client, key, 1, time.Minute, redislimit.LocalShare(2))
		},
	} {
		if l, err := make(); err == nil || l != nil || !strings.HasPrefix(err.Error(), "redislimit: ") {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	for _, budget := range []string{"", "a{b"} {
		if _, err := redislimit.NewLimiters(client, budget); err == nil {
			t.Errorf("the budget %q was accepted", budget)
		}
	}
}
