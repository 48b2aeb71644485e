package reloadstest_test

import (
	"net/http"
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
