package reloadstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// The tenant stores no value of a variable, whatever the spelling of the field and whether or not the trigger is accepted.
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

func TestInvalidTriggersAreRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 257)
	var many []string
	for i := range 21 {
		many = append(many, fmt.Sprintf(`"v%d":""`, i))
	}
	tenant := newTenant(reloadstest.App{})
	for _, body := range []string{
		``, `{}`, `{"appId":""}`,
		`{"appId":"app","weight":0}`,
		`{"appId":"app","weight":11}`,
		`{"appId":"app","partial":"yes"}`,
		`{"appId":"app","resourceType":"x"}`,
		`{"appId":"app","variables":{"a":null}}`,
		`{"appId":"app","variables":{` + strings.Join(many, ",") + `}}`,
		`{"appId":"app","variables":{"a":"` + long + `"}}`,
		`{"appId":"app","variables":{"` + long + `":""}}`,
	} {
		if got := do(t, tenant, http.MethodPost, "", body); got.status != 400 || got.code() != "HTTP-400" {
			t.Errorf("%s: got %d %s, want 400 HTTP-400", body, got.status, got.code())
		}
	}
	if n := len(tenant.Reloads()); n != 0 {
		t.Errorf("there are %d reloads, want none", n)
	}
}

// The body is the one that a user of the service saw.
func TestTriggerOfAnUnknownApp(t *testing.T) {
	t.Parallel()
	tenant := newTenant(reloadstest.App{})
	got := trigger(t, tenant, "unknown")
	id, _ := got.body["traceId"].(string)
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
		t.Errorf("the traceId is %q, want 32 hex digits", id)
	}
	delete(got.body, "traceId")
	want := map[string]any{"errors": []any{map[string]any{
		"code": "RELOADS-004", "title": "Resource not found.", "detail": "The resource either never existed, or may have been deleted.",
	}}}
	if diff := cmp.Diff(want, got.body); diff != "" || got.status != 404 {
		t.Errorf("status %d, body (-want +got):\n%s", got.status, diff)
	}
	if _, err := tenant.NewClient().Trigger(t.Context(), reloads.Request{AppID: "unknown"}); !errors.Is(err, reloads.ErrNotFound) || !errors.Is(err, reloads.CodeAppNotFound) {
		t.Errorf("the client returns %v, want ErrNotFound and CodeAppNotFound", err)
	}
}

// postLate sends a trigger that takes effect after the client has given up.
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
		_ = resp.Body.Close()
		t.Fatalf("the caller got %d, want a lost connection", resp.StatusCode)
	}
}

// The rules apply to late triggers, too: the token is checked, they take effect in order of time, and an app has at most one
// pending reload.
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
		tenant.AddApp("app", reloadstest.App{}) // does not change the script of the late trigger's reload
		got := tenant.Reloads()
		if len(got) != 1 || got[0].Weight != 3 || got[0].CreationTime.Sub(began) != time.Minute+time.Second || got[0].Ended() {
			t.Errorf("got %+v, want the reload that took effect first", got)
		}
	})
}
