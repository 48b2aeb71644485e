package reloadstest_test

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/reloadstest"
)

func TestTheTiers(t *testing.T) {
	for name, c := range map[string]struct {
		metering   reloadstest.Metering
		retryAfter string
		next       time.Duration
	}{
		"sliding window": {reloadstest.SlidingWindow, "30", 30 * time.Second},
		"fixed window":   {reloadstest.FixedWindow, "30", 30 * time.Second},
		"token bucket":   {reloadstest.TokenBucket, "2", 1200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(reloadstest.App{}, reloadstest.WithMetering(c.metering, time.Minute))
				for i := range 50 {
					if i == 1 && c.metering != reloadstest.TokenBucket {
						time.Sleep(30 * time.Second) // so that the first request leaves the window 30 s before the others
					}
					if got := trigger(t, tenant, "app"); got.status != 201 {
						t.Fatalf("trigger %d: %d", i, got.status)
					}
				}
				want := map[string]any{"errors": []any{map[string]any{
					"code": "HTTP-429", "title": "API rate limit reached.",
					"detail": "You need to wait " + c.retryAfter + " seconds until limit is lifted.",
				}}}
				got := trigger(t, tenant, "app")
				if diff := cmp.Diff(want, got.body); diff != "" || got.status != 429 || got.header.Get("Retry-After") != c.retryAfter {
					t.Errorf("status %d, Retry-After %q, body (-want +got):\n%s", got.status, got.header.Get("Retry-After"), diff)
				}
				if got := do(t, tenant, http.MethodGet, "", ""); got.status != 200 {
					t.Errorf("another tier: %d", got.status)
				}
				time.Sleep(c.next - time.Millisecond)
				if got := trigger(t, tenant, "app"); got.status != 429 {
					t.Errorf("just before: %d", got.status)
				}
				time.Sleep(time.Millisecond)
				if got := trigger(t, tenant, "app"); got.status != 201 {
					t.Errorf("after that: %d", got.status)
				}
			})
		})
	}
}

func TestNoMeteringWithoutAPeriod(t *testing.T) {
	tenant := newTenant(reloadstest.App{}, reloadstest.WithMetering(reloadstest.FixedWindow, 0))
	for range 200 {
		if got := trigger(t, tenant, "app"); got.status != 201 {
			t.Fatal(got.status)
		}
	}
}

var algorithms = map[string]reloadstest.Metering{
	"sliding window": reloadstest.SlidingWindow, "fixed window": reloadstest.FixedWindow, "token bucket": reloadstest.TokenBucket,
}

// accepted returns how many of n triggers in a row are accepted.
func accepted(t *testing.T, tenant *reloadstest.Tenant, n int) (count int) {
	t.Helper()
	for range n {
		if trigger(t, tenant, "app").status == 201 {
			count++
		}
	}
	return count
}

// Requests at random times, some right after a Retry-After: the number of accepted ones stays within the limit, a request
// after Retry-After is accepted, and so is each request while the limit is not reached.
func TestTheAlgorithms(t *testing.T) {
	const limit, period = 7, 3 * time.Minute
	triggers := 1000
	if testing.Short() {
		triggers = 200
	}
	for name, metering := range algorithms {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(1, uint64(metering)))
				tenant := newTenant(reloadstest.App{}, reloadstest.WithMetering(metering, time.Minute),
					reloadstest.WithRateLimit(reloadstest.Trigger, limit, period))
				var starts []time.Time
				for range triggers {
					time.Sleep(time.Duration(random.Int64N(int64(period) * 2 / limit)))
					got := trigger(t, tenant, "app")
					if got.status == 429 {
						seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
						if err != nil {
							t.Fatal(err)
						}
						if random.IntN(2) == 0 {
							continue
						}
						time.Sleep(time.Duration(seconds) * time.Second)
						if got = trigger(t, tenant, "app"); got.status != 201 {
							t.Fatalf("after Retry-After: got %d", got.status)
						}
					}
					starts = append(starts, time.Now())
				}
				if len(starts) < triggers/2 {
					t.Errorf("only %d of %d requests were accepted", len(starts), triggers)
				}
				checkStarts(t, metering, starts, limit, period)
			})
		})
	}
}

// checkStarts checks that the requests that were accepted stay within the limit.
func checkStarts(t *testing.T, metering reloadstest.Metering, starts []time.Time, limit int, period time.Duration) {
	t.Helper()
	for i := range starts {
		for j := i + limit; j < len(starts); j++ {
			n, span := j-i+1, starts[j].Sub(starts[i]) // n requests within span
			allowed := math.MaxInt
			switch metering {
			case reloadstest.SlidingWindow:
				if span < period {
					allowed = limit
				}
			case reloadstest.FixedWindow:
				if starts[i].Truncate(period).Equal(starts[j].Truncate(period)) {
					allowed = limit
				}
			case reloadstest.TokenBucket:
				allowed = limit + int(float64(limit)*float64(span)/float64(period)+1e-6)
			}
			if n > allowed {
				t.Fatalf("%d requests were accepted within %v, want at most %d", n, span, allowed)
			}
		}
	}
}

// The vendor's numbers: up to 250 triggers in five minutes. The order of the options does not matter.
func TestRateLimitOfAnOperation(t *testing.T) {
	for name, metering := range algorithms {
		for _, options := range [][]reloadstest.Option{
			{reloadstest.WithMetering(metering, time.Minute), reloadstest.WithRateLimit(reloadstest.Trigger, 250, 5*time.Minute)},
			{reloadstest.WithRateLimit(reloadstest.Trigger, 250, 5*time.Minute), reloadstest.WithMetering(metering, time.Minute)},
		} {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(reloadstest.App{}, options...)
				if n := accepted(t, tenant, 300); n != 250 {
					t.Errorf("%s: %d triggers were accepted, want 250", name, n)
				}
				time.Sleep(5*time.Minute - time.Second)
				want := 0
				if metering == reloadstest.TokenBucket {
					want = 249
				}
				if n := accepted(t, tenant, 250); n != want {
					t.Errorf("%s: %d triggers were accepted a second before the period ended, want %d", name, n, want)
				}
				time.Sleep(time.Second)
				if n := accepted(t, tenant, 250); metering != reloadstest.TokenBucket && n != 250 {
					t.Errorf("%s: %d triggers were accepted in the next period, want 250", name, n)
				}
				for n := range 51 { // the limit of another operation
					want := 404
					if n == 50 {
						want = 429
					}
					if got := do(t, tenant, http.MethodPost, "/x/actions/cancel", ""); got.status != want {
						t.Fatalf("%s: cancel %d: got %d, want %d", name, n, got.status, want)
					}
				}
			})
		}
	}
}

// List, Get and Log share one rate limit, whichever of them sets it.
func TestReadsShareARateLimit(t *testing.T) {
	t.Parallel()
	for _, op := range []reloadstest.Operation{reloadstest.List, reloadstest.Get, reloadstest.Log} {
		tenant := newTenant(reloadstest.App{}, reloadstest.WithRateLimit(op, 2, time.Hour))
		list, get := do(t, tenant, http.MethodGet, "", ""), do(t, tenant, http.MethodGet, "/x", "")
		log := fullLog(t, tenant, tenant.Token(), "/app/reloads/logs/x")
		if list.status != 200 || get.status != 404 || log.StatusCode != 429 {
			t.Errorf("%s: got %d, %d and %d, want 200, 404 and 429", op, list.status, get.status, log.StatusCode)
		}
	}
}

func TestUnusualRateLimits(t *testing.T) {
	limit := reloadstest.WithRateLimit
	for name, metering := range algorithms {
		for i, c := range []struct {
			option reloadstest.Option
			want   int // of 60 triggers
		}{
			{limit(reloadstest.Trigger, 0, time.Hour), 1},
			{limit(reloadstest.Trigger, -5, time.Hour), 1},
			{limit(reloadstest.Trigger, 3, math.MaxInt64), 3},
			{limit(reloadstest.Trigger, math.MaxInt, 1), 60},
			{limit(reloadstest.Trigger, math.MaxInt, time.Hour), 60},
			{limit(reloadstest.Trigger, 3, 0), 60},
			{limit(reloadstest.Trigger, 3, -1), 60},
			{limit(reloadstest.SignIn, 1, time.Hour), 50},
			{limit("unknown", 1, time.Hour), 50},
			{limit("", 1, time.Hour), 50},
		} {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(reloadstest.App{}, reloadstest.WithMetering(metering, time.Hour), c.option)
				if n := accepted(t, tenant, 60); n != c.want {
					t.Errorf("%s, case %d: %d triggers were accepted, want %d", name, i, n, c.want)
				}
				got := trigger(t, tenant, "app")
				if wait, err := strconv.ParseInt(got.header.Get("Retry-After"), 10, 64); got.status == 429 && (err != nil || wait < 1) {
					t.Errorf("%s, case %d: Retry-After is %q", name, i, got.header.Get("Retry-After"))
				}
			})
		}
	}
}

func TestRateLimitOfAnOperationWithoutMetering(t *testing.T) {
	t.Parallel()
	tenant := newTenant(reloadstest.App{}, reloadstest.WithRateLimit(reloadstest.Trigger, 3, time.Hour), reloadstest.WithMetering(reloadstest.SlidingWindow, 0))
	if n := accepted(t, tenant, 60); n != 3 {
		t.Errorf("%d triggers were accepted, want 3", n)
	}
}
