package oauth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// token is an access token and the time at which it expires. The zero time means that it does not expire.
type token struct {
	value   string
	expires time.Time
}

// cache keeps a token and renews it. Each renewal runs in a goroutine of its own, so that it delays no caller while the
// token is valid, and does not end with the context of one of the callers that wait for it.
type cache struct {
	// fetch returns a token other than old, which the service may have refused. It has a timeout of its own.
	fetch func(ctx context.Context, old string, refused bool) (token, error)

	mu      sync.Mutex
	current token
	renewAt time.Time // when the next renewal is due; zero if current does not expire
	running *renewal  // nil if there is none
}

// renewal is one token request. token and err are set when done is closed.
type renewal struct {
	began time.Time
	done  chan struct{}
	token token
	err   error
}

const (
	maxRenewEarly = 5 * time.Minute  // before the token expires
	renewInterval = 30 * time.Second // after a renewal that failed while the token is still valid
)

// get returns the current token, unless it has expired or is the refused one. Otherwise it waits for a renewal.
func (c *cache) get(ctx context.Context, refused string) (string, error) {
	for joined := false; ; joined = true {
		current, r, started := c.check(ctx, refused)
		if current != "" {
			return current, nil
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return "", fmt.Errorf("oauth: waiting for a token: %w", ctx.Err())
		}
		if r.err == nil {
			return r.token.value, nil
		}
		// A request that started before this call may have had a dead connection. The next one may have a better one.
		var response *Error
		if started || joined || errors.As(r.err, &response) {
			return "", r.err
		}
	}
}

// check returns the current token if it is valid and not the refused one, and the renewal to wait for otherwise. It starts a
// renewal if that is due and none is running.
func (c *cache) check(ctx context.Context, refused string) (current string, r *renewal, started bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	valid := c.current.value != "" && c.current.value != refused && (c.current.expires.IsZero() || now.Before(c.current.expires))
	due := !valid || !c.renewAt.IsZero() && !now.Before(c.renewAt)
	if due && c.running == nil {
		c.running = &renewal{began: now, done: make(chan struct{}), err: errNoResult}
		started = true
		go c.renew(context.WithoutCancel(ctx), c.running, c.current.value, refused != "" && c.current.value == refused)
	}
	if valid {
		current = c.current.value
	}
	return current, c.running, started
}

var errNoResult = errors.New("oauth: the token request ended without a result")

// renew requests a token. Its deferred function also runs if the transport exits the goroutine, so that no caller waits
// forever.
func (c *cache) renew(ctx context.Context, r *renewal, old string, refused bool) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running = nil
		switch {
		case r.err != nil:
			c.renewAt = time.Now().Add(renewInterval)
		case r.token.expires.IsZero():
			c.current, c.renewAt = r.token, time.Time{}
		default:
			early := min(r.token.expires.Sub(r.began)/10, maxRenewEarly)
			c.current, c.renewAt = r.token, r.token.expires.Add(-early)
		}
		close(r.done)
	}()
	r.token, r.err = c.fetch(ctx, old, refused)
}
