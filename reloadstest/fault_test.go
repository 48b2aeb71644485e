package reloadstest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads/reloadstest"
)

// post triggers a reload of "app". Its timeout is one minute.
func post(t *testing.T, tenant *reloadstest.Tenant) (status int, body string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://tenant.example.com/api/v1/reloads", strings.NewReader(`{"appId":"app"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tenant.Token())
	resp, err := tenant.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault   reloadstest.Fault
		status  int // 0: the connection is lost
		reloads int // when the request has ended
		later   int // an hour later
		took    time.Duration
	}{
		"none":                        {reloadstest.Fault{}, 201, 1, 1, 0},
		"a status":                    {reloadstest.Fault{Status: 503}, 503, 0, 0, 0},
		"a delay":                     {reloadstest.Fault{Delay: time.Second}, 201, 1, 1, time.Second},
		"a delay that is too long":    {reloadstest.Fault{Delay: time.Hour}, 0, 0, 0, time.Minute},
		"lost before":                 {reloadstest.Fault{LoseBefore: true}, 0, 0, 0, 0},
		"lost after":                  {reloadstest.Fault{LoseAfter: true}, 0, 1, 1, 0},
		"a late response":             {reloadstest.Fault{DelayAnswer: time.Second}, 201, 1, 1, time.Second},
		"a response that is too late": {reloadstest.Fault{DelayAnswer: time.Hour}, 0, 1, 1, time.Minute},
		"a late effect":               {reloadstest.Fault{EffectAfter: 2 * time.Minute}, 0, 0, 1, time.Minute},
		"another operation":           {reloadstest.Fault{Operation: reloadstest.Get, Status: 503}, 201, 1, 1, 0},
		"another request":             {reloadstest.Fault{Match: func(*http.Request) bool { return false }, Status: 503}, 201, 1, 1, 0},
		"the second one":              {reloadstest.Fault{Skip: 1, Status: 503}, 201, 1, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(reloadstest.App{})
				tenant.Inject(c.fault)
				began := time.Now()
				status, _, err := post(t, tenant)
				if status != c.status || (err != nil) != (c.status == 0) || time.Since(began) != c.took {
					t.Errorf("status %d, %v after %v, want %d after %v", status, err, time.Since(began), c.status, c.took)
				}
				if n := len(tenant.Reloads()); n != c.reloads {
					t.Errorf("%d reloads, want %d", n, c.reloads)
				}
				time.Sleep(time.Hour)
				if n := len(tenant.Reloads()); n != c.later {
					t.Errorf("%d reloads an hour later, want %d", n, c.later)
				}
			})
		})
	}
}

func TestFaultsAreUsedUp(t *testing.T) {
	tenant := newTenant(reloadstest.App{})
	tenant.Inject(
		reloadstest.Fault{Status: 500, Times: 2, Skip: 1},
		reloadstest.Fault{Status: 200, Body: "<html>", Header: http.Header{"content-type": {"text/html"}}},
		reloadstest.Fault{Status: 502, Times: -1},
	)
	var got []int
	for range 6 {
		status, _, _ := post(t, tenant)
		got = append(got, status)
	}
	// The first fault skips the first request, so the second fault affects it.
	want := []int{200, 500, 500, 502, 502, 502}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestACutBody(t *testing.T) {
	tenant := newTenant(reloadstest.App{})
	tenant.Inject(reloadstest.Fault{CutBody: 5}, reloadstest.Fault{CutBody: -1})
	for _, want := range []int{5, 0} {
		if status, body, err := post(t, tenant); status != 201 || len(body) != want || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %d %q, %v, want %d bytes and an unexpected end", status, body, err, want)
		}
	}
}

// A fault with a body but no status replaces the body of a response, after the request took effect.
func TestABodyWithoutAStatus(t *testing.T) {
	tenant := newTenant(reloadstest.App{})
	tenant.Inject(reloadstest.Fault{Body: `{"id":""}`}, reloadstest.Fault{Body: "<html>", CutBody: 2})
	for _, want := range []string{`{"id":""}`, "<h"} {
		if status, body, _ := post(t, tenant); status != 201 || body != want {
			t.Errorf("got %d %q, want 201 %q", status, body, want)
		}
	}
	if n := len(tenant.Reloads()); n != 2 {
		t.Errorf("there are %d reloads, want 2", n)
	}
	tenant.Inject(reloadstest.Fault{Body: "<html>"})
	tenant.AddApp("app", reloadstest.App{Quota: 1})
	if status, body, _ := post(t, tenant); status != 403 || body != "<html>" {
		t.Errorf("a refused request: got %d %q, want 403 and the body", status, body)
	}
}

// HTTP allows no body with these statuses.
func TestAResponseWithoutABody(t *testing.T) {
	tenant := newTenant(reloadstest.App{})
	server := httptest.NewServer(tenant)
	defer server.Close()
	for _, status := range []int{204, 304} {
		for _, body := range []string{"", "body"} {
			tenant.Inject(reloadstest.Fault{Status: status, Body: body}, reloadstest.Fault{Status: status, Body: body})
			got, text, err := post(t, tenant)
			if got != status || text != "" || err != nil {
				t.Errorf("%d: got %d %q, %v", status, got, text, err)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/reloads", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(resp.Body); resp.StatusCode != status || len(text) > 0 || err != nil {
				t.Errorf("%d over a connection: got %d %q, %v", status, resp.StatusCode, text, err)
			}
			_ = resp.Body.Close()
		}
	}
}
