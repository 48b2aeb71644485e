package reloads_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

func TestTenantURLs(t *testing.T) {
	t.Parallel()
	for tenantURL, want := range map[string]string{
		"https://t.example.com":            "https://t.example.com/api/v1/reloads",
		"https://t.example.com/":           "https://t.example.com/api/v1/reloads",
		"https://t.example.com/api/v1":     "https://t.example.com/api/v1/reloads",
		"https://t.example.com/api/v1/":    "https://t.example.com/api/v1/reloads",
		"https://t.example.com//":          "https://t.example.com/api/v1/reloads",
		"https://t.example.com/gw":         "https://t.example.com/gw/api/v1/reloads",
		"https://t.example.com/gw/x/":      "https://t.example.com/gw/x/api/v1/reloads",
		"https://t.example.com/gw/api/v1/": "https://t.example.com/gw/api/v1/reloads",
		"https://t.example.com/my-api/v1":  "https://t.example.com/my-api/v1/api/v1/reloads",
		"https://t.example.com/a%2Fb":      "https://t.example.com/a%2Fb/api/v1/reloads",
		"https://t.example.com:8443":       "https://t.example.com:8443/api/v1/reloads",
		"HTTPS://t.example.com":            "https://t.example.com/api/v1/reloads",
		"https://[2001:db8::1]:8443/gw":    "https://[2001:db8::1]:8443/gw/api/v1/reloads",
		"https://[fe80::1%25eth0]":         "https://[fe80::1%25eth0]/api/v1/reloads",
		"http://localhost:8080":            "http://localhost:8080/api/v1/reloads",
		"http://LOCALHOST":                 "http://LOCALHOST/api/v1/reloads",
		"http://127.0.0.1:8080/gw":         "http://127.0.0.1:8080/gw/api/v1/reloads",
		"http://[::1]:8080":                "http://[::1]:8080/api/v1/reloads",
	} {
		var got string
		wire := plays(func(r *http.Request) (*http.Response, error) {
			got = r.URL.String()
			return answer(200, emptyPage)(r)
		})
		client, err := reloads.NewClient(tenantURL, reloads.APIKey(testToken), reloads.WithHTTPClient(&http.Client{Transport: wire}))
		if err != nil {
			t.Errorf("%s: %v", tenantURL, err)
			continue
		}
		if _, err := client.List(t.Context(), reloads.ListOptions{}); err != nil || got != want {
			t.Errorf("%s: sent to %s, want %s; %v", tenantURL, got, want, err)
		}
	}
}

func TestTenantURLsThatAreRefused(t *testing.T) {
	t.Parallel()
	for tenantURL, says := range map[string]string{
		"":                                           "https://",
		"t.example.com":                              "https://",
		"//t.example.com":                            "https://",
		"t.example.com:443":                          "https",
		"/api/v1":                                    "https://",
		"https://":                                   "no host",
		"https:///api/v1":                            "no host",
		"https://:443":                               "no host",
		"https:t.example.com":                        "https://",
		"ftp://t.example.com":                        "scheme",
		"http://t.example.com":                       "loopback",
		"http://localhost.example.com":               "loopback",
		"http://10.0.0.1":                            "loopback",
		"https://t.example.com?":                     "query",
		"https://t.example.com/?a=b":                 "query",
		"https://t.example.com#":                     "fragment",
		"https://t.example.com/#a":                   "fragment",
		"https://t.example.com/%zz":                  "no URL",
		"https://t.example.com:port":                 "no URL",
		"https://admin:test-secret@t.example.com":    "user info",
		"https://admin@t.example.com":                "user info",
		"//admin:test-secret@t.example.com":          "user info",
		"https://admin:test-secret%zz@t.example.com": "no URL",
		"https://admin:test-secret@t.example.com:x":  "no URL",
		"admin:test-secret@t.example.com":            "https://",
		"https:admin:test-secret@t.example.com":      "https://",
	} {
		client, err := reloads.NewClient(tenantURL, reloads.APIKey(testToken))
		if client != nil {
			t.Errorf("%q is accepted", tenantURL)
			continue
		}
		refusedBeforeSending(t, err, "tenantURL", says)
		silent(t, "the error", err.Error(), "test-secret")
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	for says, opt := range map[string]reloads.Option{
		"opts [0]":                       nil,
		"WithHTTPClient nil":             reloads.WithHTTPClient(nil),
		"WithLogger nil":                 reloads.WithLogger(nil),
		`WithUserAgent ""`:               reloads.WithUserAgent(""),
		`WithUserAgent "a\nb"`:           reloads.WithUserAgent("a\nb"),
		"WithAttemptTimeout -1ns":        reloads.WithAttemptTimeout(-1),
		"RetryPolicy.MaxRetries -1":      reloads.WithRetry(reloads.RetryPolicy{MaxRetries: -1}),
		"RetryPolicy.MinBackoff -1ns":    reloads.WithRetry(reloads.RetryPolicy{MinBackoff: -1}),
		"RetryPolicy.MaxBackoff -1ns":    reloads.WithRetry(reloads.RetryPolicy{MaxBackoff: -1}),
		"RetryPolicy.MaxRetryAfter -1ns": reloads.WithRetry(reloads.RetryPolicy{MaxRetryAfter: -1}),
		"RetryPolicy.MinBackoff 2s":      reloads.WithRetry(reloads.RetryPolicy{MinBackoff: 2 * time.Second, MaxBackoff: time.Second}),
		"RetryPolicy.MinBackoff 500ms":   reloads.WithRetry(reloads.RetryPolicy{MaxBackoff: time.Millisecond}),
		"WithBodyLimits":                 reloads.WithBodyLimits(reloads.BodyLimits{Answer: -1}),
		"Error:-1":                       reloads.WithBodyLimits(reloads.BodyLimits{Error: -1}),
		"PollPolicy.MinInterval -1ns":    reloads.WithPolling(reloads.PollPolicy{MinInterval: -1}),
		"PollPolicy.MaxInterval -1ns":    reloads.WithPolling(reloads.PollPolicy{MaxInterval: -1}),
		"PollPolicy.MinInterval 2s":      reloads.WithPolling(reloads.PollPolicy{MinInterval: 2 * time.Second, MaxInterval: time.Second}),
	} {
		client, err := reloads.NewClient("https://t.example.com", reloads.APIKey(testToken), opt)
		if client != nil {
			t.Errorf("%s is accepted", says)
			continue
		}
		refusedBeforeSending(t, err, says)
	}
	for _, tokens := range []reloads.TokenSource{nil, reloads.TokenFunc(nil)} {
		_, err := reloads.NewClient("https://t.example.com", tokens)
		refusedBeforeSending(t, err, "tokens nil")
	}
}

// sticky is a transport that counts how often its idle connections are closed.
type sticky struct {
	*script
	closed int
}

func (s *sticky) CloseIdleConnections() { s.closed++ }

func TestTheUsersHTTPClientIsLeftAlone(t *testing.T) {
	t.Parallel()
	transport := &sticky{script: plays(answer(404, ""), answer(302, "", "Location", "https://elsewhere.example.com"))}
	checked := false
	hc := &http.Client{Transport: transport, Timeout: time.Hour, CheckRedirect: func(*http.Request, []*http.Request) error {
		checked = true
		return nil
	}}
	client := scriptedClient(t, nil, reloads.WithHTTPClient(hc))
	for range 2 {
		if _, err := client.Get(t.Context(), reloadID); err == nil {
			t.Error("no error")
		}
	}
	if hc.Transport != transport || hc.Timeout != time.Hour || hc.Jar != nil || checked {
		t.Errorf("the http.Client is now %+v, its CheckRedirect was called: %v", hc, checked)
	}
	if _ = hc.CheckRedirect(nil, nil); !checked {
		t.Error("the http.Client has another CheckRedirect")
	}
	if transport.closed != 0 {
		t.Errorf("the idle connections were closed %d times", transport.closed)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints {
		wire := plays(e.ok)
		if err := e.call(t.Context(), scriptedClient(t, wire, reloads.WithUserAgent("ignored/1"), reloads.WithUserAgent("nightly/1.4"))); err != nil {
			t.Fatal(err)
		}
		want := http.Header{
			"Accept": {"application/json"}, "Authorization": {"Bearer " + testToken},
			"User-Agent": wire.requests()[0].Header["User-Agent"],
		}
		if e.name == "trigger" {
			want.Set("Content-Type", "application/json")
		}
		if e.name == "log" {
			want.Set("Accept", "text/plain, application/json;q=0.5")
		}
		if diff := cmp.Diff(want, wire.requests()[0].Header); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.name, diff)
		}
		if got := want.Get("User-Agent"); !strings.HasPrefix(got, "nightly/1.4 reloads-go/") {
			t.Errorf("User-Agent is %q", got)
		}
	}
	wire := plays(answer(200, emptyPage))
	if _, err := scriptedClient(t, wire).List(t.Context(), reloads.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := wire.requests()[0].Header.Get("User-Agent"); !strings.HasPrefix(got, "reloads-go/") {
		t.Errorf("User-Agent is %q", got)
	}
}

func TestANilContextIsAnError(t *testing.T) {
	t.Parallel()
	var missing context.Context
	for _, e := range endpoints {
		wire := plays(e.ok)
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("%s panics: %v", e.name, r)
				}
			}()
			if err := e.call(missing, scriptedClient(t, wire)); err == nil || len(wire.requests()) != 0 {
				t.Errorf("%s: %d requests, %v", e.name, len(wire.requests()), err)
			}
		}()
	}
	client := scriptedClient(t, plays(answer(200, emptyPage)))
	for _, prefetch := range []bool{false, true} {
		if _, errs, _ := collect(client.All(missing, reloads.ListOptions{Prefetch: prefetch})); errs != 1 {
			t.Errorf("All: %d errors", errs)
		}
	}
}

// A redirect is an answer: whoever it leads to is not contacted, and does not get the token.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere, hits := gateway(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, queued) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, target := range map[string]string{
			"a subdomain": "https://sub.localhost/api/v1/reloads", "plain http": "http://elsewhere.example.com/api/v1/reloads",
			"other port": elsewhere + "/api/v1/reloads", "other host": "https://elsewhere.example.com/", "same host": prefix + "/api/v1/reloads/2",
			"no place": "", "a broken place": "https://%zz/?" + testToken,
		} {
			for _, e := range endpoints {
				client, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					if target != "" {
						w.Header().Set("Location", target)
					}
					w.WriteHeader(status)
				}, none, reloads.WithLimiters(unlimited))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				err := e.call(ctx, client)
				cancel()
				if got := asError(t, err); got.StatusCode != status || len(requests.requests()) != 1 {
					t.Errorf("%s, %d to %s: %d requests, %v", e.name, status, name, len(requests.requests()), err)
				}
				silent(t, "the error", err.Error(), "elsewhere")
			}
		}
	}
	if n := len(hits.requests()); n != 0 {
		t.Errorf("%d requests went to the target of a redirect", n)
	}
}

func TestAClientDoesNotPrintItsToken(t *testing.T) {
	t.Parallel()
	opts := []reloads.Option{none, reloads.WithUserAgent("x")}
	client := scriptedClient(t, plays(answer(200, queued)), opts...)
	if _, err := client.Get(t.Context(), reloadID); err != nil {
		t.Fatal(err)
	}
	hexToken := fmt.Sprintf("%x", testToken)
	silent(t, "the client", printed(client), hexToken, strings.ToUpper(hexToken))
	silent(t, "the options", printed(opts), hexToken)
	silent(t, "a struct", printed(struct{ Client *reloads.Client }{client}), hexToken)
}
