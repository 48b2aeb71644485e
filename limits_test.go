package reloads_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

var meterings = map[string]reloadstest.Metering{
	"sliding window": reloadstest.SlidingWindow,
	"fixed window":   reloadstest.FixedWindow,
	"token bucket":   reloadstest.TokenBucket,
}

func TestTwoHundredTriggersFromAColdStart(t *testing.T) {
	t.Parallel()
	for name, metering := range meterings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(17 * time.Second) // a fixed window begins elsewhere
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
				if n := refused(tenant); n > 0 {
					t.Errorf("%d requests got a 429", n)
				}
			})
		})
	}
}

func TestThreeThousandGetsFromSixteenGoroutines(t *testing.T) {
	t.Parallel()
	for name, metering := range meterings {
		t.Run(name, func(t *testing.T) {
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
				if n, all := refused(tenant), len(tenant.Requests()); n > 0 || all != 3000 {
					t.Errorf("%d of %d requests got a 429", n, all)
				}
			})
		})
	}
}

// The service counts requests of others, too, so a 429 can come all the same: it makes everybody wait, once.
func TestARateLimitAnswerPausesTheTier(t *testing.T) {
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
		if n := refused(tenant); n != 1 {
			t.Errorf("%d requests got a 429, want the first only", n)
		}
	})
}

// A cancel does not queue behind triggers, and clients that share a limiter share its budget.
func TestTiersAndSharing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{QueueFor: time.Second, RunFor: time.Hour})
		shared := reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(2, time.Minute)})
		one, two := tenant.NewClient(shared), tenant.NewClient(shared)
		trigger := func(c *reloads.Client) time.Duration {
			began := time.Now()
			_, _ = c.Trigger(t.Context(), reloads.Request{AppID: "app"}) // the second and third are refused: one is pending
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
