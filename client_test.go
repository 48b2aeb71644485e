package reloads_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
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
		"http://LOCALHOST":                 "http://localhost/api/v1/reloads",
		"http://127.0.0.1:8080/gw":         "http://127.0.0.1:8080/gw/api/v1/reloads",
		"http://[::1]:8080":                "http://[::1]:8080/api/v1/reloads",
	} {
		var got string
		wire := scripted(func(r *http.Request) (*http.Response, error) {
			got = r.URL.String()
			return respond(200, emptyPage)(r)
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

func TestInvalidTenantURLs(t *testing.T) {
	t.Parallel()
	for tenantURL, contains := range map[string]string{
		"":                                           "https://",
		"t.example.com":                              "https://",
		"//t.example.com":                            "https://",
		"t.example.com:443":                          "https",
		"/api/v1":                                    "https://",
		"https://":                                   "have a host",
		"https:///api/v1":                            "have a host",
		"https://:443":                               "have a host",
		"https:t.example.com":                        "https://",
		"ftp://t.example.com":                        "scheme",
		"http://t.example.com":                       "loopback",
		"http://localhost.example.com":               "loopback",
		"http://10.0.0.1":                            "loopback",
		"https://t.example.com?":                     "query",
		"https://t.example.com/?a=b":                 "query",
		"https://t.example.com#":                     "fragment",
		"https://t.example.com/#a":                   "fragment",
		"https://t.example.com/%zz":                  "not a valid URL",
		"https://t.example.com:port":                 "not a valid URL",
		"https://admin:test-secret@t.example.com":    "user info",
		"https://admin@t.example.com":                "user info",
		"//admin:test-secret@t.example.com":          "user info",
		"https://admin:test-secret%zz@t.example.com": "not a valid URL",
		"https://admin:test-secret@t.example.com:x":  "not a valid URL",
		"admin:test-secret@t.example.com":            "https://",
		"https:admin:test-secret@t.example.com":      "https://",
	} {
		client, err := reloads.NewClient(tenantURL, reloads.APIKey(testToken))
		if client != nil {
			t.Errorf("%q is accepted", tenantURL)
			continue
		}
		refusedBeforeSending(t, err, "tenant URL", contains)
		checkNoSecrets(t, "the error", err.Error(), "test-secret")
	}
}

func TestInvalidOptions(t *testing.T) {
	t.Parallel()
	for contains, opt := range map[string]reloads.Option{
		"opts [0]":                       nil,
		"WithHTTPClient nil":             reloads.WithHTTPClient(nil),
		"WithLogger nil":                 reloads.WithLogger(nil),
		`WithUserAgent ""`:               reloads.WithUserAgent(""),
		`WithUserAgent "a\nb"`:           reloads.WithUserAgent("a\nb"),
		`WithUserAgent "\x7f"`:           reloads.WithUserAgent("\x7f"),
		"WithAttemptTimeout -1ns":        reloads.WithAttemptTimeout(-1),
		"RetryPolicy.MaxRetries -1":      reloads.WithRetry(reloads.RetryPolicy{MaxRetries: -1}),
		"RetryPolicy.MinBackoff -1ns":    reloads.WithRetry(reloads.RetryPolicy{MinBackoff: -1}),
		"RetryPolicy.MaxBackoff -1ns":    reloads.WithRetry(reloads.RetryPolicy{MaxBackoff: -1}),
		"RetryPolicy.MaxRetryAfter -1ns": reloads.WithRetry(reloads.RetryPolicy{MaxRetryAfter: -1}),
		"RetryPolicy.MinBackoff 2s":      reloads.WithRetry(reloads.RetryPolicy{MinBackoff: 2 * time.Second, MaxBackoff: time.Second}),
		"RetryPolicy.MinBackoff 500ms":   reloads.WithRetry(reloads.RetryPolicy{MaxBackoff: time.Millisecond}),
		"PollPolicy.MinInterval -1ns":    reloads.WithPolling(reloads.PollPolicy{MinInterval: -1}),
		"PollPolicy.MaxInterval -1ns":    reloads.WithPolling(reloads.PollPolicy{MaxInterval: -1}),
		"PollPolicy.MinInterval 2s":      reloads.WithPolling(reloads.PollPolicy{MinInterval: 2 * time.Second, MaxInterval: time.Second}),
	} {
		client, err := reloads.NewClient("https://t.example.com", reloads.APIKey(testToken), opt)
		if client != nil {
			t.Errorf("%s is accepted", contains)
			continue
		}
		refusedBeforeSending(t, err, contains)
	}
	for _, tokens := range []reloads.TokenSource{nil, reloads.TokenFunc(nil)} {
		_, err := reloads.NewClient("https://t.example.com", tokens)
		refusedBeforeSending(t, err, "token source nil")
	}
}

// A thousand goroutines share a client. Every call returns its own response.
func TestClientIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Path[len(prefix+"/api/v1/reloads/"):]
		_, _ = fmt.Fprintf(w, `{"id":%q,"log":%q}`, id, "log of "+id)
	})
	var calling sync.WaitGroup
	for i := range size(1000, 100) {
		calling.Go(func() {
			id := fmt.Sprint("reload", i)
			r, err := client.Get(t.Context(), id)
			if err != nil || r.ID != id || r.Log != "log of "+id {
				t.Errorf("%s: %+v, %v", id, r, err)
			}
		})
	}
	calling.Wait()
}

// finishedReloads is a service whose reloads succeed at once. It refuses the app "bad".
func finishedReloads(r *http.Request) (*http.Response, error) {
	var body struct{ AppID string }
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.AppID == "bad" {
			return respond(403, "")(r)
		}
		return respond(201, fmt.Sprintf(`{"id":"r-%s","appId":%q,"status":"QUEUED"}`, body.AppID, body.AppID))(r)
	}
	id := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if id == "reloads" {
		return respond(200, emptyPage)(r)
	}
	return respond(200, fmt.Sprintf(`{"id":%q,"status":"SUCCEEDED"}`, id))(r)
}

// No argument is modified, and none is read after the call if that would matter.
func TestArgumentsAreNotModified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		transport := unrecorded{scripted(finishedReloads)}
		hc := &http.Client{Transport: transport, Jar: jar, Timeout: time.Hour}
		partial := true
		list := reloads.ListOptions{AppID: "a", Filter: "status eq \"FAILED\"", PageSize: 7, Partial: &partial, Sort: reloads.SortOldestFirst}
		newRequests := func() []reloads.Request {
			return []reloads.Request{{AppID: "b", Variables: map[string]string{"v": "1", "u": "2"}}, {AppID: "a"}, {AppID: "b"}, {AppID: ""}, {AppID: "bad"}, {AppID: "spare"}}
		}
		newReloads := func() []*reloads.Reload {
			return []*reloads.Reload{{ID: "2", AppID: "x", Status: "QUEUED"}, {ID: "1"}, nil, {ID: "2"}, {ID: "3", Status: "FAILED", Extra: map[string]json.RawMessage{"x": []byte("1")}}, {ID: "spare"}}
		}
		reqs, rs, opts := newRequests(), newReloads(), []reloads.RunOption{nil, reloads.CancelOnAbort(), reloads.OnChange(func(reloads.Request, *reloads.Reload) {})}
		client := scriptedClient(t, nil, reloads.WithHTTPClient(hc))
		apps := map[string]int{}
		for result := range client.RunAll(t.Context(), reqs[:5], opts[:2]...) { // the arrays have room for more
			apps[result.Request.AppID]++
		}
		ids := 0
		for range client.WaitAll(t.Context(), rs[:5], opts[:2]...) {
			ids++
		}
		if _, err := client.Run(t.Context(), reqs[0], opts[:2]...); err != nil {
			t.Error(err)
		}
		if _, err := client.List(t.Context(), list); err != nil {
			t.Error(err)
		}
		_, _, _ = collect(client.All(t.Context(), list))
		if diff := cmp.Diff(map[string]int{"a": 1, "b": 2, "": 1, "bad": 1}, apps); diff != "" || ids != 5 {
			t.Errorf("%d results of WaitAll; those of RunAll (-want +got):\n%s", ids, diff)
		}
		if diff := cmp.Diff(newRequests(), reqs); diff != "" {
			t.Errorf("the requests (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(newReloads(), rs); diff != "" {
			t.Errorf("the reloads (-want +got):\n%s", diff)
		}
		if list.Partial != &partial || !partial || list.PageSize != 7 || list.Next != "" || list.Prev != "" {
			t.Errorf("the ListOptions are now %+v", list)
		}
		if opts[0] != nil || opts[2] == nil {
			t.Error("the options were modified")
		}
		if hc.Transport != transport || hc.Jar != jar || hc.Timeout != time.Hour || hc.CheckRedirect != nil {
			t.Errorf("the http.Client is now %+v", hc)
		}
	})
}

// A nil context is refused by every call, before anything is sent.
func TestNilContextIsRefused(t *testing.T) {
	t.Parallel()
	var none context.Context
	wire := scripted(respond(200, queued))
	client := scriptedClient(t, wire)
	opts := []reloads.RunOption{reloads.CancelOnAbort(), reloads.AttachToPending(), reloads.OnChange(func(reloads.Request, *reloads.Reload) { t.Error("OnChange was called") })}
	all := func(results iter.Seq[reloads.Result], want int) error {
		var errs []error
		for r := range results {
			refusedBeforeSending(t, r.Err, "ctx")
			errs = append(errs, r.Err)
		}
		if len(errs) != want {
			t.Errorf("%d results, want %d", len(errs), want)
		}
		return errs[0]
	}
	calls := map[string]func() error{
		"Watch": func() error {
			_, errs, err := collect(client.Watch(none, reloadID))
			if errs != 1 {
				t.Errorf("Watch: %d errors, want 1", errs)
			}
			return err
		},
		"Wait": func() error { _, err := client.Wait(none, reloadID); return err },
		"Run":  func() error { _, err := client.Run(none, reloads.Request{AppID: "app"}, opts...); return err },
		"RunAll": func() error {
			return all(client.RunAll(none, requestsFor("a", "b", "a"), opts...), 3)
		},
		"WaitAll": func() error {
			return all(client.WaitAll(none, []*reloads.Reload{{ID: "1"}, {ID: "2", Status: "FAILED"}, {ID: "1"}}, opts...), 3)
		},
		"WindowLimiter.Wait":               func() error { return reloads.NewLimiter(1, time.Minute).Wait(none) },
		"WindowLimiter.Wait without limit": func() error { return new(reloads.WindowLimiter).Wait(none) },
		"Pages": func() error {
			for _, err := range client.Pages(none, reloads.ListOptions{}) {
				return err
			}
			return nil
		},
		"All": func() error {
			_, errs, err := collect(client.All(none, reloads.ListOptions{}))
			if errs != 1 {
				t.Errorf("All: %d errors, want 1", errs)
			}
			return err
		},
	}
	for _, e := range endpoints {
		calls[e.name] = func() error { return e.call(none, client) }
	}
	for name, call := range calls {
		err := call()
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		refusedBeforeSending(t, err, "ctx")
	}
	for range client.RunAll(none, nil, opts...) {
		t.Error("a result without a request")
	}
	if n := len(wire.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// With several invalid values, the error is always about the same one.
func TestValidationErrorsAreDeterministic(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 257)
	client := scriptedClient(t, scripted(respond(200, queued)))
	newClient := func(tenantURL string, source reloads.TokenSource, opts ...reloads.Option) func() error {
		return func() error {
			_, err := reloads.NewClient(tenantURL, source, opts...)
			return err
		}
	}
	for name, call := range map[string]func() error{
		"RetryPolicy": newClient("https://t.example.com", reloads.APIKey(testToken), reloads.WithRetry(reloads.RetryPolicy{MinBackoff: -1, MaxBackoff: -2, MaxRetryAfter: -3})),
		"PollPolicy":  newClient("https://t.example.com", reloads.APIKey(testToken), reloads.WithPolling(reloads.PollPolicy{MinInterval: -1, MaxInterval: -2})),
		"NewClient":   newClient("ftp://t.example.com/?a#b", reloads.APIKey("a b"), nil, reloads.WithUserAgent("")),
		"variables": func() error {
			_, err := client.Trigger(t.Context(), reloads.Request{AppID: "app", Variables: map[string]string{"c": long, "b": long, "a": long, long: "", "": "1", long + "y": "2"}})
			return err
		},
		"UTF-8": func() error {
			_, err := client.Trigger(t.Context(), reloads.Request{AppID: "app", Variables: map[string]string{"b": "\xff", "a": "\xfe", "\xfd": "1"}})
			return err
		},
		"ListOptions": func() error {
			_, err := client.List(t.Context(), reloads.ListOptions{PageSize: -1, Next: "?appId=a&appId=b", Prev: "?x", AppID: "c"})
			return err
		},
	} {
		first := call()
		refusedBeforeSending(t, first)
		for range 100 {
			if err := call(); err.Error() != first.Error() {
				t.Errorf("%s: got %q, and before %q", name, err, first)
			}
		}
	}
}

func TestClientDoesNotPrintToken(t *testing.T) {
	t.Parallel()
	opts := []reloads.Option{noRetries, reloads.WithUserAgent("x")}
	client := scriptedClient(t, scripted(respond(200, queued)), opts...)
	if _, err := client.Get(t.Context(), reloadID); err != nil {
		t.Fatal(err)
	}
	hexToken := fmt.Sprintf("%x", testToken)
	checkNoSecrets(t, "the client", printAll(client), hexToken, strings.ToUpper(hexToken))
	checkNoSecrets(t, "the options", printAll(opts), hexToken)
	checkNoSecrets(t, "a struct", printAll(struct{ Client *reloads.Client }{client}), hexToken)
}

// secretVariable is the value of a variable of a request. Users put passwords in variables.
const secretVariable = "test-password-91c7"

// Neither the token nor the value of a variable is in anything that the package or its fake tenant prints, logs or
// records, whatever fails.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		tenant := reloadstest.NewTenant(reloadstest.WithToken(testToken, reloadstest.TenantAdmin))
		tenant.AddApp("app", reloadstest.App{RunFor: time.Second})
		tenant.AddApp("bad", reloadstest.App{RunFor: time.Second, Outcome: reloads.StatusFailed, ErrorMessage: "no data"})
		hc := &http.Client{Transport: tenant}
		opts := []reloads.Option{
			reloads.WithHTTPClient(hc), reloads.WithAttemptTimeout(5 * time.Second),
			reloads.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		}
		client, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey(testToken), opts...)
		if err != nil {
			t.Fatal(err)
		}
		req := reloads.Request{AppID: "app", Variables: map[string]string{"Password": secretVariable}}
		unsendable := reloads.Request{AppID: "app", Variables: map[string]string{"Password": strings.Repeat(secretVariable, 20)}}
		invalid := reloads.Request{AppID: "app", Variables: map[string]string{"Password": secretVariable + "\xff"}}
		printedValues := []any{client, opts, hc, req, &req, unsendable}
		for _, fault := range []reloadstest.Fault{
			{}, {LoseBefore: true}, {LoseAfter: true}, {Status: 500}, {Status: 429}, {Status: 200, Body: "<html>"}, {Status: 403}, {CutBody: 20},
			{Delay: 10 * time.Second}, {Status: 302, Header: http.Header{"Location": {"https://elsewhere.example.com/"}}},
		} {
			fault.Times = 3
			for _, op := range []reloadstest.Operation{reloadstest.Trigger, reloadstest.List, reloadstest.Get} {
				fault.Operation = op
				tenant.Inject(fault)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				r, err := client.Run(ctx, req)
				printedValues = append(printedValues, r, err)
				for r := range client.RunAll(ctx, []reloads.Request{req, {AppID: "bad", Variables: req.Variables}, unsendable, invalid, {AppID: "no such app", Variables: req.Variables}}) {
					printedValues = append(printedValues, r, &r, r.Err)
				}
				cancel()
			}
		}
		for _, role := range []reloadstest.Role{reloadstest.Expired, reloadstest.Forbidden} {
			other := testToken + fmt.Sprint("-", role)
			denied := tenant.NewClient(reloads.WithHTTPClient(&http.Client{Transport: withToken{tenant, other}}))
			_, err := denied.Trigger(t.Context(), req)
			printedValues = append(printedValues, err)
		}
		printedValues = append(printedValues, tenant, tenant.Requests(), tenant.Reloads())
		secrets := []string{secretVariable, fmt.Sprintf("%x", secretVariable), fmt.Sprintf("%x", testToken)}
		for i, value := range printedValues {
			checkNoSecrets(t, fmt.Sprintf("value %d, a %T,", i, value), printAll(value), secrets...)
		}
		for _, r := range tenant.Requests() {
			encoded, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			checkNoSecrets(t, "a recorded request", string(encoded)+string(r.Body), secrets...)
		}
		checkNoSecrets(t, "the log", log.String(), secrets...)
		if n := strings.Count(log.String(), "\n"); n < 100 {
			t.Errorf("the log has %d lines, want at least 100", n)
		}
	})
}

// withToken sends every request with another token.
type withToken struct {
	base  http.RoundTripper
	token string
}

func (a withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+a.token)
	return a.base.RoundTrip(r)
}

// The interfaces that programs rely on. testdata/api lists all exported names.
var (
	_ reloads.TokenSource = reloads.APIKey("")
	_ reloads.TokenSource = reloads.TokenFunc(nil)
	_ reloads.Limiter     = (*rate.Limiter)(nil)
	_ reloads.Limiter     = (*reloads.WindowLimiter)(nil)
	_ error               = reloads.Code("")
	_ error               = (*reloads.Error)(nil)
	_ error               = (*reloads.ReloadError)(nil)
	_ http.Handler        = (*reloadstest.Tenant)(nil)
	_ http.RoundTripper   = (*reloadstest.Tenant)(nil)
)
