package reloadstest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// OAuthClient is an OAuth2 client that can get tokens from the tenant's /oauth/token endpoint, either with the grant type
// client_credentials or to impersonate a user (urn:qlik:oauth:user-impersonation).
type OAuthClient struct {
	// ID and Secret are the credentials of the client.
	ID, Secret string
	// Role is the role of the client's tokens. The zero value is TenantAdmin.
	Role Role
	// Lifetime is how long a token is valid. 0 means 6 hours, as on the service.
	Lifetime time.Duration
	// MaxTokens is how many unexpired tokens the client may have. Further requests for a token get a 403 response. 0 means
	// no limit.
	MaxTokens int
	// ExpiresAt makes the response contain expires_at, a time in RFC 3339, instead of expires_in, a number of seconds.
	ExpiresAt bool
}

// oauthClient is a registered OAuthClient.
type oauthClient struct {
	OAuthClient
	secret  [sha256.Size]byte // the hash of OAuthClient.Secret, which is empty
	expires []time.Time       // of its tokens
}

// AddOAuthClient adds an OAuth2 client. It replaces a client with the same ID. The tokens of that client remain valid,
// but do not count toward MaxTokens of the new one.
func (t *Tenant) AddOAuthClient(c OAuthClient) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Lifetime == 0 {
		c.Lifetime = 6 * time.Hour
	}
	hash := sha256.Sum256([]byte(c.Secret))
	c.Secret = "" // so that printing a Tenant does not reveal it
	t.oauth[c.ID] = &oauthClient{OAuthClient: c, secret: hash}
}

// RevokeOAuthTokens makes all tokens that were issued at /oauth/token expire now. Requests with them get a 401 response, and
// they no longer count toward MaxTokens.
func (t *Tenant) RevokeOAuthTokens() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for hash := range t.expires {
		t.expires[hash] = time.Now()
	}
	for _, c := range t.oauth {
		c.expires = nil
	}
}

const tokenPath = "/oauth/token" //nolint:gosec // a path is not a credential

// isTokenPath reports whether the path of a request ends with /oauth/token.
func isTokenPath(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, tokenPath) }

// tokenRequest is the body of a request for a token.
type tokenRequest struct {
	GrantType    string `json:"grant_type"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	UserLookup   struct {
		Field string `json:"field"`
		Value string `json:"value"`
	} `json:"user_lookup"`
}

// serveToken handles a request for a token. Like the service, it accepts JSON and a form.
func (t *Tenant) serveToken(r *http.Request, body []byte) response {
	var req tokenRequest
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch mediaType {
	case "application/json":
		if err := json.Unmarshal(body, &req); err != nil {
			return oauthError(http.StatusBadRequest, "invalid_request", "The body is not valid JSON.")
		}
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return oauthError(http.StatusBadRequest, "invalid_request", "The body is not a valid form.")
		}
		req.GrantType, req.ClientID, req.ClientSecret = form.Get("grant_type"), form.Get("client_id"), form.Get("client_secret")
	default:
		return oauthError(http.StatusBadRequest, "invalid_request", "The body must be JSON or a form.")
	}
	c := t.oauth[req.ClientID]
	if c == nil || c.secret != sha256.Sum256([]byte(req.ClientSecret)) {
		return oauthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed.")
	}
	switch {
	case req.GrantType == "urn:qlik:oauth:user-impersonation" && (req.UserLookup.Field == "" || req.UserLookup.Value == ""):
		return oauthError(http.StatusBadRequest, "invalid_request", "user_lookup must have a field and a value.")
	case req.GrantType != "client_credentials" && req.GrantType != "urn:qlik:oauth:user-impersonation":
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "The grant type is not supported.")
	}
	return t.issueToken(c)
}

// issueToken issues a token to the client, or returns an error response if the client has too many.
func (t *Tenant) issueToken(c *oauthClient) response {
	now := time.Now()
	c.expires = slices.DeleteFunc(c.expires, func(at time.Time) bool { return !now.Before(at) })
	if c.MaxTokens > 0 && len(c.expires) >= c.MaxTokens {
		return errorResponse(http.StatusForbidden, "OAUTH-403", "Forbidden", "The client has too many active tokens.")
	}
	t.issued++
	token := fmt.Sprintf("test-oauth-token-%s-%d", c.ID, t.issued)
	expires := now.Add(c.Lifetime)
	c.expires = append(c.expires, expires)
	hash := sha256.Sum256([]byte(token))
	t.roles[hash], t.expires[hash] = c.Role, expires
	fields := map[string]any{"access_token": token, "token_type": "bearer", "scope": "user_default"}
	if c.ExpiresAt {
		fields["expires_at"] = expires.UTC().Format("2006-01-02T15:04:05.000Z")
	} else {
		fields["expires_in"] = int(c.Lifetime / time.Second)
	}
	return jsonResponse(http.StatusOK, fields)
}

// oauthError returns a response with an error body of OAuth2 (RFC 6749, section 5.2).
func oauthError(status int, code, description string) response {
	return jsonResponse(status, map[string]string{"error": code, "error_description": description})
}
