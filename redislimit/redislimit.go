package redislimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
)

// ErrUnavailable means that Redis cannot be used: it is down, too slow, a read-only replica, or rejects the script.
// [Limiter.Wait] returns an error that matches ErrUnavailable and wraps the cause.
var ErrUnavailable = errors.New("redislimit: Redis is unavailable")

const (
	guardMargin  = 0.04  // of the period: how much longer the window is; half of it is the tolerance
	bucketMargin = 1.045 // of the period: the sustained rate is 1/1.045 of the limit

	defaultTimeout = time.Second
	releaseTimeout = 250 * time.Millisecond // short, because a caller that gave up waits for it
	probeInterval  = time.Second            // between two calls of a Limiter with LocalShare that only watch Redis
	maxPause       = 24 * time.Hour
	maxBatch       = 1000 // requests in one call
	maxLateSlots   = 3    // slots that a request may lose because the responses of Redis are too slow
)

// Limiter is a [reloads.Limiter] that shares its limit with the Limiters of the same key in other processes. Create it
// with [New]; the zero value cannot be used. It is safe for concurrent use. It does not need to be closed, and it does
// not close the Redis client.
type Limiter struct {
	client    redis.Scripter
	key       string
	requests  int
	per       time.Duration
	window    time.Duration
	tolerance time.Duration          // how late a slot may be used
	timeout   time.Duration          // of a call to Redis
	maxSlots  int                    // how many slots one call may reserve
	share     *reloads.WindowLimiter // the local share; nil without LocalShare
	wake      chan struct{}          // receives when makeCalls has something to do

	mu          sync.Mutex
	queue       []*request // that the next calls send, oldest first
	calling     bool       // makeCalls runs
	latest      grant      // the latest grant of this process
	latestDue   time.Time  // the latest slot of this process in the generation of latest
	pausedUntil time.Time  // the latest end of a pause that was passed to Pause
	contact     contact    // used only with LocalShare
}

// Option configures a [Limiter].
type Option func(*Limiter) error

// WithTimeout limits the duration of each call to Redis to d, which must be positive. The default is one second.
func WithTimeout(d time.Duration) Option {
	return func(l *Limiter) error {
		if d <= 0 {
			return fmt.Errorf("redislimit: WithTimeout: the timeout must be positive, got %v", d)
		}
		l.timeout = d
		return nil
	}
}

// New returns a limiter that lets at most the given number of requests start in any time window of length per, counted
// over all processes that use the same key of the same Redis. All of them must use the same requests and per; otherwise
// Wait returns an error.
//
// The key must not be empty. requests must be from 1 to 1,000,000, and per from 1 s to 24 h. For other values, and for
// a nil or invalid option, New returns an error that names the argument. New sends nothing.
//
// The client must have been created with ContextTimeoutEnabled; otherwise a call could continue long after its context
// has ended. Set its MaxRetries to -1. Otherwise go-redis can repeat a call that was cut off. So does a client of a
// cluster, up to MaxRedirects times. A repeated call can cost slots, but it does not grant a slot twice. This depends on
// go-redis: a proxy between it and Redis must not repeat calls. With a cluster, set ClusterStateReloadInterval to one
// second; see the package documentation.
func New(client redis.Scripter, key string, requests int, per time.Duration, opts ...Option) (*Limiter, error) {
	switch {
	case client == nil:
		return nil, errors.New("redislimit: New: the Redis client is nil")
	case !hasContextTimeout(client):
		return nil, errors.New("redislimit: New: the Redis client must be created with ContextTimeoutEnabled: true")
	case key == "":
		return nil, errors.New("redislimit: New: the key is empty")
	case requests < 1 || requests > 1e6:
		return nil, fmt.Errorf("redislimit: New: requests must be from 1 to 1000000, got %d", requests)
	case per < time.Second || per > 24*time.Hour:
		return nil, fmt.Errorf("redislimit: New: per must be from 1s to 24h, got %v", per)
	}
	margin := time.Duration(float64(per) * guardMargin)
	l := &Limiter{
		client: client, key: key, requests: requests, per: per,
		window: per + margin, tolerance: margin / 2, timeout: defaultTimeout,
		maxSlots: min(max(requests/8, 4), maxBatch), wake: make(chan struct{}, 1),
	}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("redislimit: New: opts[%d] is nil", i)
		}
		if err := opt(l); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// hasContextTimeout reports whether the calls of the client end with their context. It returns true for types that it
// does not know.
func hasContextTimeout(client redis.Scripter) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return c.Options().ContextTimeoutEnabled
	}
	return true
}

// NewLimiters returns the three limiters of a tenant: 1000 reads, 50 triggers and 50 cancels per minute. All processes
// must use the same budget. It names the shared limits, for example "your-tenant.us.qlikcloud.com"; add the user if
// several users of the tenant share the Redis. It must not be empty or contain braces. The keys are
// reloads:{budget}:read, reloads:{budget}:trigger and reloads:{budget}:cancel.
//
// The client and the options are those of [New], and so are the errors.
func NewLimiters(client redis.Scripter, budget string, opts ...Option) (reloads.Limiters, error) {
	if budget == "" || strings.ContainsAny(budget, "{}") {
		return reloads.Limiters{}, fmt.Errorf("redislimit: NewLimiters: the budget must not be empty or contain braces, got %q", budget)
	}
	var all reloads.Limiters
	for _, tier := range []struct {
		name     string
		requests int
		limiter  *reloads.Limiter
	}{
		{"read", reloads.Tier1PerMinute, &all.Read},
		{"trigger", reloads.SpecialPerMinute, &all.Trigger},
		{"cancel", reloads.SpecialPerMinute, &all.Cancel},
	} {
		limiter, err := New(client, "reloads:{"+budget+"}:"+tier.name, tier.requests, time.Minute, opts...)
		if err != nil {
			return reloads.Limiters{}, err
		}
		*tier.limiter = limiter
	}
	return all, nil
}

// Wait blocks until a request may start, counts the request, and returns nil. Otherwise it returns one of these errors:
//
//   - If the request cannot start before the deadline of ctx, an error that matches both [reloads.ErrRateLimited] and
//     [context.DeadlineExceeded]. Wait returns it after one round trip, without waiting for the deadline.
//   - If ctx ends first, an error that matches the error of ctx.
//   - If Redis cannot be used, and the Limiter has no [LocalShare], an error that matches [ErrUnavailable].
//   - If another Limiter uses the key with another limit, an error that names both limits.
//
// If Wait returns an error, the request is not counted, provided that Redis can be reached: Wait releases the slot of
// the request first. It can therefore return up to 250 ms after ctx has ended.
func (l *Limiter) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.share != nil {
		return l.waitOrShare(ctx)
	}
	return l.wait(ctx)
}

// wait waits for a slot of Redis.
func (l *Limiter) wait(ctx context.Context) error {
	var held grant
	for lateSlots := 0; lateSlots < maxLateSlots; {
		r, err := l.reserve(ctx, held)
		if err != nil {
			return err
		}
		if held = r.grant; held == (grant{}) {
			return deadlineError(ctx, r.wait)
		}
		if err := sleep(ctx, r.wait); err != nil {
			l.release(held, releaseTimeout)
			return canceledError(ctx)
		}
		if r.wait > l.tolerance || l.isPaused() {
			continue // confirm the slot: there may have been a pause or a loss of data
		}
		if r.late+time.Since(r.sent)-r.wait <= l.tolerance {
			return nil
		}
		lateSlots++
	}
	return fmt.Errorf("%w: a slot must be used within %v", errTooSlow, l.tolerance)
}

var errTooSlow = fmt.Errorf("%w: its responses are too slow", ErrUnavailable)

// Pause lets no request start before until, in any process. The package reloads calls it after a 429. It is as if time
// stood still during the pause: waiting requests keep their order and the time between their slots. A longer pause that
// is already active remains. An until in the past has no effect, and an until more than 24 hours away counts as 24
// hours.
//
// In another process, a request whose slot is within the next 2 % of the period may still start.
//
// Pause takes at most as long as [WithTimeout] allows. If Redis is unavailable, a later call of this Limiter reports the
// pause.
func (l *Limiter) Pause(until time.Time) {
	until = time.Now().Add(min(time.Until(until), maxPause))
	l.mu.Lock()
	news := until.After(l.pausedUntil) && until.After(time.Now())
	if news {
		l.pausedUntil = until
	}
	l.mu.Unlock()
	if !news {
		return
	}
	if l.share != nil {
		l.share.Pause(until)
	}
	l.release(grant{}, l.timeout)
}

// isPaused reports whether a pause that was passed to Pause goes on.
func (l *Limiter) isPaused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.pausedUntil)
}

// release gives an unused slot back to Redis, and reports a pause. It waits for at most d. If the call fails, the slot
// is lost.
func (l *Limiter) release(held grant, d time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // see request
	r := l.enqueue(ctx, held)
	select {
	case <-r.done:
	case <-time.After(d):
	}
}

// unreported returns what the next call reports to Redis: how long no request may start, and the latest grant of this
// process while it is recent. The script detects a loss of data by that grant.
func (l *Limiter) unreported() (pause time.Duration, known grant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	pause = l.pausedUntil.Sub(now)
	if l.share != nil {
		pause = max(pause, l.contactPause(now).Sub(now))
	}
	if now.Sub(l.latestDue) < l.window { // not the period: the slot may have been used later, by the tolerance
		known = l.latest
	}
	return max(pause, 0), known
}

// recordLatest records the latest grant in the responses, and its slot. A released slot that is granted again has the
// number of the latest grant, but can be earlier.
func (l *Limiter) recordLatest(batch []*request) {
	for _, r := range batch {
		g := r.response.grant
		if g.slot != 0 && (g.generation != l.latest.generation || g.number >= l.latest.number) {
			due := r.response.sent.Add(r.response.wait)
			if g.generation != l.latest.generation || due.After(l.latestDue) {
				l.latestDue = due
			}
			l.latest = g
		}
	}
}

// maxWait returns how long a request can wait: until the deadline of ctx, or practically without limit. It is negative
// if ctx has ended.
func maxWait(ctx context.Context) time.Duration {
	if ctx.Err() != nil {
		return -time.Second
	}
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), 0)
	}
	return math.MaxInt64 - time.Microsecond
}

// deadlineError returns the error of a request that cannot start before its deadline.
func deadlineError(ctx context.Context, wait time.Duration) error {
	return fmt.Errorf("%w: the next request may start in %v, the deadline is in %v: %w",
		reloads.ErrRateLimited, wait.Round(time.Millisecond), maxWait(ctx).Round(time.Millisecond), context.DeadlineExceeded)
}

// canceledError returns the error of a request whose ctx ended while it waited for its slot.
func canceledError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: the deadline passed before the request could start: %w", reloads.ErrRateLimited, ctx.Err())
	}
	return ctx.Err()
}

// sleep waits for d. It returns the error of ctx if ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
