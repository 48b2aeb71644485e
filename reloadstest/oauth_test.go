package reloadstest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/reloadstest"
)

// signIn requests a token. It returns the status code, the body without the token, and the token.
func signIn(t *testing.T, tenant *reloadstest.Tenant, contentType, body string) (status int, text, token string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://x/oauth/token", strings.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	recorder := httptest.NewRecorder()
	tenant.ServeHTTP(recorder, req)
	text = recorder.Body.String()
	if found := regexp.MustCompile(`"access_token":"([^"]*)",?`).FindStringSubmatch(text); found != nil {
		text, token = strings.Replace(text, found[0], "", 1), found[1]
	}
	return recorder.Code, text, token
}

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"
)

func TestSigningIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{})
		tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "c", Secret: "test-secret", Role: reloadstest.TenantAdmin, Lifetime: time.Hour, MaxTokens: 3})
		const given = `{"expires_in":3600,"scope":"user_default","token_type":"bearer"}`
		for _, c := range []struct {
			contentType, body string
			status            int
			text              string
		}{
			{asForm, "grant_type=client_credentials&client_id=c&client_secret=test-secret", 200, given},
			{asJSON, `{"grant_type":"client_credentials","client_id":"c","client_secret":"test-secret"}`, 200, given},
			{asJSON, `{"grant_type":"urn:qlik:oauth:user-impersonation","client_id":"c","client_secret":"test-secret","user_lookup":{"field":"userId","value":"u"}}`, 200, given},
			{asJSON, `{"grant_type":"urn:qlik:oauth:user-impersonation","client_id":"c","client_secret":"test-secret"}`, 400, "user_lookup"},
			{asJSON, `{"grant_type":"password","client_id":"c","client_secret":"test-secret"}`, 400, "unsupported_grant_type"},
			{asForm, "grant_type=client_credentials&client_id=c&client_secret=wrong", 401, "invalid_client"},
			{asForm, "grant_type=client_credentials&client_id=other&client_secret=test-secret", 401, "invalid_client"},
			{asForm, "grant_type=%", 400, "invalid_request"},
			{asJSON, "{", 400, "invalid_request"},
			{"text/plain", "", 400, "invalid_request"},
			{asForm, "grant_type=client_credentials&client_id=c&client_secret=test-secret", 403, "too many active tokens"},
		} {
			status, text, token := signIn(t, tenant, c.contentType, c.body)
			if status != c.status || !strings.Contains(text, c.text) || (token != "") != (status == 200) {
				t.Errorf("%s: %d %s, want %d %s", c.body, status, text, c.status, c.text)
			}
		}
		// The tenant stores neither the secret nor a token in a form that can be printed.
		if kept := fmt.Sprintf("%+v %#v", tenant.Requests(), tenant); strings.Contains(kept, "test-secret") || strings.Contains(kept, "test-oauth-token") {
			t.Error("the tenant keeps a secret")
		}
		if n := len(tenant.Requests()); n != 11 || tenant.Requests()[0].Operation != reloadstest.SignIn {
			t.Errorf("%d requests, the first is %+v", n, tenant.Requests()[0])
		}
	})
}

// A token expires after its lifetime. Expired tokens do not count toward MaxTokens.
func TestTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{})
		tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "c", Secret: "test-secret", Lifetime: time.Hour, MaxTokens: 1})
		const form = "grant_type=client_credentials&client_id=c&client_secret=test-secret"
		_, _, token := signIn(t, tenant, asForm, form)
		statuses := []int{statusWith(t, tenant, token)}
		time.Sleep(time.Hour)
		statuses = append(statuses, statusWith(t, tenant, token))
		_, _, token = signIn(t, tenant, asForm, form)
		statuses = append(statuses, statusWith(t, tenant, token))
		if diff := cmp.Diff([]int{200, 401, 200}, statuses); diff != "" {
			t.Errorf("with a token, an hour later, and with another token (-want +got):\n%s", diff)
		}

		tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "at", Secret: "test-secret", ExpiresAt: true})
		_, text, _ := signIn(t, tenant, asForm, "grant_type=client_credentials&client_id=at&client_secret=test-secret")
		if want := `"expires_at":"` + time.Now().UTC().Add(6*time.Hour).Format("2006-01-02T15:04:05.000Z"); !strings.Contains(text, want) || strings.Contains(text, "expires_in") {
			t.Errorf("got %s, want %s", text, want)
		}
	})
}

// Revoked tokens are refused, and do not count toward MaxTokens.
func TestRevokedTokens(t *testing.T) {
	t.Parallel()
	tenant := newTenant(reloadstest.App{})
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "c", Secret: "test-secret", MaxTokens: 1})
	const form = "grant_type=client_credentials&client_id=c&client_secret=test-secret"
	_, _, first := signIn(t, tenant, asForm, form)
	if status, _, _ := signIn(t, tenant, asForm, form); status != 403 {
		t.Errorf("a second token: got %d, want 403", status)
	}
	tenant.RevokeOAuthTokens()
	status, text, second := signIn(t, tenant, asForm, form)
	if status != 200 {
		t.Fatalf("after RevokeOAuthTokens: got %d %s, want 200", status, text)
	}
	if got := []int{statusWith(t, tenant, first), statusWith(t, tenant, second)}; got[0] != 401 || got[1] != 200 {
		t.Errorf("the revoked token and the new one get %v, want 401 and 200", got)
	}
	if status, _, _ := signIn(t, tenant, asForm, form); status != 403 {
		t.Errorf("the new token does not count: got %d, want 403", status)
	}
}

// statusWith returns the status code of a list request with the token.
func statusWith(t *testing.T, tenant *reloadstest.Tenant, token string) int {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://x/api/v1/reloads", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := tenant.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}
