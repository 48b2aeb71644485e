package reloads_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

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
