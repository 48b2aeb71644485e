package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/reloadstest"
)

const (
	tenantURL  = "https://tenant.example.com"
	testSecret = "test-secret-77aa"
)

// world returns a fake tenant with the OAuth client c, and a Config for that client.
func world(c reloadstest.OAuthClient) (*reloadstest.Tenant, oauth.Config) {
	tenant := reloadstest.NewTenant()
	c.ID, c.Secret = "client", testSecret
	tenant.AddOAuthClient(c)
	return tenant, oauth.Config{TenantURL: tenantURL, ClientID: "client", ClientSecret: testSecret, HTTPClient: &http.Client{Transport: tenant}}
}

func source(t *testing.T, cfg oauth.Config) reloads.TokenSource {
	t.Helper()
	s, err := oauth.NewTokenSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signIns returns the number of token requests that the tenant received.
func signIns(tenant *reloadstest.Tenant) (n int) {
	for _, r := range tenant.Requests() {
		if r.Operation == reloadstest.SignIn {
			n++
		}
	}
	return n
}

func TestATokenIsKeptUntilShortlyBeforeItExpires(t *testing.T) {
	for name, c := range map[string]reloadstest.OAuthClient{
		"expires_in": {Lifetime: time.Hour}, "expires_at": {Lifetime: time.Hour, ExpiresAt: true},
	} {
		for _, user := range []string{"", "user"} {
			synctest.Test(t, func(t *testing.T) {
				tenant, cfg := world(c)
				cfg.UserID = user
				s := source(t, cfg)
				if n := signIns(tenant); n != 0 {
					t.Errorf("%d token requests before the first call of Token", n)
				}
				var got []int
				for range 5 {
					if token, err := s.Token(t.Context()); err != nil || token == "" {
						t.Fatal(err)
					}
					got = append(got, signIns(tenant))
					time.Sleep(27*time.Minute + 30*time.Second)
				}
				// At 0, 27.5, 55, 82.5 and 110 min. Each token is renewed 5 min before its lifetime of one hour ends.
				if diff := cmp.Diff([]int{1, 1, 2, 2, 3}, got); diff != "" {
					t.Errorf("%s, user %q: token requests (-want +got):\n%s", name, user, diff)
				}
			})
		}
	}
}

// A failed renewal is not an error while the current token is valid. After the token has expired, it is.
func TestARenewalThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{Lifetime: time.Hour})
		s := source(t, cfg)
		first, err := s.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, Status: 503, Times: 3})
		time.Sleep(56 * time.Minute)
		for range 10 { // not every call sends a request
			if token, err := s.Token(t.Context()); token != first || err != nil {
				t.Errorf("while the first token is valid: got another token or the error %v", err)
			}
		}
		if n := signIns(tenant); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
		time.Sleep(5 * time.Minute)
		var e *oauth.Error
		if _, err := s.Token(t.Context()); !errors.As(err, &e) || e.StatusCode != 503 {
			t.Errorf("after the first token has expired: %v", err)
		}
		tenant.Inject(reloadstest.Fault{}) // has no effect
		if _, err := s.Token(t.Context()); !errors.As(err, &e) {
			t.Errorf("third fault: %v", err)
		}
		if token, err := s.Token(t.Context()); err != nil || token == first {
			t.Errorf("after the faults: got the first token or the error %v", err)
		}
	})
}

// Many callers share one renewal. A caller stops waiting when its context ends. If the caller that renews gives up,
// another caller renews.
func TestOneRenewalAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{})
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, DelayAnswer: 10 * time.Second, Times: 2})
		s := source(t, cfg)
		began := time.Now()
		impatient, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var asking sync.WaitGroup
		asking.Go(func() { // sends the first request and gives up
			if _, err := s.Token(impatient); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
				t.Errorf("first caller: %v after %v", err, time.Since(began))
			}
		})
		synctest.Wait()
		for i := range 100 {
			asking.Go(func() {
				ctx, limit := t.Context(), 13*time.Second
				if i%10 == 0 {
					ctx, limit = impatient, 3*time.Second
				}
				_, err := s.Token(ctx)
				if (err != nil) != (i%10 == 0) || time.Since(began) != limit {
					t.Errorf("caller %d: %v after %v", i, err, time.Since(began))
				}
			})
		}
		asking.Wait()
		if n := signIns(tenant); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
	})
}

// A token that is revoked during a long wait is renewed once for all waiting callers.
func TestARefusedTokenDuringALongWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{})
		client, err := reloads.NewClient(tenantURL, source(t, cfg), reloads.WithHTTPClient(cfg.HTTPClient))
		if err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		for i := range 20 {
			app := fmt.Sprint("app", i)
			tenant.AddApp(app, reloadstest.App{RunFor: time.Hour})
			waiting.Go(func() {
				if _, err := client.Run(t.Context(), reloads.Request{AppID: app}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(30 * time.Minute)
		tenant.RevokeOAuthTokens()
		waiting.Wait()
		if n := signIns(tenant); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
	})
}

func TestRefusalsAreExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{MaxTokens: 1})
		wrong := cfg
		wrong.ClientSecret = "test-secret-wrong"
		if _, err := source(t, cfg).Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			cfg    oauth.Config
			status int
			says   []string
		}{
			{wrong, 401, []string{"invalid_client", "check the client ID and the client secret"}},
			{cfg, 403, []string{"OAUTH-403", "too many", "share one TokenSource"}},
		} {
			for _, user := range []string{"", "user"} {
				c.cfg.UserID = user
				_, err := source(t, c.cfg).Token(t.Context())
				var e *oauth.Error
				if !errors.As(err, &e) || e.StatusCode != c.status {
					t.Fatalf("got %v, want an *Error with status %d", err, c.status)
				}
				for _, text := range c.says {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("the error %q does not contain %q", err, text)
					}
				}
			}
		}
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, Status: 200, Body: "<html>", Times: -1})
		for _, user := range []string{"", "user"} {
			cfg.UserID = user
			if _, err := source(t, cfg).Token(t.Context()); err == nil {
				t.Error("a response without a token is not an error")
			}
		}
	})
}

func TestConfigsThatAreRefused(t *testing.T) {
	good := oauth.Config{TenantURL: tenantURL, ClientID: "c", ClientSecret: "s"}
	for name, change := range map[string]func(*oauth.Config){
		"no tenant": func(c *oauth.Config) { c.TenantURL = "" }, "http": func(c *oauth.Config) { c.TenantURL = "http://tenant.example.com" },
		"no id": func(c *oauth.Config) { c.ClientID = "" }, "no secret": func(c *oauth.Config) { c.ClientSecret = "" },
	} {
		bad := good
		change(&bad)
		if _, err := oauth.NewTokenSource(bad); !errors.Is(err, reloads.ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sends is a transport that calls the function for each request and returns a redirect.
type sends func(*http.Request)

func (s sends) RoundTrip(r *http.Request) (*http.Response, error) {
	s(r)
	return &http.Response{StatusCode: 307, Header: http.Header{"Location": {"https://elsewhere.example.com/"}}, Body: io.NopCloser(strings.NewReader(testSecret)), Request: r}, nil
}

// The secret is sent to the tenant's own address in the format of the service. A redirect is not followed.
func TestWhatIsSent(t *testing.T) {
	for user, want := range map[string]string{
		"": "client_id=client&client_secret=" + testSecret + "&grant_type=client_credentials&scope=a+b",
		"u": `{"client_id":"client","client_secret":"` + testSecret + `","grant_type":"urn:qlik:oauth:user-impersonation",` +
			`"scope":"a b","user_lookup":{"field":"userId","value":"u"}}`,
	} {
		var sent []string
		hc := &http.Client{Transport: sends(func(r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			sent = append(sent, r.Method+" "+r.URL.String()+" "+string(body))
		})}
		cfg := oauth.Config{
			TenantURL: tenantURL + "/gw/api/v1/", ClientID: "client", ClientSecret: testSecret, Scopes: []string{"a", "b"}, UserID: user, HTTPClient: hc,
		}
		_, err := source(t, cfg).Token(t.Context())
		var e *oauth.Error
		if !errors.As(err, &e) || e.StatusCode != 307 || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), testSecret) {
			t.Errorf("got the error %v", err)
		}
		if diff := cmp.Diff([]string{"POST " + tenantURL + "/gw/oauth/token " + want}, sent); diff != "" {
			t.Errorf("user %q: sent (-want +got):\n%s", user, diff)
		}
		if hc.CheckRedirect != nil {
			t.Error("the http.Client of the caller was modified")
		}
	}
}

func TestTheSecretIsNotPrinted(t *testing.T) {
	tenant, cfg := world(reloadstest.OAuthClient{})
	s := source(t, cfg)
	token, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(map[string]any{"cfg": cfg, "pointer": &cfg})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("", "cfg", cfg)
	tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, Status: 500, Body: `{"error":"` + testSecret + `"}`})
	other := source(t, cfg)
	_, failure := other.Token(t.Context())
	text := fmt.Sprintf("%v %+v %#v %s %v %+v %v", cfg, cfg, &cfg, encoded, log.String(), failure, tenant)
	if strings.Contains(text, testSecret) || strings.Contains(text, token) {
		t.Errorf("the text contains a secret: %s", text)
	}
	if failure == nil || !strings.Contains(failure.Error(), "REDACTED") {
		t.Errorf("got the error %v, want one with REDACTED", failure)
	}
}
