package oauth

import (
	"cmp"
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
	renewAt time.Time     // when the next renewal is due while current is valid; zero if current does not expire
	running *renewal      // nil if there is none
	failed  *renewal      // the most recent renewal, if it failed
	retryAt time.Time     // when the next renewal may start without a valid token
	backoff time.Duration // from the start of the next renewal to retryAt, if it fails
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
	minBackoff    = time.Second      // after the second failure in a row; the first one may be due to a dead connection
	maxBackoff    = 30 * time.Second
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
		// A request that started before this call may have had a dead connection. The next one may have a better one, if it
		// may start by now.
		var response *Error
		if started || joined || errors.As(r.err, &response) {
			return "", r.err
		}
	}
}

// check returns the current token if it is valid and not the refused one, and the renewal to wait for otherwise. It starts a
// renewal if that is due and none is running. Until the next one may start, it returns the one that failed.
func (c *cache) check(ctx context.Context, refused string) (current string, r *renewal, started bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	valid := c.current.value != "" && c.current.value != refused && (c.current.expires.IsZero() || now.Before(c.current.expires))
	due := !now.Before(c.retryAt)
	if valid {
		due = !c.renewAt.IsZero() && !now.Before(c.renewAt)
	}
	if due && c.running == nil {
		c.running = &renewal{began: now, done: make(chan struct{}), err: errNoResult}
		started = true
		go c.renew(context.WithoutCancel(ctx), c.running, c.current.value, refused != "" && c.current.value == refused)
	}
	if valid {
		current = c.current.value
	}
	return current, cmp.Or(c.running, c.failed), started
}

var errNoResult = errors.New("oauth: the token request ended without a result")

// renew requests a token. Its deferred function also runs if the transport exits the goroutine, so that no caller waits
// forever.
func (c *cache) renew(ctx context.Context, r *renewal, old string, refused bool) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running = nil
		if r.err != nil {
			c.delay(r)
		} else {
			c.replace(r)
		}
		close(r.done)
	}()
	r.token, r.err = c.fetch(ctx, old, refused)
}

// delay delays the next renewal after r, which failed.
func (c *cache) delay(r *renewal) {
	now := time.Now()
	var after time.Duration
	var refused retryLater
	if errors.As(r.err, &refused) {
		r.err, after = refused.error, refused.after
	}
	c.failed, c.retryAt = r, latest(r.began.Add(c.backoff), now.Add(after))
	c.renewAt = latest(now.Add(renewInterval), c.retryAt)
	c.backoff = min(max(2*c.backoff, minBackoff), maxBackoff)
}

// replace replaces the current token by that of r, which succeeded.
func (c *cache) replace(r *renewal) {
	c.failed, c.retryAt, c.backoff = nil, time.Time{}, 0
	c.current, c.renewAt = r.token, time.Time{}
	if !r.token.expires.IsZero() {
		early := min(r.token.expires.Sub(r.began)/10, maxRenewEarly)
		c.renewAt = r.token.expires.Add(-early)
	}
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
