package reloadstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestATokenNeedsItsScheme(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{
		"Bearer " + reloadstest.DefaultToken: 200, "bearer " + reloadstest.DefaultToken: 200,
		reloadstest.DefaultToken: 401, "Basic " + reloadstest.DefaultToken: 401, "Bearer": 401, "": 401,
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://x/api/v1/reloads", nil)
		req.Header.Set("Authorization", header)
		recorder := httptest.NewRecorder()
		reloadstest.NewTenant().ServeHTTP(recorder, req)
		if scheme, _, _ := strings.Cut(header, " "); recorder.Code != want {
			t.Errorf("%s: got %d, want %d", scheme, recorder.Code, want)
		}
	}
}

func TestAWrongMethodIsToldTheRightOnes(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"": "GET, POST", "/a": "GET", "/a/actions/cancel": "POST"} {
		got := do(t, reloadstest.NewTenant(), http.MethodPut, path, "")
		if got.status != 405 || got.header.Get("Allow") != want {
			t.Errorf("%q: got %d, Allow %q, want 405, %q", path, got.status, got.header.Get("Allow"), want)
		}
	}
}

func TestAnIDMayHoldASlash(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant()
	tenant.AddReload(reloads.Reload{ID: "a/b c", AppID: "app", Status: reloads.StatusSucceeded})
	if got := do(t, tenant, http.MethodGet, "/a%2Fb%20c", ""); got.body["id"] != "a/b c" {
		t.Errorf("got %d %v", got.status, got.body)
	}
}

// A handler that is waiting returns when the client cancels the request. Otherwise the server could not be closed.
func TestADelayEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	tenant := newTenant(reloadstest.App{})
	tenant.Inject(reloadstest.Fault{Delay: time.Hour})
	server := httptest.NewServer(tenant)
	defer server.Close() // waits for the handler
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/reloads", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the context", err)
	}
}

// Of several concurrent triggers one succeeds; the others get 429 because a reload is pending.
func TestConcurrentTriggersMakeOneReload(t *testing.T) {
	t.Parallel()
	tenant := newTenant(reloadstest.App{QueueFor: time.Hour})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			body := strings.NewReader(`{"appId":"app"}`)
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://x/api/v1/reloads", body)
			req.Header.Set("Authorization", "Bearer "+tenant.Token())
			tenant.ServeHTTP(httptest.NewRecorder(), req)
			tenant.AddApp(fmt.Sprint(i), reloadstest.App{})
			_, _ = tenant.Reloads(), tenant.Requests()
		})
	}
	all.Wait()
	statuses := map[int]int{}
	for _, r := range tenant.Requests() {
		statuses[r.Status]++
	}
	if len(tenant.Reloads()) != 1 || statuses[201] != 1 || statuses[429] != 19 {
		t.Errorf("%d reloads, status codes %v", len(tenant.Reloads()), statuses)
	}
}

func TestOverASocketBehindAPrefix(t *testing.T) {
	tenant := newTenant(reloadstest.App{})
	server := httptest.NewServer(tenant)
	defer server.Close()
	post := func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/gateway/api/v1/reloads", strings.NewReader(`{"appId":"app"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tenant.Token())
		return http.DefaultClient.Do(req)
	}
	resp, err := post()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r reloads.Reload
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if want := server.URL + "/gateway/api/v1/reloads/" + r.ID; r.Links.Self.Href != want || resp.StatusCode != 201 {
		t.Errorf("status %d, link %q, want %q", resp.StatusCode, r.Links.Self.Href, want)
	}

	tenant.Inject(reloadstest.Fault{LoseAfter: true}, reloadstest.Fault{CutBody: 10})
	if _, err := post(); err == nil || len(tenant.Reloads()) != 2 {
		t.Errorf("LoseAfter: got %v with %d reloads", err, len(tenant.Reloads()))
	}
	resp, err = post()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); len(text) != 10 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("CutBody: read %q, %v", text, err)
	}
}

func TestNothingPrintsOrRecordsAToken(t *testing.T) {
	const secret = "secret-test-token"
	tenant := newTenant(reloadstest.App{}, reloadstest.WithToken(secret, reloadstest.TenantAdmin))
	doAs(t, tenant, secret, http.MethodPost, "", `{"appId":"app","variables":{"password":"secret-value"}}`)
	doAs(t, tenant, secret, http.MethodPost, "", `{"password":"secret-value"`)
	text := fmt.Sprintf("%v %+v %#v", tenant, tenant, tenant)
	for _, r := range tenant.Requests() {
		text += fmt.Sprintf("%+v %s", r, r.Body)
	}
	if strings.Contains(text, "secret-") {
		t.Error("a token or a variable's value is printed")
	}
	if got := string(tenant.Requests()[0].Body); got != `{"appId":"app","variables":{"password":"REDACTED"}}` {
		t.Errorf("the recorded body is %s", got)
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{})
		trigger(t, tenant, "app")
		time.Sleep(time.Second)
		do(t, tenant, http.MethodGet, "?limit=5", "")
		tenant.Inject(reloadstest.Fault{LoseBefore: true})
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://x/api/v1/reloads/a%2Fb/actions/cancel", nil)
		if _, err := tenant.RoundTrip(req); err == nil {
			t.Error("got no error for a lost connection")
		}
		now := time.Now()
		want := []reloadstest.Request{
			{Time: now.Add(-time.Second), Operation: reloadstest.Trigger, Method: "POST", Path: "/api/v1/reloads", Body: []byte(`{"appId":"app"}`), Status: 201},
			{Time: now, Operation: reloadstest.List, Method: "GET", Path: "/api/v1/reloads", Query: "limit=5", Status: 200},
			{Time: now, Operation: reloadstest.Cancel, Method: "POST", Path: "/api/v1/reloads/a%2Fb/actions/cancel"},
		}
		if diff := cmp.Diff(want, tenant.Requests()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}
