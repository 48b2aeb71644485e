package reloads

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The rate limits of the service, per user and tenant (API page, "Facts" of each endpoint).
const (
	// Tier1PerMinute is how many requests per minute List, Get and Log may send together.
	Tier1PerMinute = 1000
	// SpecialPerMinute is how many requests per minute Trigger and Cancel may each send.
	SpecialPerMinute = 50
)

// Limiter decides when a request may start. Wait blocks until it may, and then returns nil. It returns an error as soon
// as ctx has ended, or is certain to end before the request may start. A Limiter must be safe for concurrent use.
// [*WindowLimiter] and the *rate.Limiter of golang.org/x/time/rate implement Limiter.
//
// If a Limiter also has the method
//
//	Pause(until time.Time)
//
// the client calls it after every 429 of its tier. The limiter should let no request start before until.
type Limiter interface {
	// Wait blocks until a request may start. The client calls it before each attempt, and again if the attempt does not
	// start within half a second of that, because of the token or the look-up of [Once].
	Wait(ctx context.Context) error
}

// Limiters are the limiters that a client waits for before each attempt, and before its connection is made; see [WithLimiters].
// The service counts per user and tenant. Clients that use the same key and the same tenant should share their limiters.
type Limiters struct {
	// Read limits List, Get and Log. Nil means 1000 per minute.
	Read Limiter
	// Trigger limits Trigger. Nil means 50 per minute.
	Trigger Limiter
	// Cancel limits Cancel. Nil means 50 per minute. It is separate from Trigger, so that a cancel does not queue
	// behind triggers.
	Cancel Limiter
}

// WindowLimiter lets at most N requests start in every window of time, wherever the window begins.
//
// A token bucket alone cannot do that: with a rate of 50 per minute and a burst of 50 it allows 99 requests in its first
// minute. A WindowLimiter therefore combines two rules. A token bucket spreads out a sustained load. A guard remembers the
// last N starts, and delays each request until the start N requests earlier has left the window. An idle client may start N
// requests at once. A busy client reaches 98 % of the rate; the rest is a margin for network jitter.
//
// Requests start in order of their calls. A request that gives up is not counted. Create a WindowLimiter with
// [NewLimiter]; the zero value limits nothing, also not by Pause. It is safe for concurrent use and may be shared between clients.
type WindowLimiter struct {
	window time.Duration // the period times guardMargin
	base   time.Time     // all times below are durations since base

	limit int // of requests in a window

	mu     sync.Mutex
	bucket *rate.Limiter
	starts []time.Duration // of the requests in the window, oldest first; at most limit
	paused time.Duration   // no request starts before this time
	queue  list.List       // of chan struct{}, each closed when its waiter has reached the front
}

const (
	guardMargin  = 1.01  // of the window: a margin for network jitter
	bucketMargin = 1.015 // of the period: the sustained rate is 1/1.015 of the limit

	longest = 1 << 61 * time.Nanosecond // of a period or a wait: 73 years, so that sums do not overflow
)

// NewLimiter returns a limiter that lets at most the given number of requests start in any period of length per. A
// number below 1 counts as 1. If per is 0 or negative, nothing is limited, also not by Pause.
func NewLimiter(requests int, per time.Duration) *WindowLimiter {
	if per <= 0 {
		return &WindowLimiter{}
	}
	requests, per = max(1, requests), min(per, longest)
	return &WindowLimiter{
		window: time.Duration(float64(per) * guardMargin),
		base:   time.Now(),
		limit:  requests,
		bucket: rate.NewLimiter(rate.Limit(float64(requests)/(per.Seconds()*bucketMargin)), requests),
	}
}

// Wait blocks until a request may start, counts it, and returns nil. If the deadline of ctx is too early for that, it returns
// at once with an error that matches [ErrRateLimited] and [context.DeadlineExceeded]. If ctx ends first, it returns the error
// of ctx. A request that got an error is not counted. If ctx is nil, the error matches [ErrBadRequest].
func (l *WindowLimiter) Wait(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	if err := ctx.Err(); err != nil || l.bucket == nil {
		return err
	}
	place, front, err := l.enter(ctx)
	if place == nil {
		return err
	}
	defer l.leave(place)
	select {
	case <-front:
	case <-ctx.Done():
		return limitError(ctx)
	}
	return l.waitAtFront(ctx)
}

// waitAtFront waits for the turn of the first waiter.
func (l *WindowLimiter) waitAtFront(ctx context.Context) error {
	for {
		l.mu.Lock()
		now := time.Now()
		ok := l.tryStart(now)
		wait := l.earliest(now, 0)
		err := l.deadlineError(ctx, now, 0)
		l.mu.Unlock()
		if ok {
			return nil
		}
		if err != nil {
			return err
		}
		if sleep(ctx, wait) != nil {
			return limitError(ctx)
		}
	}
}

// enter puts a request at the end of the queue; front is closed when it has reached the front. place is nil if the
// request may start at once, or cannot start before its deadline.
func (l *WindowLimiter) enter(ctx context.Context) (place *list.Element, front chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.queue.Len() == 0 && l.tryStart(now) {
		return nil, nil, nil
	}
	if err := l.deadlineError(ctx, now, l.queue.Len()); err != nil {
		return nil, nil, err
	}
	front = make(chan struct{})
	place = l.queue.PushBack(front)
	if l.queue.Front() == place {
		close(front)
	}
	return place, front, nil
}

// Pause lets no request start before until. It does not shorten an earlier pause.
func (l *WindowLimiter) Pause(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = max(l.paused, until.Sub(l.base))
}

// tryStart reports whether a request may start now, and counts it if so.
func (l *WindowLimiter) tryStart(now time.Time) bool {
	t := now.Sub(l.base)
	left := 0 // how many have left the window
	for left < len(l.starts) && t >= l.starts[left]+l.window {
		left++
	}
	if left > len(l.starts)/2 || len(l.starts) == cap(l.starts) { // reuse their memory
		l.starts = l.starts[:copy(l.starts, l.starts[left:])]
	} else {
		l.starts = l.starts[left:]
	}
	if t < l.paused || len(l.starts) == l.limit || !l.bucket.AllowN(now, 1) {
		return false
	}
	l.starts = append(l.starts, t)
	return true
}

// earliest returns the minimum wait of a request with the given number of waiters ahead of it.
func (l *WindowLimiter) earliest(now time.Time, ahead int) time.Duration {
	t := now.Sub(l.base)
	rounds := float64(ahead/l.limit) * float64(l.window) // until the waiters ahead have left the window
	guard := t
	if i := ahead%l.limit - (l.limit - len(l.starts)); i >= 0 {
		guard = l.starts[i] + l.window
	}
	missing := float64(ahead+1) - l.bucket.TokensAt(now)
	// Rounded up, because a timer may fire a nanosecond early.
	bucket := missing/float64(l.bucket.Limit())*float64(time.Second) + float64(time.Microsecond)
	return time.Duration(min(max(rounds, bucket, float64(max(guard, l.paused)-t)+rounds), float64(longest)))
}

// deadlineError returns an error if the deadline of ctx comes before the request may start.
func (l *WindowLimiter) deadlineError(ctx context.Context, now time.Time, ahead int) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	wait := l.earliest(now, ahead)
	if left := deadline.Sub(now); wait > left {
		return fmt.Errorf("%w: the next request may start in %v, the deadline is in %v: %w",
			ErrRateLimited, wait.Round(time.Millisecond), left.Round(time.Millisecond), context.DeadlineExceeded)
	}
	return nil
}

// leave removes a waiter from the queue and wakes up the next one.
func (l *WindowLimiter) leave(place *list.Element) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wasFront := l.queue.Front() == place
	l.queue.Remove(place)
	if next := l.queue.Front(); wasFront && next != nil {
		close(next.Value.(chan struct{}))
	}
}

// limitError returns the error of a waiter whose ctx has ended.
func limitError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: the deadline came before the request could start: %w", ErrRateLimited, ctx.Err())
	}
	return ctx.Err()
}
