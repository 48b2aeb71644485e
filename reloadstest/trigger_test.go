package reloadstest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads/reloadstest"
)

// However the variables of a trigger are spelled, and whether or not it is accepted, none of their values is kept.
func TestNoValueOfAVariableIsRecorded(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"appId":"app"}`: `{"appId":"app"}`,
		`{"appId":"app","variables":{"a":"secret-"}}`:      `{"appId":"app","variables":{"a":"REDACTED"}}`,
		`{"appId":"app","Variables":{"a":"secret-"}}`:      `{"Variables":{"a":"REDACTED"},"appId":"app"}`,
		`{"appId":"app","variables":["secret-"]}`:          `{"appId":"app","variables":"REDACTED"}`,
		`{"appId":"app","variables":"secret-"}`:            `{"appId":"app","variables":"REDACTED"}`,
		`{"variables":{"a":"secret-"},"variables":1}`:      `{"variables":"REDACTED"}`,
		`{"appId":"app","variables":{"a":{"b":"secret-"}}`: ``,
		`["secret-"]`: ``,
	} {
		tenant := newTenant(reloadstest.App{})
		do(t, tenant, http.MethodPost, "", body)
		if got := string(tenant.Requests()[0].Body); got != want {
			t.Errorf("%s: recorded %s, want %s", body, got, want)
		}
		if text := fmt.Sprintf("%+v", tenant); strings.Contains(text, "secret-") {
			t.Errorf("%s: the tenant prints the value", body)
		}
	}
}

// postLate triggers a reload that takes effect only when the caller is gone.
func postLate(t *testing.T, tenant *reloadstest.Tenant, token, body string, after time.Duration) {
	t.Helper()
	tenant.Inject(reloadstest.Fault{EffectAfter: after})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://x/api/v1/reloads", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", token)
	if resp, err := tenant.RoundTrip(req); err == nil {
		resp.Body.Close()
		t.Fatalf("the caller got %d, want a lost connection", resp.StatusCode)
	}
}

// The rules hold for late triggers, too: tokens, the order in which they take effect, one pending reload per app.
func TestLateTriggersKeepTheRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Hour})
		bearer := "Bearer " + tenant.Token()
		began := time.Now()
		postLate(t, tenant, bearer, `{"appId":"app","weight":2}`, 2*time.Minute)
		postLate(t, tenant, bearer, `{"appId":"app","weight":3,"variables":{"a":"secret-"}}`, time.Minute)
		postLate(t, tenant, "Bearer unknown", `{"appId":"app","weight":4}`, 30*time.Second)
		postLate(t, tenant, bearer, `{"appId":"app","weight":11}`, 30*time.Second)
		if strings.Contains(fmt.Sprintf("%+v", tenant), "secret-") {
			t.Error("the tenant prints the value of a variable")
		}
		time.Sleep(10 * time.Minute)
		tenant.AddApp("app", reloadstest.App{}) // the reload that is under way keeps its script
		got := tenant.Reloads()
		if len(got) != 1 || got[0].Weight != 3 || got[0].CreationTime.Sub(began) != time.Minute+time.Second || got[0].Ended() {
			t.Errorf("got %+v, want the one that came first", got)
		}
	})
}
