package reloads

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"

	"github.com/reloads-go/reloads/internal/redact"
)

// TokenSource provides the bearer token of a request. The client asks for one before every attempt, once more if the
// attempt has waited half a minute for the rate limit, and once more after a 401. A source should therefore cache its
// token until shortly before it expires. It must be safe for concurrent use and should honor ctx.
//
// If a TokenSource also has the method
//
//	Renew(ctx context.Context, refused string) (string, error)
//
// the client calls that after a 401, with the token that was refused. Renew should return a different token, and the
// same one to all concurrent callers.
type TokenSource interface {
	// Token returns the token without the prefix "Bearer ". If it returns an error, the call fails without a retry.
	Token(ctx context.Context) (string, error)
}

// APIKey is a [TokenSource] with one fixed token: an API key of the tenant, or any other bearer token. It is printed,
// logged and encoded as "REDACTED", except where its methods are not called: in an unexported field of a struct, as the key
// of a map, by the verbs %w and %p, by encoding/gob, where go-cmp compares values of type any, and in testify's differences.
type APIKey string

// Token returns the key.
func (k APIKey) Token(context.Context) (string, error) { return string(k), nil }

// Format prints "REDACTED", for every verb but %w and %p, for which fmt does not call it.
func (k APIKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redact.Redacted) }

// String returns "REDACTED" and a number, which identifies the key within this process only. If the texts of different
// keys were equal, go-cmp would print the keys instead.
func (k APIKey) String() string {
	return fmt.Sprintf("%s-%08x", redact.Redacted, maphash.String(keySeed, string(k))>>32)
}

var keySeed = maphash.MakeSeed()

// Equal reports whether two keys are the same. Because of it, go-cmp compares keys as a whole and prints their String.
func (k APIKey) Equal(other APIKey) bool {
	return subtle.ConstantTimeCompare([]byte(k), []byte(other)) == 1
}

// LogValue returns "REDACTED".
func (k APIKey) LogValue() slog.Value { return slog.StringValue(redact.Redacted) }

// MarshalText returns "REDACTED", which is also its JSON.
func (k APIKey) MarshalText() ([]byte, error) { return []byte(redact.Redacted), nil }

// TokenFunc is a function that implements [TokenSource].
type TokenFunc func(ctx context.Context) (string, error)

// Token calls f.
func (f TokenFunc) Token(ctx context.Context) (string, error) { return f(ctx) }

// tokens is the client's token source. It holds functions, because fmt would print a source in an unexported field.
type tokens struct {
	fetch func(ctx context.Context) (string, error)
	renew func(ctx context.Context, refused string) (string, error)
}

func newTokens(source TokenSource) (tokens, error) {
	if f, ok := source.(TokenFunc); source == nil || ok && f == nil {
		return tokens{}, invalid("token source", "nil", "a TokenSource is required, such as an APIKey")
	}
	if key, ok := source.(APIKey); ok {
		if err := checkToken(string(key)); err != nil {
			return tokens{}, invalid("API key", redact.Redacted, err.Error())
		}
	}
	t := tokens{
		fetch: source.Token,
		renew: func(ctx context.Context, _ string) (string, error) { return source.Token(ctx) },
	}
	if s, ok := source.(interface {
		Renew(ctx context.Context, refused string) (string, error)
	}); ok {
		t.renew = s.Renew
	}
	return t, nil
}

// get returns a token. refused is the token that the service refused, or empty.
func (t tokens) get(ctx context.Context, refused string) (token string, err error) {
	if refused == "" {
		token, err = t.fetch(ctx)
	} else {
		token, err = t.renew(ctx, refused)
	}
	if err == nil {
		err = checkToken(token)
	}
	if err != nil {
		return "", &tokenError{redact.New(refused).Error(err)}
	}
	return token, nil
}

// checkToken refuses what cannot be a bearer token (RFC 6750: visible ASCII), without quoting it.
func checkToken(token string) error {
	if token == "" {
		return errors.New("the token is empty")
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("the token contains the character %#02x at offset %d; only visible ASCII is allowed", c, i)
		}
	}
	return nil
}

// tokenError is the failure of a TokenSource, or an invalid token.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "reloads: no token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }
