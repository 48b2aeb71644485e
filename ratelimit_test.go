package reloads_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// startTimes starts n requests from several goroutines and returns when the limiter let each of them start.
func startTimes(t *testing.T, l reloads.Limiter, n, goroutines int) []time.Duration {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for range n/goroutines + min(1, max(0, n%goroutines-g)) {
				if err := l.Wait(t.Context()); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				all = append(all, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

// maxInWindow returns the largest number of starts in any window.
func maxInWindow(starts []time.Duration, window time.Duration) int {
	found, first := 0, 0
	for i := range starts {
		for starts[i]-starts[first] >= window {
			first++
		}
		found = max(found, i-first+1)
	}
	return found
}

func TestWindowLimiterIsExactInEveryWindow(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int{"special": reloads.SpecialPerMinute, "tier 1": reloads.Tier1PerMinute, "one": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := reloads.NewLimiter(limit, time.Minute)
				got := startTimes(t, l, 10*limit, 3)
				if n := maxInWindow(got, time.Minute); n != limit {
					t.Errorf("%d requests started within a minute, want %d", n, limit)
				}
				if idle := got[limit-1]; idle != 0 {
					t.Errorf("request %d of an idle limiter waited %v", limit, idle)
				}
				// After the burst, the requests of nine minutes start at 98 % of the rate.
				if last, want := got[len(got)-1], 9*time.Minute*100/98; last > want {
					t.Errorf("the last request started after %v, want at most %v", last, want)
				}
			})
		})
	}
}

func TestWindowLimiterIsExactForRandomPatterns(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			l := reloads.NewLimiter(20, time.Minute)
			began := time.Now()
			var all []time.Duration
			for range 500 {
				if random.IntN(5) == 0 {
					time.Sleep(time.Duration(random.Int64N(int64(50 * time.Second))))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(20*time.Second))))
				if l.Wait(ctx) == nil {
					all = append(all, time.Since(began))
				}
				cancel()
			}
			if n := maxInWindow(all, time.Minute); n > 20 {
				t.Errorf("seed %d: %d requests started within a minute, want at most 20", seed, n)
			}
		})
	}
}

// Without smoothing, a whole burst would start every minute.
func TestWindowLimiterSmoothsSustainedLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := startTimes(t, reloads.NewLimiter(50, time.Minute), 50*480, 1)
		if n := maxInWindow(got[len(got)-500:], time.Second); n > 5 {
			t.Errorf("after eight hours, %d requests still start within a second", n)
		}
	})
}

func TestWindowLimiterServesInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := reloads.NewLimiter(2, time.Minute)
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 9 {
			wg.Go(func() {
				if l.Wait(t.Context()) == nil {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
				}
			})
			synctest.Wait() // until it is in the queue
		}
		wg.Wait()
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(order, want) {
			t.Errorf("served in the order %v, want %v", order, want)
		}
	})
}

// No goroutine waits much longer than the others.
func TestWindowLimiterIsFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const goroutines, requests = 64, 25
		l := reloads.NewLimiter(100, time.Minute)
		waits := make([]time.Duration, goroutines) // the total of each
		var wg sync.WaitGroup
		for i := range goroutines {
			wg.Go(func() {
				for range requests {
					began := time.Now()
					if err := l.Wait(t.Context()); err != nil {
						t.Error(err)
					}
					waits[i] += time.Since(began)
				}
			})
		}
		wg.Wait()
		sum := time.Duration(0)
		for _, w := range waits {
			sum += w
		}
		if mean, slowest := sum/goroutines, slices.Max(waits); slowest > 2*mean {
			t.Errorf("the slowest waited for %v, the mean is %v", slowest, mean)
		}
	})
}

// A caller that arrives at the moment when a request may start does not overtake a caller that is waiting.
func TestWindowLimiterPreventsOvertaking(t *testing.T) {
	t.Parallel()
	for early := time.Duration(0); early < 2*time.Microsecond; early += 100 * time.Nanosecond {
		synctest.Test(t, func(t *testing.T) {
			l := reloads.NewLimiter(1, time.Minute)
			began := time.Now()
			wait := func() time.Duration {
				if err := l.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				return time.Since(began)
			}
			wait()
			waiter := make(chan time.Duration, 1)
			go func() { waiter <- wait() }()
			time.Sleep(time.Minute*1015/1000 + time.Microsecond - early) // about the moment of the waiter's turn
			if second, first := wait(), <-waiter; second < first {
				t.Errorf("the waiter started after %v, a later caller after %v", first, second)
			}
		})
	}
}

func TestWindowLimiterReleasesCanceledWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := reloads.NewLimiter(1, time.Minute)
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := l.Wait(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, reloads.ErrRateLimited) {
					t.Errorf("a canceled waiter got %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		began := time.Now()
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > 62*time.Second {
			t.Errorf("after 100 canceled waiters, the next one waited %v", waited)
		}
	})
}

func TestWindowLimiterFailsEarlyWithShortDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := reloads.NewLimiter(2, time.Minute)
		_ = startTimes(t, l, 2, 1)
		began := time.Now()
		within := func(d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			return l.Wait(ctx)
		}
		err := within(59*time.Second + 400*time.Microsecond)
		if !errors.Is(err, reloads.ErrRateLimited) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an error that is both ErrRateLimited and DeadlineExceeded", err)
		}
		if text := "the next request may start in 1m0.6s, the deadline is in 59s: "; err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want an error that contains %q", err, text)
		}
		// The third waiter has its turn in the second window after this one.
		for range 2 {
			go func() { _ = l.Wait(t.Context()) }()
		}
		synctest.Wait()
		if err := within(2 * time.Minute); !errors.Is(err, reloads.ErrRateLimited) {
			t.Errorf("behind two waiters: got %v, want ErrRateLimited", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the errors took %v, want none", took)
		}
		if err := within(4 * time.Minute); err != nil {
			t.Errorf("with a deadline that can be met: %v", err)
		}
	})
}

func TestWindowLimiterPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := reloads.NewLimiter(10, time.Minute)
		l.Pause(time.Now().Add(13 * time.Second))
		l.Pause(time.Now().Add(5 * time.Second)) // does not shorten the first
		if got := startTimes(t, l, 3, 3); got[0] != 13*time.Second {
			t.Errorf("the first request started after %v, want 13s", got[0])
		}

		// A pause also holds waiting callers. It fails those whose deadline is before its end.
		_ = startTimes(t, l, 7, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		failed := make(chan error)
		go func() { failed <- l.Wait(ctx) }()
		synctest.Wait()
		l.Pause(time.Now().Add(time.Hour))
		if err := <-failed; !errors.Is(err, reloads.ErrRateLimited) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an error that is both ErrRateLimited and DeadlineExceeded", err)
		}
	})
}

// The deadline of the last waiter seemed sufficient, until a pause.
func TestDeadlineDuringPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := reloads.NewLimiter(1, 10*time.Second)
		began := time.Now()
		var waiting sync.WaitGroup
		for _, limit := range []time.Duration{2 * time.Hour, 2 * time.Hour, time.Minute} {
			waiting.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				err := l.Wait(ctx)
				if failed := errors.Is(err, reloads.ErrRateLimited) && errors.Is(err, context.DeadlineExceeded); failed != (limit == time.Minute) {
					t.Errorf("limit %v: got %v", limit, err)
				}
				if limit == time.Minute && time.Since(began) != limit {
					t.Errorf("the end after %v, want %v", time.Since(began), limit)
				}
			})
			synctest.Wait()
		}
		l.Pause(time.Now().Add(time.Hour))
		waiting.Wait()
	})
}

func TestWindowLimiterWithoutLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var zero reloads.WindowLimiter
		for name, l := range map[string]*reloads.WindowLimiter{"zero value": &zero, "per 0": reloads.NewLimiter(1, 0)} {
			if got := startTimes(t, l, 1000, 2); got[999] != 0 {
				t.Errorf("%s: the last of 1000 waited %v", name, got[999])
			}
			l.Pause(time.Now().Add(time.Minute))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := l.Wait(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: with a canceled context: %v", name, err)
			}
		}
		if got := startTimes(t, reloads.NewLimiter(-5, time.Minute), 2, 1); got[1] < time.Minute {
			t.Errorf("less than one request counts as one, but two started within %v", got[1])
		}
	})
}

// The limits and the period may have any value. A limiter with a large limit lets requests start at once.
func TestWindowLimiterWithExtremeArguments(t *testing.T) {
	t.Parallel()
	const forever = time.Duration(math.MaxInt64)
	for _, c := range []struct {
		requests int
		per      time.Duration
		free     bool // 10,000 requests do not wait
	}{
		{math.MaxInt, time.Minute, true}, {math.MaxInt, 1, true}, {math.MaxInt/2 + 1, 1, true}, {math.MaxInt, forever, true}, {math.MaxInt, math.MinInt64, true},
		{1, -1, true}, {math.MinInt, 0, true}, {10_000, forever, true}, {math.MaxInt32, time.Hour, true},
		{1, forever, false}, {1, forever / 2, false}, {1, 100 * 365 * 24 * time.Hour, false}, {9999, forever, false}, {math.MinInt, time.Hour, false}, {1, time.Minute, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := reloads.NewLimiter(c.requests, c.per)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var err error
			for range 10_000 {
				if err = l.Wait(ctx); err != nil {
					break
				}
			}
			if took := time.Since(began); took != 0 || (err == nil) != c.free || err != nil && !errors.Is(err, reloads.ErrRateLimited) {
				t.Errorf("NewLimiter(%d, %d): 10,000 requests took %v, %v; at once: want %v", c.requests, c.per, took, err, c.free)
			}
			if c.free {
				return
			}
			if strings.Contains(err.Error(), "in -") {
				t.Errorf("NewLimiter(%d, %d): %v", c.requests, c.per, err)
			}
			failed := make(chan error)
			canceled, cancelOne := context.WithCancel(t.Context())
			go func() { failed <- l.Wait(canceled) }()
			time.Sleep(10 * time.Second)
			cancelOne()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("NewLimiter(%d, %d): a canceled waiter got %v", c.requests, c.per, err)
			}
		})
	}
}

// The time of a pause may be far in the past or in the future, also when several callers wait.
func TestWindowLimiterPauseAtExtremeTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for until, free := range map[time.Time]bool{
			{}: true, time.Unix(0, 0): true, time.Unix(1<<40, 0): false, time.Now().Add(math.MaxInt64): false,
		} {
			l := reloads.NewLimiter(1, time.Minute)
			l.Pause(until)
			ctx, cancel := context.WithCancel(t.Context())
			var waiting sync.WaitGroup
			for range 3 {
				waiting.Go(func() { _ = l.Wait(ctx) })
				synctest.Wait()
			}
			limited, cancelLimited := context.WithTimeout(t.Context(), 10*time.Minute)
			began := time.Now()
			err := l.Wait(limited) // the fourth of its minute
			if took := time.Since(began); (err == nil) != free || free != (took > 3*time.Minute) || !free && took != 0 {
				t.Errorf("paused until %v: %v after %v", until, err, took)
			}
			cancel()
			cancelLimited()
			waiting.Wait()
		}
	})
}

var meterings = map[string]reloadstest.Metering{
	"sliding window": reloadstest.SlidingWindow,
	"fixed window":   reloadstest.FixedWindow,
	"token bucket":   reloadstest.TokenBucket,
}

func TestTriggersFromColdStart(t *testing.T) {
	t.Parallel()
	for name, metering := range meterings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(17 * time.Second) // so that the fixed windows do not start with the test
				tenant := newTenant(reloadstest.App{}, reloadstest.WithMetering(metering, time.Minute))
				client := tenant.NewClient()
				began := time.Now()
				for range 200 {
					if _, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"}); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(began); took > 3*time.Minute+5*time.Second {
					t.Errorf("200 triggers took %v, want at most 3m5s", took)
				} else {
					t.Logf("200 triggers took %v", took)
				}
				if n := countRateLimited(tenant); n > 0 {
					t.Errorf("%d requests got a 429", n)
				}
			})
		})
	}
}

func TestConcurrentGetsStayWithinLimit(t *testing.T) {
	t.Parallel()
	for name, metering := range meterings {
		t.Run(name, func(t *testing.T) {
			if metering != reloadstest.SlidingWindow {
				skipInShortMode(t)
			}
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(17 * time.Second)
				tenant := newTenant(reloadstest.App{}, reloadstest.WithMetering(metering, time.Minute))
				client := tenant.NewClient()
				reload := tenant.AddReload(reloads.Reload{AppID: "app", Status: reloads.StatusSucceeded})
				began := time.Now()
				var wg sync.WaitGroup
				for g := range 16 {
					wg.Go(func() {
						for i := g; i < 3000; i += 16 {
							if _, err := client.Get(t.Context(), reload.ID); err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				if took := time.Since(began); took > 2*time.Minute+4*time.Second {
					t.Errorf("3000 gets took %v, want at most 2m4s", took)
				} else {
					t.Logf("3000 gets took %v", took)
				}
				if n, all := countRateLimited(tenant), len(tenant.Requests()); n > 0 || all != 3000 {
					t.Errorf("%d of %d requests got a 429", n, all)
				}
			})
		})
	}
}

// A 429 is possible, because the service also counts the requests of other clients. Then all calls of the tier wait.
func TestRateLimitResponsePausesTier(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{})
		client := tenant.NewClient()
		reload := tenant.AddReload(reloads.Reload{AppID: "app", Status: reloads.StatusSucceeded})
		tenant.Inject(reloadstest.Fault{
			Operation: reloadstest.Get, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"13"}},
			Body: `{"errors":[{"code":"HTTP-429","title":"API rate limit reached."}]}`,
		})
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := client.Get(t.Context(), reload.ID); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				if _, err := client.List(t.Context(), reloads.ListOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		if _, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"}); err != nil || time.Since(began) != 0 {
			t.Errorf("a trigger, of another tier, took %v: %v", time.Since(began), err)
		}
		wg.Wait()
		if took := time.Since(began); took != 13*time.Second {
			t.Errorf("the reads took %v, want 13s", took)
		}
		if n := countRateLimited(tenant); n != 1 {
			t.Errorf("%d requests got a 429, want only the first", n)
		}
	})
}

// A cancel does not wait for triggers. Clients that share a limiter share its budget.
// A 429 pauses its tier, even if the context of the call has ended meanwhile.
func TestRateLimitResponseAfterContextEndedPausesTier(t *testing.T) {
	t.Parallel()
	w := &world{latency: 500 * time.Millisecond}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		posts := 0
		w.instead = func(r *http.Request) outcome {
			if posts++; posts > 1 {
				return nil
			}
			return func(r *http.Request) (*http.Response, error) {
				time.Sleep(2 * time.Second)
				return respond(429, `{"errors":[{"code":"HTTP-429"}]}`, "Retry-After", "60")(r)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := client.Run(ctx, reloads.Request{AppID: "a"}, reloads.CancelOnAbort()); !errors.Is(err, reloads.ErrRateLimited) {
			t.Errorf("got %v, want ErrRateLimited", err)
		}
		began := time.Now()
		if _, err := client.Trigger(t.Context(), reloads.Request{AppID: "a"}); err != nil || time.Since(began) < time.Minute {
			t.Errorf("got %v after %v, want a trigger after the pause", err, time.Since(began))
		}
	})
}

// A nil *WindowLimiter in the interface is nil, too.
func TestNilWindowLimiterIsTheDefault(t *testing.T) {
	t.Parallel()
	var limiter *reloads.WindowLimiter
	inBubble(t, &world{}, func(t *testing.T, _ *reloads.Client) {
		client := scriptedClient(t, &world{}, reloads.WithLimiters(reloads.Limiters{Read: limiter, Trigger: limiter, Cancel: limiter}))
		began := time.Now()
		for i := range 51 {
			if _, err := client.Trigger(t.Context(), reloads.Request{AppID: strconv.Itoa(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < time.Minute {
			t.Errorf("51 triggers took %v", d)
		}
	})
}

func TestTiersAndSharedLimiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{QueueFor: time.Second, RunFor: time.Hour})
		shared := reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(2, time.Minute)})
		one, two := tenant.NewClient(shared), tenant.NewClient(shared)
		trigger := func(c *reloads.Client) time.Duration {
			began := time.Now()
			_, _ = c.Trigger(t.Context(), reloads.Request{AppID: "app"}) // the second and third are refused, because one is pending
			return time.Since(began)
		}
		if a, b, c := trigger(one), trigger(two), trigger(one); a != 0 || b != 0 || c < time.Minute {
			t.Errorf("with a shared limit of 2 a minute the triggers waited %v, %v and %v", a, b, c)
		}
		began := time.Now()
		if _, err := one.Cancel(t.Context(), tenant.Reloads()[0].ID); err != nil || time.Since(began) != 0 {
			t.Errorf("the cancel took %v: %v", time.Since(began), err)
		}
	})
}
