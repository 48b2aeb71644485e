package reloadstest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// fullLog requests a full log. path is relative to /api/v1/apps.
func fullLog(t *testing.T, tenant *reloadstest.Tenant, token, path string) *http.Response {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://x/api/v1/apps"+path, nil)
	req.Header.Set("Authorization", "Bearer "+token)
	recorder := httptest.NewRecorder()
	tenant.ServeHTTP(recorder, req)
	return recorder.Result()
}

func TestTheFullLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant(reloadstest.WithToken("user", reloadstest.User), reloadstest.WithToken("none", reloadstest.Forbidden))
		tenant.AddApp("app", reloadstest.App{RunFor: time.Minute, FullLog: "one\ntwo\r\n"})
		tenant.AddApp("short", reloadstest.App{Log: "summary\n"})
		r, _ := tenant.Trigger("app", reloads.Reload{ID: "a/b"})
		short, _ := tenant.Trigger("short", reloads.Reload{})
		added := tenant.AddReload(reloads.Reload{AppID: "gone", Status: reloads.StatusFailed, Log: "it\nfailed"})
		silent := tenant.AddReload(reloads.Reload{AppID: "gone", Status: reloads.StatusCanceled})
		const path = "/app/reloads/logs/a%2Fb"
		if got := fullLog(t, tenant, "user", path).StatusCode; r.ID != "a/b" || got != 404 {
			t.Errorf("%s, which is not finished: got %d, want 404", r.ID, got)
		}
		time.Sleep(time.Minute)
		for _, c := range []struct {
			token, path string
			status      int
			body        string
		}{
			{"user", path, 200, "one\r\ntwo\r\n"},
			{tenant.Token(), "/short/reloads/logs/" + short.ID, 200, "summary\r\n"},
			{tenant.Token(), "/gone/reloads/logs/" + added.ID, 200, "it\r\nfailed"},
			{tenant.Token(), "/gone/reloads/logs/" + silent.ID, 404, `"HTTP-404"`},
			{tenant.Token(), "/short/reloads/logs/a%2Fb", 404, `"HTTP-404"`},
			{tenant.Token(), "/app/reloads/logs/unknown", 404, `"HTTP-404"`},
			{tenant.Token(), "/app/reloads/logs/", 404, `"HTTP-404"`},
			{tenant.Token(), "/app/reloads", 404, `"HTTP-404"`},
			{"none", path, 403, `"RELOADS-003"`},
			{"nobody", path, 401, `"HTTP-401"`},
		} {
			resp := fullLog(t, tenant, c.token, c.path)
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.body) {
				t.Errorf("%s: got %d %q, want %d %q", c.path, resp.StatusCode, body, c.status, c.body)
			}
			want := "application/json"
			if c.status == 200 {
				want = "text/plain"
			}
			if got := resp.Header.Get("Content-Type"); got != want || c.status == 200 && string(body) != c.body {
				t.Errorf("%s: got %s %q, want %s %q", c.path, got, body, want, c.body)
			}
		}
		if got := tenant.Requests()[0]; got.Operation != reloadstest.Log || got.Path != "/api/v1/apps"+path {
			t.Errorf("recorded %+v", got)
		}
	})
}

// Log requests and list requests share a rate limit.
func TestTheFullLogIsOfTier1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{})
		for range reloads.Tier1PerMinute {
			do(t, tenant, http.MethodGet, "?limit=1", "")
		}
		resp := fullLog(t, tenant, tenant.Token(), "/app/reloads/logs/x")
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "60" {
			t.Errorf("got %d, Retry-After %q, want 429 and 60", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	})
}

func TestAFullLogThatBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{FullLog: "one\ntwo\n"})
		client := tenant.NewClient()
		r, err := client.Run(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.Log, Status: 503}, reloadstest.Fault{Operation: reloadstest.Log, CutBody: 5})
		log, err := client.Log(t.Context(), "app", r.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if b, err := io.ReadAll(log); string(b) != "one\r\n" || err == nil {
			t.Errorf("got %q, %v, want the first line and an error", b, err)
		}
	})
}
