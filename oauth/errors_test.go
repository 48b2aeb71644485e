package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestRefusalsAreExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, cfg := world(reloadstest.OAuthClient{MaxTokens: 1})
		wrong := cfg
		wrong.ClientSecret = "test-secret-wrong"
		mustToken(t, source(t, cfg))
		for _, c := range []struct {
			cfg    oauth.Config
			status int
			says   []string
		}{
			{wrong, 401, []string{"invalid_client", "check the client ID and the client secret"}},
			{cfg, 403, []string{"OAUTH-403", "too many", "share one TokenSource"}},
		} {
			for _, user := range flows {
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
	})
}

// The two flows return the same error for the same response. A 2xx that states an error is an Error, too.
func TestErrorOfAResponse(t *testing.T) {
	const js = "application/json"
	for _, c := range []struct {
		status            int
		contentType, body string
		want              *oauth.Error // nil for an invalid response
	}{
		{400, js, `{"error":"invalid_scope","error_description":"unknown"}`, &oauth.Error{400, "invalid_scope", "unknown"}},
		{400, js, `{"errors":[{"code":"C","title":"T","detail":"D"}]}`, &oauth.Error{400, "C", "T: D"}},
		{400, js, `{"errors":[{"code":"C","title":"T"},{"code":"other"}]}`, &oauth.Error{400, "C", "T"}},
		{400, "application/x-www-form-urlencoded", `error=invalid_scope&error_description=un+known`, &oauth.Error{400, "invalid_scope", "un known"}},
		{502, "text/html", `<html>`, &oauth.Error{502, "", ""}},
		{302, "", ``, &oauth.Error{302, "", ""}},
		{200, js, `{"error":"invalid_client","error_description":"D"}`, &oauth.Error{200, "invalid_client", "D"}},
		{200, js, `{"error":"invalid_client","access_token":"test-token-1"}`, &oauth.Error{200, "invalid_client", ""}},
		{299, js, `{"error":"temporarily_unavailable"}`, &oauth.Error{299, "temporarily_unavailable", ""}},
		{400, js, `{"errors":[{"code":5,"title":"T test-token-1"}],"error":"e","access_token":"test-token-1"}`, &oauth.Error{400, "", "T REDACTED"}},
		{200, "text/html", `<html>`, nil},
		{200, js, ``, nil},
		{200, js, `null`, nil},
		{200, js, `{}`, nil},
		{200, js, `{"access_token":""}`, nil},
		{200, js, `{"access_token":7}`, nil},
		{200, js, `{"error":"","error_description":"D"}`, nil},
		{200, js, `{"access_token":"test-token-1","expires_in":"test-token-1"}`, nil},
		{200, js, `{"access_token":"test-token-1","expires_in":{"test-token-1":1}}`, nil},
		{200, "application/x-www-form-urlencoded", `access_token=test-token-1&%test-token-1`, nil},
	} {
		for _, user := range flows {
			cfg := configOf(responding(c.status, c.contentType, c.body))
			cfg.UserID = user
			token, err := source(t, cfg).Token(t.Context())
			if err == nil || token != "" {
				t.Errorf("user %q, %d %s: got the token %q and no error", user, c.status, c.body, token)
				continue
			}
			var got *oauth.Error
			errors.As(err, &got)
			if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
				t.Errorf("user %q, %d %s: got %+v, want %+v", user, c.status, c.body, err, c.want)
			}
			if got == nil && !strings.Contains(err.Error(), "/oauth/token: invalid response") || strings.Contains(err.Error(), "test-token-1") {
				t.Errorf("user %q, %d %s: got %v", user, c.status, c.body, err)
			}
		}
	}
}

// A timeout of the transport is not the deadline of the caller.
func TestTimeoutOfTheTransport(t *testing.T) {
	for _, user := range flows {
		cfg := configOf(transportFunc(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}
		}))
		cfg.UserID = user
		_, err := source(t, cfg).Token(t.Context())
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("user %q: got %v, want a timeout that is not DeadlineExceeded", user, err)
		}
	}
}

// A long token takes neither much time nor a pattern that is too large.
func TestALongTokenInAnErrorResponse(t *testing.T) {
	want := oauth.Error{StatusCode: 400, Code: "code", Description: "REDACTED"}
	for _, length := range []int{500, 4100, 200_000} {
		for _, user := range flows {
			token := strings.Repeat("+", length)
			cfg := configOf(responding(400, "application/json", fmt.Sprintf(`{"access_token":%q,"error":"code","error_description":%q}`, token, token)))
			cfg.UserID = user
			_, err := source(t, cfg).Token(t.Context())
			var e *oauth.Error
			if !errors.As(err, &e) || *e != want {
				t.Errorf("a token of %d bytes, user %q: got %v, want %v", length, user, err, want)
			}
		}
	}
}

func TestTextOfAnError(t *testing.T) {
	for _, c := range []struct {
		err  oauth.Error
		want string
	}{
		{oauth.Error{503, "", ""}, "oauth: token request failed: 503 Service Unavailable"},
		{oauth.Error{400, "invalid_scope", "The scope is unknown."}, "oauth: token request failed: 400 Bad Request: invalid_scope: The scope is unknown."},
		{oauth.Error{400, "invalid_client", ""}, "oauth: token request failed: 400 Bad Request: invalid_client (check the client ID and the client secret)"},
		{oauth.Error{401, "", ""}, "oauth: token request failed: 401 Unauthorized (check the client ID and the client secret)"},
		{oauth.Error{299, "", "D"}, "oauth: token request failed: 299: D"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		_ = fmt.Sprint(c.err)
	}
}
