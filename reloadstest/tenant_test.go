package reloadstest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// These tests compare the tenant with the API reference. They use plain HTTP and JSON instead of the client, so that an error
// in the client cannot hide one in the tenant.

// response is a response of the tenant.
type response struct {
	status int
	header http.Header
	body   map[string]any
}

// do sends a request with the default token. path is relative to /api/v1/reloads and includes the query.
func do(t *testing.T, rt http.RoundTripper, method, path, body string) response {
	t.Helper()
	return doAs(t, rt, reloadstest.DefaultToken, method, path, body)
}

func doAs(t *testing.T, rt http.RoundTripper, token, method, path, body string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://tenant.example.com/api/v1/reloads"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	httpResp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer httpResp.Body.Close()
	text, err := io.ReadAll(httpResp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp := response{status: httpResp.StatusCode, header: httpResp.Header}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &resp.body); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return resp
}

// code returns the code of the error in the body, or "" unless the body has exactly one error.
func (r response) code() string {
	list, _ := r.body["errors"].([]any)
	if len(list) != 1 {
		return ""
	}
	first, _ := list[0].(map[string]any)
	code, _ := first["code"].(string)
	return code
}

func trigger(t *testing.T, rt http.RoundTripper, app string) response {
	t.Helper()
	return do(t, rt, http.MethodPost, "", `{"appId":"`+app+`"}`)
}

func newTenant(script reloadstest.App, opts ...reloadstest.Option) *reloadstest.Tenant {
	tenant := reloadstest.NewTenant(opts...)
	tenant.AddApp("app", script)
	return tenant
}

func TestAReloadGoesThroughItsStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{
			QueueFor: 10 * time.Second, RunFor: time.Minute,
			Outcome: reloads.StatusFailed, ErrorCode: "EngineConnectionError", ErrorMessage: "unexpected EOF", Log: "the log",
		})
		created := do(t, tenant, http.MethodPost, "", `{"appId":"app","partial":true,"weight":3,"variables":{"a":"b"},"resourceId":"r","resourceType":"api"}`)
		want := map[string]any{
			"id": "5be59decca62aa0000000001", "appId": "app", "tenantId": "efSCcpNYuayTysONkUcE3F80zYQ_LV9w",
			"userId": "FyPG6xWp6prDU6BXQ3g7LY9gWR_YRkkx", "type": "external", "status": "QUEUED", "partial": true,
			"weight": 3.0, "resourceId": "r", "resourceType": "api", "creationTime": "2000-01-01T00:00:00Z",
			"links": map[string]any{"self": map[string]any{"href": "https://tenant.example.com/api/v1/reloads/5be59decca62aa0000000001"}},
		}
		if diff := cmp.Diff(want, created.body); diff != "" || created.status != http.StatusCreated {
			t.Errorf("status %d, record (-want +got):\n%s", created.status, diff)
		}
		time.Sleep(10 * time.Second)
		want["status"], want["startTime"] = "RELOADING", "2000-01-01T00:00:10Z"
		if diff := cmp.Diff(want, do(t, tenant, http.MethodGet, "/5be59decca62aa0000000001", "").body); diff != "" {
			t.Errorf("after 10 s (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute)
		want["status"], want["endTime"] = "FAILED", "2000-01-01T00:01:10Z"
		want["errorCode"], want["errorMessage"], want["log"] = "EngineConnectionError", "unexpected EOF", "the log"
		if diff := cmp.Diff(want, do(t, tenant, http.MethodGet, "/5be59decca62aa0000000001", "").body); diff != "" {
			t.Errorf("at the end (-want +got):\n%s", diff)
		}
		if date := do(t, tenant, http.MethodGet, "", "").header.Get("Date"); date != "Sat, 01 Jan 2000 00:01:10 GMT" {
			t.Errorf("the Date header is %q", date)
		}
	})
}

func TestASuccessfulReloadHasASummaryAndAnEngineTime(t *testing.T) {
	tenant := newTenant(reloadstest.App{})
	id := trigger(t, tenant, "app").body["id"]
	got := do(t, tenant, http.MethodGet, fmt.Sprint("/", id), "").body
	log, _ := got["log"].(string)
	if got["status"] != "SUCCEEDED" || got["engineTime"] == nil || got["errorCode"] != nil || !strings.Contains(log, "Reload finished successfully\nIn total ") {
		t.Errorf("got %v", got)
	}
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{QueueFor: time.Minute}, reloadstest.WithToken("forbidden-test-token", reloadstest.Forbidden),
			reloadstest.WithToken("expired-test-token", reloadstest.Expired), reloadstest.WithToken("user-test-token", reloadstest.User))
		tenant.AddApp("quota", reloadstest.App{Quota: 1})
		pending := fmt.Sprint("/", trigger(t, tenant, "app").body["id"])
		ended := fmt.Sprint("/", trigger(t, tenant, "quota").body["id"])
		const admin = reloadstest.DefaultToken
		for name, c := range map[string]struct {
			token, method, path, body string
			status                    int
			code                      string
		}{
			"no token":                     {"", "GET", "", "", 401, "HTTP-401"},
			"an unknown token":             {"unknown", "POST", "", `{"appId":"app"}`, 401, "HTTP-401"},
			"an expired token":             {"expired-test-token", "GET", pending, "", 401, "HTTP-401"},
			"a token that may do nothing":  {"forbidden-test-token", "POST", pending + "/actions/cancel", "", 403, "RELOADS-003"},
			"a user's list without appId":  {"user-test-token", "GET", "", "", 400, "HTTP-400"},
			"a second reload of the app":   {admin, "POST", "", `{"appId":"app"}`, 429, "RELOADS-007"},
			"a reload over the quota":      {admin, "POST", "", `{"appId":"quota"}`, 403, "RELOADS-013"},
			"a reload of an unknown app":   {admin, "POST", "", `{"appId":"other"}`, 404, "RELOADS-004"},
			"an unknown reload":            {admin, "GET", "/unknown", "", 404, "HTTP-404"},
			"cancel of an unknown reload":  {admin, "POST", "/unknown/actions/cancel", "", 404, "HTTP-404"},
			"cancel of a finished reload":  {admin, "POST", ended + "/actions/cancel", "", 409, "HTTP-409"},
			"a path that does not exist":   {admin, "GET", pending + "/actions", "", 404, "HTTP-404"},
			"a method that does not exist": {admin, "DELETE", pending, "", 405, "HTTP-405"},
			"a cancel that is a GET":       {admin, "GET", pending + "/actions/cancel", "", 405, "HTTP-405"},
			"a path with an extra slash":   {admin, "GET", pending + "/", "", 404, "HTTP-404"},
		} {
			got := doAs(t, tenant, c.token, c.method, c.path, c.body)
			if got.status != c.status || got.code() != c.code {
				t.Errorf("%s: got %d %s, want %d %s", name, got.status, got.code(), c.status, c.code)
			}
			if got.header.Get("Retry-After") != "" {
				t.Errorf("%s: the response has Retry-After, which only a 429 of the rate limit should have", name)
			}
		}
		if n := len(tenant.Reloads()); n != 2 {
			t.Errorf("there are %d reloads, want the 2 that were not refused", n)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{QueueFor: time.Minute, RunFor: time.Hour, CancelFor: 5 * time.Second})
		status := func(path string) any { return do(t, tenant, http.MethodGet, path, "").body["status"] }

		queued := fmt.Sprint("/", trigger(t, tenant, "app").body["id"])
		if got := do(t, tenant, http.MethodPost, queued+"/actions/cancel", ""); got.status != 204 || got.body != nil || status(queued) != "CANCELED" {
			t.Errorf("a queued reload: %d %v, then %v", got.status, got.body, status(queued))
		}
		running := fmt.Sprint("/", trigger(t, tenant, "app").body["id"])
		time.Sleep(2 * time.Minute)
		for range 2 {
			if got := do(t, tenant, http.MethodPost, running+"/actions/cancel", ""); got.status != 202 || got.body["status"] != "CANCELING" || status(running) != "CANCELING" {
				t.Errorf("a running reload: %d %v, then %v", got.status, got.body, status(running))
			}
		}
		time.Sleep(5 * time.Second)
		if got := status(running); got != "CANCELED" {
			t.Errorf("after 5 s it is %v", got)
		}
	})
}

func TestSomebodyElsesReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Minute})
		r, ok := tenant.Trigger("app", reloads.Reload{})
		if !ok || r.Type != reloads.TypeHub || r.UserID != "SomebodyElse" || r.Status != reloads.StatusReloading {
			t.Errorf("got %+v, %v", r, ok)
		}
		if got := trigger(t, tenant, "app"); got.status != 429 {
			t.Errorf("with a reload pending a trigger got %d", got.status)
		}
		if _, ok := tenant.Trigger("app", reloads.Reload{}); ok {
			t.Error("a second one was not refused")
		}
		if _, ok := tenant.Trigger("unknown", reloads.Reload{}); ok {
			t.Error("an unknown app was not refused")
		}
		time.Sleep(time.Minute)
		if got := tenant.Reloads(); len(got) != 1 || got[0].Status != reloads.StatusSucceeded {
			t.Errorf("got %+v", got)
		}
	})
}

// AddReload with the ID of a reload replaces it, wherever it was and whether or not it is pending.
func TestAddReloadReplacesAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Hour})
		tenant.AddReload(reloads.Reload{ID: "1", AppID: "other", Status: reloads.StatusFailed})
		tenant.AddReload(reloads.Reload{ID: "1", AppID: "app", Status: reloads.StatusSucceeded})
		pending, _ := tenant.Trigger("app", reloads.Reload{ID: "2"})
		if _, ok := tenant.Trigger("app", reloads.Reload{ID: "3"}); ok {
			t.Error("a second reload was triggered while one is pending")
		}
		pending.Status = reloads.StatusCanceled
		tenant.AddReload(pending)
		var got []string
		for _, r := range tenant.Reloads() {
			got = append(got, r.ID+" "+r.AppID+" "+string(r.Status))
		}
		if diff := cmp.Diff([]string{"1 app SUCCEEDED", "2 app CANCELED"}, got); diff != "" {
			t.Errorf("reloads (-want +got):\n%s", diff)
		}
		for query, want := range map[string]string{"": "21", "?appId=app": "21", "?appId=other": ""} {
			if got := ids(t, do(t, tenant, http.MethodGet, query, "")); got != want {
				t.Errorf("%q: listed %q, want %q", query, got, want)
			}
		}
		if got := do(t, tenant, http.MethodGet, "/2", ""); got.body["status"] != "CANCELED" {
			t.Errorf("got %v", got.body)
		}
		if _, ok := tenant.Trigger("app", reloads.Reload{ID: "1"}); ok {
			t.Error("a reload was triggered with an ID that is in use")
		}
		if got := trigger(t, tenant, "app"); got.status != 201 {
			t.Errorf("after the pending reload was replaced, a trigger got %d", got.status)
		}
	})
}

func TestNewClientPanicsOnARefusedOption(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it did not panic")
		}
	}()
	reloadstest.NewTenant().NewClient(reloads.WithAttemptTimeout(-1))
}
