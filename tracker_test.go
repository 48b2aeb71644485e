package reloads_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestWaitAllOfTenThousand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, rs := manyActive(t, 10_000, 30*time.Minute)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		peak, goroutines := uint64(0), countGoroutines()
		var lags []time.Duration
		client := tenant.NewClient(defaultPolling)
		for r := range client.WaitAll(t.Context(), rs) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			lags = append(lags, time.Since(r.Reload.EndTime))
			if n := countGoroutines() - goroutines; n > 20 {
				t.Fatalf("%d goroutines are running, want at most 20", n)
			}
			if len(lags)%1000 == 500 {
				recorded := uint64(len(tenant.Requests())) * 200 // the memory that the tenant needs to record them
				runtime.GC()
				runtime.ReadMemStats(&after)
				peak = max(peak, after.HeapAlloc-min(after.HeapAlloc, before.HeapAlloc+recorded))
			}
		}
		if len(lags) != len(rs) {
			t.Errorf("%d results for %d reloads", len(lags), len(rs))
		}
		n := maxRequestsPerMinute(tenant, reloadstest.Get, reloadstest.List)
		p95, p99, worst := percentile(lags, 95), percentile(lags, 99), percentile(lags, 100)
		t.Logf("lag %v (95 %%), %v (99 %%), %v (all); at most %d requests per minute; heap grew by %d MiB", p95, p99, worst, n, peak>>20)
		if p95 > 15*time.Second || p99 > 30*time.Second || n > reloads.Tier1PerMinute || peak > 64<<20 || countRateLimited(tenant) > 0 {
			t.Error("want 15s (95 %), 30s (99 %), at most 1000 requests per minute, less than 64 MiB and no 429")
		}
	})
}

// countGoroutines returns the smallest of several counts. A single count can be too large by 32, while the runtime moves
// its list of ended goroutines from one processor to the global list.
func countGoroutines() int {
	least := runtime.NumGoroutine()
	for range 9 {
		runtime.Gosched()
		least = min(least, runtime.NumGoroutine())
	}
	return least
}

// manyActive returns a tenant with n active reloads that end at random times within the given duration.
func manyActive(t *testing.T, n int, within time.Duration, opts ...reloadstest.Option) (*reloadstest.Tenant, []*reloads.Reload) {
	t.Helper()
	random := rand.New(rand.NewPCG(5, 0))
	tenant := reloadstest.NewTenant(opts...)
	var rs []*reloads.Reload
	for i := range n {
		app := fmt.Sprint("app", i)
		tenant.AddApp(app, reloadstest.App{RunFor: time.Minute + time.Duration(random.Int64N(int64(within-time.Minute)))})
		r, ok := tenant.Trigger(app, reloads.Reload{})
		if !ok {
			t.Fatal(app)
		}
		rs = append(rs, &r)
	}
	return tenant, rs
}

func TestWaitAllWithoutListPermission(t *testing.T) {
	for name, role := range map[string]int{"400": http.StatusBadRequest, "403": http.StatusForbidden} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant, rs := manyActive(t, 2000, 30*time.Minute)
				tenant.Inject(reloadstest.Fault{Operation: reloadstest.List, Status: role, Times: -1})
				var lags []time.Duration
				for r := range tenant.NewClient(defaultPolling).WaitAll(t.Context(), rs) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
					lags = append(lags, time.Since(r.Reload.EndTime))
				}
				n := maxRequestsPerMinute(tenant, reloadstest.Get, reloadstest.List)
				worst := percentile(lags, 100)
				t.Logf("lag %v (95 %%), %v (all); at most %d requests per minute, %d lists", percentile(lags, 95), worst, n, countRequests(tenant, reloadstest.List))
				// With 2000 reloads and 800 polls per minute, each reload is polled every 150 s.
				if n > 800 || worst > 150*time.Second+15*time.Second {
					t.Error("want at most 800 requests per minute and a lag of at most 165s")
				}
			})
		})
	}
}

func TestWaitAllOfFinishedUnknownAndDuplicateReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Minute})
		client := tenant.NewClient()
		active, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		finished := tenant.AddReload(reloads.Reload{AppID: "app", Status: reloads.StatusFailed})
		unknown := &reloads.Reload{ID: "unknown", AppID: "app"}
		got := map[string]int{}
		for r := range client.WaitAll(t.Context(), []*reloads.Reload{active, &finished, unknown, active, nil, {}}) {
			kind := "none"
			for name, err := range map[string]error{"failed": reloads.ErrReloadFailed, "unknown": reloads.ErrNotFound, "bad": reloads.ErrBadRequest} {
				if errors.Is(r.Err, err) {
					kind = name
				}
			}
			if r.Err == nil && r.Reload.Status == reloads.StatusSucceeded {
				kind = "succeeded"
			}
			got[kind]++
		}
		if want := map[string]int{"succeeded": 2, "failed": 1, "unknown": 1, "bad": 2}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
