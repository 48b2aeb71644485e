package oauth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/reloadstest"
)

const (
	tenantURL  = "https://tenant.example.com"
	testSecret = "test-secret-77aa"
)

// flows are the values of Config.UserID for the two flows.
var flows = []string{"", "user"}

// world returns a fake tenant with the OAuth client c, and a Config for that client.
func world(c reloadstest.OAuthClient) (*reloadstest.Tenant, oauth.Config) {
	tenant := reloadstest.NewTenant()
	c.ID, c.Secret = "client", testSecret
	tenant.AddOAuthClient(c)
	return tenant, configOf(tenant)
}

// configOf returns a Config whose requests go to the transport.
func configOf(transport http.RoundTripper) oauth.Config {
	return oauth.Config{TenantURL: tenantURL, ClientID: "client", ClientSecret: testSecret, HTTPClient: &http.Client{Transport: transport}}
}

// renewer is the token source that NewTokenSource returns.
type renewer interface {
	reloads.TokenSource
	Renew(ctx context.Context, refused string) (string, error)
}

func source(t *testing.T, cfg oauth.Config) renewer {
	t.Helper()
	s, err := oauth.NewTokenSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s.(renewer)
}

// mustToken returns the token of a call that must succeed.
func mustToken(t *testing.T, s reloads.TokenSource) string {
	t.Helper()
	token, err := s.Token(t.Context())
	if err != nil || token == "" {
		t.Fatalf("got the token %q and the error %v", token, err)
	}
	return token
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

// transportFunc is a function that implements http.RoundTripper.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// responding returns a transport that responds to every request.
func responding(status int, contentType, body string) transportFunc {
	return func(r *http.Request) (*http.Response, error) { return response(r, status, contentType, body), nil }
}

func response(r *http.Request, status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}
}

// service is a transport that issues the tokens test-token-1, test-token-2, and so on, each valid for an hour. It can
// let requests hang until their context ends.
type service struct {
	hang              atomic.Bool
	requests, running atomic.Int64
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.running.Add(1)
	defer s.running.Add(-1)
	n := s.requests.Add(1)
	if s.hang.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return response(r, 200, "application/json", fmt.Sprintf(`{"access_token":"test-token-%d","expires_in":3600}`, n)), nil
}
