// Package oauth obtains access tokens for Qlik Cloud with an OAuth client, either for the client itself (machine to
// machine) or on behalf of a user (impersonation).
//
//	tokens, err := oauth.NewTokenSource(oauth.Config{TenantURL: url, ClientID: id, ClientSecret: secret})
//	if err != nil {
//		return err
//	}
//	client, err := reloads.NewClient(url, tokens)
//
// The service limits how many tokens of an OAuth client are active at the same time. A token source therefore keeps its
// token until shortly before the token expires. It requests another one earlier if the service rejects the token. Use
// one token source for all clients of a process.
package oauth

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/reloads-go/reloads"
)

// Config configures a token source. Its methods print, log and encode it without the client secret.
type Config struct {
	// TenantURL is the URL of the tenant, with the same rules as for [reloads.NewClient]: the scheme is https, or http
	// for loopback hosts. It is required.
	TenantURL string
	// ClientID and ClientSecret are the credentials of the OAuth client. Both are required.
	ClientID, ClientSecret string
	// Scopes are the scopes that are requested for the tokens. Nil means the single scope "user_default".
	Scopes []string
	// UserID is the ID of the user to impersonate, as the tenant assigns it. The OAuth client must be allowed to
	// impersonate users. Empty means that the tokens are for the client itself.
	UserID string
	// HTTPClient sends the token requests. It is copied, and the copy does not follow redirects. Nil means a client
	// with the default transport. A token request takes at most HTTPClient.Timeout, or 30 s if that is 0.
	HTTPClient *http.Client
	// Store shares the token with other processes. Nil means that each process requests its own.
	Store Store
}

// String implements [fmt.Stringer]. It returns the text that Format prints and a number, which is the same for equal
// configurations only. Without the number, go-cmp would print the secrets to show how two configurations differ. The
// number is a hash with a random key of the process. It says nothing about the secret.
func (c Config) String() string {
	return fmt.Sprintf("%v #%x", c, maphash.Comparable(hashKey, c.comparable()))
}

// Equal reports whether all fields of c and other are equal. Package go-cmp uses it instead of comparing and printing
// each field.
func (c Config) Equal(other Config) bool { return c.comparable() == other.comparable() }

var hashKey = maphash.MakeSeed()

// comparableConfig is a Config that can be compared with ==.
type comparableConfig struct {
	tenantURL, clientID, clientSecret, scopes, userID string
	http                                              *http.Client
	store                                             any
}

func (c Config) comparable() comparableConfig {
	scopes := fmt.Sprintf("%#v", c.Scopes) // distinguishes nil and empty
	store := any(c.Store)
	if v := reflect.ValueOf(store); v.IsValid() && !v.Comparable() {
		store = v.Type()
	}
	return comparableConfig{c.TenantURL, c.ClientID, c.ClientSecret, scopes, c.UserID, c.HTTPClient, store}
}

// LogValue implements [slog.LogValuer]. It returns the tenant URL, the client ID and the user ID, but not the secret.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("tenant", c.TenantURL), slog.String("client", c.ClientID), slog.String("user", c.UserID))
}

// Format implements [fmt.Formatter]. It prints the client ID and the tenant URL, but not the secret, for every verb but %w
// and %p, for which fmt does not call it.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "oauth client %s of %s", c.ClientID, c.TenantURL)
}

// MarshalText implements [encoding.TextMarshaler], which encoding/json uses as well. It returns the text that Format
// prints and a nil error.
func (c Config) MarshalText() ([]byte, error) { return []byte(fmt.Sprintf("%v", c)), nil }

// NewTokenSource returns a token source for cfg. The token source is safe for concurrent use. Concurrent callers share
// one token and one token request. Its methods print, log and encode it without the token and the secret.
//
// A token is renewed when a tenth of its lifetime remains, but at most 5 minutes before it expires. The renewal does not
// delay the callers: they get the current token until it expires, even if the renewal hangs or fails. After a renewal
// that failed, the next one starts 30 s later at the earliest. When the token has expired, callers wait for the renewal.
// A token without an expiry time is kept until the service rejects it. If a response has expires_at but not expires_in, the
// lifetime is computed with the Date of the response, because the local clock may be wrong. It is at least a minute.
//
// If a renewal fails and there is no valid token, another one may start at once. If that fails, too, the next one starts at
// least 1 s after the start of that one. This time doubles with each failure in a row, up to 30 s. Until it has passed,
// callers get the error of the renewal that failed. After a 429 or 503 with Retry-After, no renewal starts before that time
// has passed, or 5 minutes if it is longer.
//
// With a Store, the token source first looks for a token there, and puts there what it requests. Only one process at a time
// requests a token, so the processes that start or renew at the same time share one. But a process waits for the others for
// 10 s at most. After the service has rejected a token, a token in the Store is used only if it was requested in the last
// minute, because all older ones may have been revoked, too.
//
// The token source has the method Renew that [reloads.TokenSource] describes. It waits for a token that the service has
// not rejected, and returns the same one to all callers.
//
// A caller stops waiting when its context ends. The token request continues, because other callers may wait for it. It
// ends with its own timeout; see Config.HTTPClient.
//
// NewTokenSource sends nothing; the first token is requested when it is needed. If a field of cfg is invalid,
// NewTokenSource returns an error that names the field and matches [reloads.ErrBadRequest].
//
// The token source itself returns an [*Error] for an unsuccessful response, the error of the context if that has ended,
// and otherwise an error that wraps the error of net/http or describes the invalid or incomplete response. A token request is not
// retried, with one exception: a caller that joined a request which then gets no response waits for one more request, if
// that may start at once.
func NewTokenSource(cfg Config) (reloads.TokenSource, error) {
	// NewClient validates the tenant URL. The token is not used.
	if _, err := reloads.NewClient(cfg.TenantURL, reloads.APIKey("not-a-token")); err != nil {
		return nil, err
	}
	if cfg.ClientID == "" || cfg.ClientSecret == "" {
		return nil, fmt.Errorf("%w: ClientID and ClientSecret must both be set", reloads.ErrBadRequest)
	}
	u, _ := url.Parse(cfg.TenantURL) // NewClient has accepted it
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"user_default"}
	}
	prefix := strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), "/api/v1")
	host := strings.ToLower(u.Host) // like NewClient: net/http sends requests to Localhost through a proxy
	endpoint := (&url.URL{Scheme: u.Scheme, Host: host}).String() + strings.TrimRight(prefix, "/") + "/oauth/token"
	requester := newTokenRequester(cfg, endpoint)
	c := &cache{fetch: func(ctx context.Context, _ string, _ bool) (token, error) { return requester.token(ctx) }}
	if cfg.Store != nil {
		shared := &sharedTokens{store: cfg.Store, key: storeKey(cfg, endpoint), request: requester.token, timeout: min(requester.timeout, maxStoreTimeout)}
		c.fetch = shared.token
	}
	return &tokenSource{name: fmt.Sprintf("token source for %v", cfg), get: c.get}, nil
}

// tokenSource is a token source. It holds a function, because fmt and go-cmp would print the token and the secret in a
// field.
type tokenSource struct {
	name string
	get  func(ctx context.Context, refused string) (string, error)
}

// Token returns the current token. If there is none, Token waits for a new one.
func (s *tokenSource) Token(ctx context.Context) (string, error) { return s.get(ctx, "") }

// Renew is Token, except that it also waits for a new token if the current token is refused.
func (s *tokenSource) Renew(ctx context.Context, refused string) (string, error) {
	return s.get(ctx, refused)
}

// Format implements [fmt.Formatter]. It prints the configuration without the secret, for every verb.
func (s *tokenSource) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.name) }

// String implements [fmt.Stringer]. It returns the text that Format prints.
func (s *tokenSource) String() string { return s.name }

// LogValue implements [slog.LogValuer]. It returns the text that Format prints.
func (s *tokenSource) LogValue() slog.Value { return slog.StringValue(s.name) }

// MarshalText implements [encoding.TextMarshaler]. It returns the text that Format prints and a nil error.
func (s *tokenSource) MarshalText() ([]byte, error) { return []byte(s.name), nil }
