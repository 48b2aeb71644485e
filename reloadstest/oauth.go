package reloadstest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// OAuthClient is an OAuth2 client of a tenant, which gives it tokens at /oauth/token.
type OAuthClient struct {
	// ID and Secret are what it signs in with, machine to machine or to impersonate a user.
	ID, Secret string
	// Role is that of its tokens.
	Role Role
	// Lifetime is how long its tokens are good. 0 means 6 hours, as the service has it.
	Lifetime time.Duration
	// MaxTokens is how many of its tokens may be alive at once; one more is refused with 403. 0 means any number.
	MaxTokens int
	// ExpiresAt tells the end of a token as expires_at instead of expires_in.
	ExpiresAt bool
}

// oauthClient is one with the tokens that it has.
type oauthClient struct {
	OAuthClient
	secret  [sha256.Size]byte
	expires []time.Time
}

// AddOAuthClient adds an OAuth2 client.
func (t *Tenant) AddOAuthClient(c OAuthClient) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Lifetime == 0 {
		c.Lifetime = 6 * time.Hour
	}
	hash := sha256.Sum256([]byte(c.Secret))
	c.Secret = "" // so that nothing can print it
	t.oauth[c.ID] = &oauthClient{OAuthClient: c, secret: hash}
}

// RevokeOAuthTokens makes all tokens that were issued until now expire.
func (t *Tenant) RevokeOAuthTokens() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for hash := range t.expires {
		t.expires[hash] = time.Now()
	}
}

const tokenPath = "/oauth/token"

func isTokenPath(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, tokenPath) }

// grant is a request for a token.
type grant struct {
	Type     string `json:"grant_type"`
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret"`
	Lookup   struct {
		Field string `json:"field"`
		Value string `json:"value"`
	} `json:"user_lookup"`
}

// serveToken gives a token, as the service does for JSON and for a form.
func (t *Tenant) serveToken(r *http.Request, body []byte) answer {
	var g grant
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch mediaType {
	case "application/json":
		if err := json.Unmarshal(body, &g); err != nil {
			return oauthError(http.StatusBadRequest, "invalid_request", "The body is no JSON.")
		}
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return oauthError(http.StatusBadRequest, "invalid_request", "The body is no form.")
		}
		g = grant{Type: form.Get("grant_type"), ClientID: form.Get("client_id"), Secret: form.Get("client_secret")}
	default:
		return oauthError(http.StatusBadRequest, "invalid_request", "The body must be JSON or a form.")
	}
	c := t.oauth[g.ClientID]
	if c == nil || c.secret != sha256.Sum256([]byte(g.Secret)) {
		return oauthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed.")
	}
	switch {
	case g.Type == "urn:qlik:oauth:user-impersonation" && (g.Lookup.Field == "" || g.Lookup.Value == ""):
		return oauthError(http.StatusBadRequest, "invalid_request", "user_lookup names no user.")
	case g.Type != "client_credentials" && g.Type != "urn:qlik:oauth:user-impersonation":
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "The grant type is not supported.")
	}
	return t.issue(c)
}

// issue makes a token for the client.
func (t *Tenant) issue(c *oauthClient) answer {
	now := time.Now()
	var alive []time.Time
	for _, at := range c.expires {
		if now.Before(at) {
			alive = append(alive, at)
		}
	}
	if c.expires = alive; c.MaxTokens > 0 && len(alive) >= c.MaxTokens {
		return refuse(http.StatusForbidden, "OAUTH-403", "Forbidden", "The client has too many active tokens.")
	}
	t.issued++
	token := fmt.Sprintf("test-oauth-token-%s-%d", c.ID, t.issued)
	expires := now.Add(c.Lifetime)
	c.expires = append(c.expires, expires)
	hash := sha256.Sum256([]byte(token))
	t.roles[hash], t.expires[hash] = c.Role, expires
	told := map[string]any{"access_token": token, "token_type": "bearer", "scope": "user_default"}
	if c.ExpiresAt {
		told["expires_at"] = expires.UTC().Format("2006-01-02T15:04:05.000Z")
	} else {
		told["expires_in"] = int(c.Lifetime / time.Second)
	}
	return jsonAnswer(http.StatusOK, told)
}

func oauthError(status int, code, description string) answer {
	return jsonAnswer(status, map[string]string{"error": code, "error_description": description})
}
