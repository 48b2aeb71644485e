package reloadstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

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
		resp.Body.Close()
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
