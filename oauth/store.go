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
// If a method fails or takes more than 10 s, the token source requests a token, and tries to put it all the same.
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

func (s *sharedTokens) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.Lock(ctx, s.key)
}

// get returns the token in the Store. ok is false if it is missing, unreadable, about to expire, old, or may be refused
// like old.
func (s *sharedTokens) get(ctx context.Context, old string, refused bool) (t token, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	value, err := s.store.Get(ctx, s.key)
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
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if value, err := json.Marshal(t); err == nil {
		_ = s.store.Put(ctx, s.key, value, t.Expires)
	}
}

// storeKey returns the key of the tokens of a configuration. It depends on the secret, so that a token is found only by
// those who could request it.
func storeKey(cfg Config, endpoint string) string {
	parts, _ := json.Marshal([]any{endpoint, cfg.ClientID, cfg.ClientSecret, cfg.Scopes, cfg.UserID}) // strings can always be encoded
	sum := sha256.Sum256(parts)
	return fmt.Sprintf("%x", sum[:16])
}
