package reloads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// TokenSource gives the bearer token of a request. It is asked before every attempt, and once more when the
// service answers 401, so a source whose tokens are costly should keep the one it has until shortly before it
// expires. It must be safe for concurrent use and should honour ctx.
//
// A TokenSource that also has
//
//	Renew(ctx context.Context, refused string) (string, error)
//
// is asked for that after a 401 instead, with the token that was refused. It should return another one: if many calls
// are refused at once, the same one to all of them.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// APIKey is a [TokenSource] that is one fixed token: an API key of the tenant, or any other bearer token. It prints,
// logs and encodes as "REDACTED", except where its methods cannot be called: as an unexported field of a struct that is
// printed, and as the key of a map.
type APIKey string

// Token returns the key.
func (k APIKey) Token(context.Context) (string, error) { return string(k), nil }

const redacted = "REDACTED"

// Format prints "REDACTED", whatever the verb.
func (k APIKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue logs "REDACTED".
func (k APIKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText encodes "REDACTED", in JSON too.
func (k APIKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// TokenFunc is a function that is a [TokenSource].
type TokenFunc func(ctx context.Context) (string, error)

// Token calls f.
func (f TokenFunc) Token(ctx context.Context) (string, error) { return f(ctx) }

// checkToken refuses what cannot be a bearer token (RFC 6750: visible ASCII), without quoting it.
func checkToken(token string) error {
	if token == "" {
		return errors.New("reloads: the token is empty")
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("reloads: the token has the character %#02x at offset %d; only visible ASCII is allowed", c, i)
		}
	}
	return nil
}

// tokenError is the failure of a TokenSource, or a token that cannot be sent.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "reloads: no token: " + e.err.Error() }

func (e *tokenError) Unwrap() error { return e.err }

// useTokens makes the source that of the client, as functions: fmt prints what an unexported field holds, but of a
// function its address.
func (c *Client) useTokens(source TokenSource) {
	c.token = source.Token
	c.renew = func(ctx context.Context, _ string) (string, error) { return source.Token(ctx) }
	if s, ok := source.(interface {
		Renew(ctx context.Context, refused string) (string, error)
	}); ok {
		c.renew = s.Renew
	}
}

// fetchToken asks the client's source; refused is a token that the service did not accept, or "".
func (c *Client) fetchToken(ctx context.Context, refused string) (token string, err error) {
	if refused == "" {
		token, err = c.token(ctx)
	} else {
		token, err = c.renew(ctx, refused)
	}
	if err == nil {
		err = checkToken(token)
	}
	if err != nil {
		return "", &tokenError{err}
	}
	return token, nil
}
