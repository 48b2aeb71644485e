package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"
)

// Store keeps tokens where several processes find them, for example in a file or in a database. The service refuses too
// many active tokens of a client, so programs that start often should share one. A Store must be safe for concurrent use.
//
// A Store holds secrets: whoever reads a value can act as the OAuth client until the token expires. Protect it like a
// private key.
//
// If a method fails or takes more than 10 s, or more than HTTPClient.Timeout, the token source requests a token, and tries to
// put it all the same. It stops waiting then even if the method, or unlock, ignores its context. The goroutine of that method
// remains until it returns. If it was Lock, the lock is then released.
type Store interface {
	// Get returns the value that was put last with this key, or nil if there is none. Keys consist of hexadecimal digits.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put replaces the value of the key. The value is not used after expires; the zero time means that it does not expire.
	Put(ctx context.Context, key string, value []byte, expires time.Time) error
	// Lock waits until no other caller, in any process, holds the lock of the key, and takes it. The lock must be released
	// by unlock, and when the process dies. A token is requested while the lock is held. ctx limits the wait only.
	Lock(ctx context.Context, key string) (unlock func(), err error)
}

// sharedTokens gets the token from a Store. It requests one if the Store has none that is usable.
type sharedTokens struct {
	store   Store
	key     string
	request func(context.Context) (token, error)
	timeout time.Duration // of each use of the Store
}

// storedToken is the value in a Store.
type storedToken struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires,omitzero"`
	Issued  time.Time `json:"issued,omitzero"`
}

const (
	// maxStoreTimeout is shorter than a token request that hangs while another process holds the lock.
	maxStoreTimeout = 10 * time.Second
	// minRemaining is the remaining lifetime of a token in a Store that is worth using.
	minRemaining = time.Minute
	// maxAge is the age of a token in a Store that is used after the service has refused another one. An older one may have
	// been revoked together with that one. A younger one is probably there because another process was refused, too.
	maxAge = time.Minute
)

// token returns a token other than old. It waits for the lock only if the Store has none.
func (s *sharedTokens) token(ctx context.Context, old string, refused bool) (token, error) {
	if t, ok := s.get(ctx, old, refused); ok {
		return t, nil
	}
	if unlock, err := s.lock(ctx); err == nil {
		defer unlock()
		if t, ok := s.get(ctx, old, refused); ok {
			return t, nil
		}
	}
	issued := time.Now()
	t, err := s.request(ctx)
	if err == nil {
		s.put(ctx, storedToken{t.value, t.expires, issued})
	}
	return t, err
}

// lock takes the lock. If the Store returns it too late, the lock is released.
func (s *sharedTokens) lock(ctx context.Context) (unlock func(), err error) {
	take := func(ctx context.Context) (func(), error) { return s.store.Lock(ctx, s.key) }
	release, err := within(ctx, s.timeout, take, func(release func()) { release() })
	return func() { s.do(ctx, func(context.Context) { release() }) }, err
}

// get returns the token in the Store. ok is false if it is missing, unreadable, about to expire, old, or may be refused
// like old.
func (s *sharedTokens) get(ctx context.Context, old string, refused bool) (t token, ok bool) {
	get := func(ctx context.Context) ([]byte, error) { return s.store.Get(ctx, s.key) }
	value, err := within(ctx, s.timeout, get, func([]byte) {})
	var stored storedToken
	switch {
	case err != nil || json.Unmarshal(value, &stored) != nil || stored.Token == "" || stored.Token == old:
		return token{}, false
	case refused && time.Since(stored.Issued) > maxAge:
		return token{}, false
	}
	return token{stored.Token, stored.Expires}, stored.Expires.IsZero() || time.Until(stored.Expires) > minRemaining
}

// put stores a token. If that fails, only this process has it.
func (s *sharedTokens) put(ctx context.Context, t storedToken) {
	if value, err := json.Marshal(t); err == nil {
		s.do(ctx, func(ctx context.Context) { _ = s.store.Put(ctx, s.key, value, t.Expires) })
	}
}

// do calls f, and waits for at most s.timeout.
func (s *sharedTokens) do(ctx context.Context, f func(context.Context)) {
	_, _ = within(ctx, s.timeout, func(ctx context.Context) (any, error) { f(ctx); return nil, nil }, func(any) {})
}

// within returns what method returns, or an error after the timeout, even if method ignores its context. What a successful
// method returns too late is passed to late.
func within[T any](ctx context.Context, timeout time.Duration, method func(context.Context) (T, error), late func(T)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	done := make(chan result) // unbuffered: either the result is received, or it is late
	go func() {
		value, err := method(ctx)
		select {
		case done <- result{value, err}:
		case <-ctx.Done():
			if err == nil {
				late(value)
			}
		}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// storeKey returns the key of the tokens of a configuration. It depends on the secret, so that a token is found only by
// those who could request it.
func storeKey(cfg Config, endpoint string) string {
	parts, _ := json.Marshal([]any{endpoint, cfg.ClientID, cfg.ClientSecret, cfg.Scopes, cfg.UserID}) // strings can always be encoded
	sum := sha256.Sum256(parts)
	return fmt.Sprintf("%x", sum[:16])
}
