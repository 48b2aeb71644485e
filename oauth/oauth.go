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
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

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
	// with the default transport and a timeout of 30 s per request.
	HTTPClient *http.Client
}

// LogValue implements [slog.LogValuer]. It returns the tenant URL, the client ID and the user ID, but not the secret.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("tenant", c.TenantURL), slog.String("client", c.ClientID), slog.String("user", c.UserID))
}

// Format implements [fmt.Formatter]. It prints the client ID and the tenant URL, but not the secret, for every verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "oauth client %s of %s", c.ClientID, c.TenantURL)
}

// MarshalText implements [encoding.TextMarshaler], which encoding/json uses as well. It returns the text that Format
// prints and a nil error.
func (c Config) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(c)), nil }

// NewTokenSource returns a token source for cfg. The token source is safe for concurrent use. Concurrent callers share
// one token and one token request.
//
// The token source has the method Renew that [reloads.TokenSource] describes. A token is renewed when a tenth of its
// lifetime remains, but at most 5 minutes before it expires. If the renewal fails, callers get the current token until
// it expires, and the next renewal starts 30 s later at the earliest. A token without an expiry time is kept until the
// service rejects it.
//
// NewTokenSource sends nothing; the first token is requested when it is needed. If a field of cfg is invalid,
// NewTokenSource returns an error that names the field and matches [reloads.ErrBadRequest].
//
// The token source itself returns an [*Error] for an unsuccessful response, the error of the context if that has ended,
// and otherwise an error that wraps the error of net/http or describes the invalid response. It does not retry a
// request.
func NewTokenSource(cfg Config) (reloads.TokenSource, error) {
	// NewClient validates the tenant URL. The token is not used.
	if _, err := reloads.NewClient(cfg.TenantURL, reloads.APIKey("not-a-token")); err != nil {
		return nil, err
	}
	if cfg.ClientID == "" || cfg.ClientSecret == "" {
		return nil, fmt.Errorf("%w: ClientID and ClientSecret must both be set", reloads.ErrBadRequest)
	}
	u, err := url.Parse(cfg.TenantURL)
	if err != nil { // unreachable: NewClient has accepted the URL
		return nil, errors.New("oauth: TenantURL is not a valid URL")
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v1")
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"user_default"}
	}
	hc := *cmp.Or(cfg.HTTPClient, &http.Client{Timeout: 30 * time.Second})
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r := tokenRequester{cfg: cfg, endpoint: u.JoinPath("oauth/token").String(), http: &hc}
	s := &source{fetch: r.clientCredentials, lock: make(chan struct{}, 1)}
	if cfg.UserID != "" {
		s.fetch = r.impersonate
	}
	return s, nil
}

// source is a token source that keeps its token while the token is valid.
type source struct {
	fetch func(context.Context) (token, error)

	// lock guards the fields below. It is a channel, so that a caller stops waiting when its context ends. A caller
	// sends an element to lock it.
	lock    chan struct{}
	current token
	renewAt time.Time // zero if current does not expire
}

// token is an access token and the time at which it expires. The zero time means that it does not expire.
type token struct {
	value   string
	expires time.Time
}

const (
	maxRenewEarly = 5 * time.Minute  // before the token expires
	renewInterval = 30 * time.Second // between renewals that fail while the token is still valid
)

// Token returns the current token. If there is none, or if it is about to expire, Token requests a new one.
func (s *source) Token(ctx context.Context) (string, error) { return s.get(ctx, "") }

// Renew is Token, except that it also requests a new token if the current token is refused.
func (s *source) Renew(ctx context.Context, refused string) (string, error) {
	return s.get(ctx, refused)
}

func (s *source) get(ctx context.Context, refused string) (string, error) {
	select {
	case s.lock <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-s.lock }()
	now := time.Now()
	valid := s.current.value != "" && s.current.value != refused && (s.current.expires.IsZero() || now.Before(s.current.expires))
	if valid && (s.renewAt.IsZero() || now.Before(s.renewAt)) {
		return s.current.value, nil
	}
	fresh, err := s.fetch(ctx)
	switch {
	case err == nil:
		s.current, s.renewAt = fresh, time.Time{}
		if !fresh.expires.IsZero() {
			s.renewAt = fresh.expires.Add(-min(fresh.expires.Sub(now)/10, maxRenewEarly))
		}
	case valid: // the current token can still be used
		s.renewAt = now.Add(renewInterval)
	default:
		return "", err
	}
	return s.current.value, nil
}
