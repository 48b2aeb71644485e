// Package oauth signs in to Qlik Cloud with an OAuth2 client: machine to machine, or on behalf of a user.
//
//	tokens, err := oauth.NewTokenSource(oauth.Config{TenantURL: url, ClientID: id, ClientSecret: secret})
//	client, err := reloads.NewClient(url, tokens)
//
// A token is kept until shortly before it expires, since the service limits how many may live at once. It is renewed
// earlier if the service refuses it.
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

// Config says where and as whom to sign in.
type Config struct {
	// TenantURL is that of [reloads.NewClient], with the same rules: https, http for loopback hosts only. Required.
	TenantURL string
	// ClientID and ClientSecret are those of the OAuth client. Required.
	ClientID, ClientSecret string
	// Scopes are what the tokens are to allow. Nil means "user_default".
	Scopes []string
	// UserID is the user to impersonate, by the tenant's id of the user. "" signs in as the client itself. The OAuth
	// client must be allowed to impersonate.
	UserID string
	// HTTPClient asks for the tokens; redirects are not followed. Nil means one that gives up after 30 s.
	HTTPClient *http.Client
}

// LogValue logs the configuration without the secret.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("tenant", c.TenantURL), slog.String("client", c.ClientID), slog.String("user", c.UserID))
}

// Format prints the configuration without the secret, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "oauth client %s of %s", c.ClientID, c.TenantURL)
}

// MarshalText encodes what is printed, in JSON too.
func (c Config) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(c)), nil }

// NewTokenSource returns a source of tokens, which is safe for concurrent use: one token serves all callers, and one of
// them renews it while the others wait. It sends nothing before the first token is asked for. Its error names the field
// that is wrong, and matches [reloads.ErrBadRequest].
//
// The errors of the source are an [*Error] if the service refused, and those of net/http, wrapped, if it did not answer.
func NewTokenSource(cfg Config) (reloads.TokenSource, error) {
	// The rules for a tenant's URL are those of the client.
	if _, err := reloads.NewClient(cfg.TenantURL, reloads.APIKey("not-a-token")); err != nil {
		return nil, err
	}
	if cfg.ClientID == "" || cfg.ClientSecret == "" {
		return nil, fmt.Errorf("%w: ClientID and ClientSecret must both be set", reloads.ErrBadRequest)
	}
	u, err := url.Parse(cfg.TenantURL)
	if err != nil {
		return nil, errors.New("oauth: TenantURL is no URL") // that NewClient has accepted
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v1")
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"user_default"}
	}
	hc := *cmp.Or(cfg.HTTPClient, &http.Client{Timeout: 30 * time.Second})
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r := request{cfg: cfg, endpoint: u.JoinPath("oauth/token").String(), http: &hc}
	s := &source{fetch: r.machine, turn: make(chan struct{}, 1)}
	if cfg.UserID != "" {
		s.fetch = r.impersonation
	}
	return s, nil
}

// source keeps a token as long as it is good.
type source struct {
	fetch func(context.Context) (token, error)
	turn  chan struct{} // holds an element while somebody looks at the token

	// These are that one's.
	current token
	renewAt time.Time
}

// token is a token and when it expires; the zero time means never.
type token struct {
	value   string
	expires time.Time
}

// The token is renewed when a tenth of its life is left, or this.
const mostEarly = 5 * time.Minute

// Token returns the current token, or a new one if that is about to expire.
func (s *source) Token(ctx context.Context) (string, error) { return s.get(ctx, "") }

// Renew returns a token that is another one than refused.
func (s *source) Renew(ctx context.Context, refused string) (string, error) {
	return s.get(ctx, refused)
}

func (s *source) get(ctx context.Context, refused string) (string, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-s.turn }()
	now := time.Now()
	good := s.current.value != "" && s.current.value != refused && (s.current.expires.IsZero() || now.Before(s.current.expires))
	if good && (s.renewAt.IsZero() || now.Before(s.renewAt)) {
		return s.current.value, nil
	}
	fresh, err := s.fetch(ctx)
	switch {
	case err == nil:
		s.current, s.renewAt = fresh, time.Time{}
		if !fresh.expires.IsZero() {
			s.renewAt = fresh.expires.Add(-min(fresh.expires.Sub(now)/10, mostEarly))
		}
	case good: // it is early yet
		s.renewAt = now.Add(30 * time.Second)
	default:
		return "", err
	}
	return s.current.value, nil
}
