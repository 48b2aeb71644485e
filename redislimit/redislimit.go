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

// ErrUnavailable is Redis that cannot be asked: it is down, too slow, a replica, or refuses the script. The error that
// matches it wraps the reason.
var ErrUnavailable = errors.New("redislimit: Redis cannot be asked")

const (
	guardMargin  = 0.04  // of the period: how much longer than it the window is, of which a half is the tolerance
	bucketMargin = 1.045 // of the period: the sustained rate is 1/1.045 of the limit

	defaultTimeout = time.Second
	giveTimeout    = 250 * time.Millisecond // the caller that has given up waits for it
	mostPause      = 24 * time.Hour
	recheck        = time.Second // a local start is made so long, at most, after Redis was found unavailable
	mostCalls      = 8           // of a Limiter at a time; more would but wait for a connection
	lateTries      = 3           // so often a slot may be lost because Redis answers too slowly
)

// Limiter is a [reloads.Limiter] that shares its limit with the Limiters of the same key in other processes. It is made
// by [New], and safe for concurrent use. It has nothing to close: the Redis client is the caller's.
type Limiter struct {
	client    redis.Scripter
	key       string
	requests  int
	per       time.Duration
	window    time.Duration
	tolerance time.Duration // how late a slot may be used
	timeout   time.Duration // of a call to Redis
	local     *reloads.WindowLimiter
	calls     chan struct{} // holds one for each call to Redis that is under way

	mu          sync.Mutex
	latest      grant     // of this process …
	latestDue   time.Time // … and when its slot is over
	pausedUntil time.Time // as this process was told
	untold      bool      // Redis has not been told
	aloneSince  time.Time // Redis could not be asked, for the first time since it answered
}

// Option sets up a [Limiter].
type Option func(*Limiter) error

// WithTimeout limits each call to Redis to d. The default is one second; 0 and less is refused.
func WithTimeout(d time.Duration) Option {
	return func(l *Limiter) error {
		if d <= 0 {
			return fmt.Errorf("redislimit: WithTimeout %v: it must be positive", d)
		}
		l.timeout = d
		return nil
	}
}

// New returns a limiter that lets at most requests start in any period of length per, over all processes that use the
// same key of the same Redis. All of them must give the same requests and per.
//
// A client of go-redis must have been made with ContextTimeoutEnabled, or a call could outlast its context by far. With
// its MaxRetries at -1 a call that was cut off is not sent again, which may cost a slot.
//
// New sends nothing. It refuses an empty key, requests outside 1 to 1,000,000, and a per outside 1 s to 24 h.
func New(client redis.Scripter, key string, requests int, per time.Duration, opts ...Option) (*Limiter, error) {
	switch {
	case client == nil:
		return nil, errors.New("redislimit: a Redis client is needed")
	case !endsWithContext(client):
		return nil, errors.New("redislimit: the Redis client must be made with ContextTimeoutEnabled: true")
	case key == "":
		return nil, errors.New("redislimit: the key must not be empty")
	case requests < 1 || requests > 1e6:
		return nil, fmt.Errorf("redislimit: requests %d: it must be 1 to 1000000", requests)
	case per < time.Second || per > 24*time.Hour:
		return nil, fmt.Errorf("redislimit: per %v: it must be 1s to 24h", per)
	}
	margin := time.Duration(float64(per) * guardMargin)
	l := &Limiter{
		client: client, key: key, requests: requests, per: per,
		window: per + margin, tolerance: margin / 2, timeout: defaultTimeout,
		calls: make(chan struct{}, mostCalls),
	}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("redislimit: opts[%d] is nil", i)
		}
		if err := opt(l); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// endsWithContext reports whether the client's calls end with their context, as far as it tells.
func endsWithContext(client redis.Scripter) bool {
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

// NewLimiters returns the three limiters of a tenant: 1000 reads, 50 triggers and 50 cancels a minute. The budget names
// whose they are, such as "your-tenant.us.qlikcloud.com", or with the user if several use the tenant; it must not be
// empty or have braces. The keys are reloads:{budget}:read, …:trigger and …:cancel.
func NewLimiters(client redis.Scripter, budget string, opts ...Option) (reloads.Limiters, error) {
	if budget == "" || strings.ContainsAny(budget, "{}") {
		return reloads.Limiters{}, fmt.Errorf("redislimit: budget %q: it must not be empty or have braces", budget)
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

// Wait returns nil when a request may start, which has then been counted. It returns an error that is both
// [reloads.ErrRateLimited] and [context.DeadlineExceeded], after one round trip, if that cannot be before the deadline
// of ctx, and ctx's error if ctx ends first; then nothing has been counted, as far as Redis can still be told: Wait
// returns up to a quarter of a second after the end of ctx. If Redis cannot be asked the error is [ErrUnavailable],
// unless there is a [LocalShare].
func (l *Limiter) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.local != nil {
		return l.waitOrShare(ctx)
	}
	return l.wait(ctx)
}

// wait waits for a slot of Redis.
func (l *Limiter) wait(ctx context.Context) error {
	var held grant
	for late := 0; late < lateTries; {
		a, err := l.run(ctx, take, budget(ctx), held)
		if err != nil {
			if ended := ended(ctx); ended != nil {
				return fmt.Errorf("%w (%w)", err, ended)
			}
			return err
		}
		if a.outcome == refused {
			return tooLate(ctx, a.wait)
		}
		held = a.grant
		if err := sleep(ctx, a.wait); err != nil {
			l.giveBack(ctx, held)
			return gaveUp(ctx)
		}
		if a.wait > l.tolerance {
			continue // much may have happened: a pause, a loss
		}
		if a.late+time.Since(a.asked)-a.wait <= l.tolerance {
			return nil
		}
		late++
	}
	return fmt.Errorf("%w: it answers too slowly for the limit, which needs less than %v", ErrUnavailable, l.tolerance)
}

// Pause lets no request start before until, in any process. A pause that is longer already stays, more than 24 hours
// are 24 hours. Waiting requests keep their order and their distances: it is as if time stood still during the pause.
// A request whose turn is within the next 2 % of the period may still start in another process.
//
// It takes no longer than [WithTimeout] says. If Redis cannot be told, this process pauses, and tells it with its next call.
func (l *Limiter) Pause(until time.Time) {
	until = time.Now().Add(min(time.Until(until), mostPause))
	l.mu.Lock()
	if !until.After(l.pausedUntil) || !until.After(time.Now()) {
		l.mu.Unlock()
		return
	}
	l.pausedUntil, l.untold = until, true
	l.mu.Unlock()
	if l.local != nil {
		l.local.Pause(until)
	}
	_, _ = l.run(context.Background(), tell, 0, grant{}) // else it stays untold
}

// giveBack returns a slot that its holder will not use. It is tried for a moment only.
func (l *Limiter) giveBack(ctx context.Context, held grant) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveTimeout)
	defer cancel()
	_, _ = l.run(ctx, give, 0, held) // else it is lost for its own time
}

// toTell is what the next call tells Redis: of a pause, of how long there must be no start since processes were on
// their own, and what this process was granted lately.
func (l *Limiter) toTell() (pause, silence time.Duration, known grant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.untold {
		pause = max(0, time.Until(l.pausedUntil))
	}
	if !l.aloneSince.IsZero() && time.Since(l.aloneSince) >= l.window {
		silence = l.window + recheck
	}
	if time.Since(l.latestDue) < l.per {
		known = l.latest
	}
	return pause, silence, known
}

// answered notes what a call told, and was told.
func (l *Limiter) answered(a answer, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aloneSince = time.Time{}
	if l.untold && time.Until(l.pausedUntil) <= pause {
		l.untold = false
	}
	if due := time.Now().Add(a.wait); a.grant.slot != 0 && (a.grant.life != l.latest.life || a.grant.number >= l.latest.number) {
		l.latest, l.latestDue = a.grant, due
	}
}

// budget is how long a request can wait.
func budget(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return math.MaxInt64 - time.Microsecond
}

// ended is ctx's error. What ends with the deadline may do so a moment before ctx says it.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// tooLate is the error of a request whose deadline comes before its turn.
func tooLate(ctx context.Context, wait time.Duration) error {
	return fmt.Errorf("%w: the next request may start in %v, the deadline is in %v: %w",
		reloads.ErrRateLimited, wait.Round(time.Millisecond), budget(ctx).Round(time.Millisecond), context.DeadlineExceeded)
}

// gaveUp is the error of a waiter whose ctx has ended.
func gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: the deadline came before the request's turn: %w", reloads.ErrRateLimited, ctx.Err())
	}
	return ctx.Err()
}

// sleep waits for d, or returns ctx's error if that ends first.
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
