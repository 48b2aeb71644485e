package reloads

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The rate limits of the service, per user and tenant (API page, "Facts" of each endpoint).
const (
	// Tier1PerMinute is how many requests a minute List, Get and Log may make together.
	Tier1PerMinute = 1000
	// SpecialPerMinute is how many requests a minute Trigger and Cancel may make each.
	SpecialPerMinute = 50
)

// Limiter decides when a request may start. Wait returns nil when it may, and an error if it may not, as soon as
// that is certain: ctx has ended, or ends before the request's turn comes. It must be safe for concurrent use.
// [*WindowLimiter] is one, a *rate.Limiter of golang.org/x/time/rate is another.
//
// A Limiter that also has
//
//	Pause(until time.Time)
//
// is told of every 429 that the service sends for its tier, and should let no request start before then.
type Limiter interface {
	Wait(ctx context.Context) error
}

// Limiters are the three that a client asks before each attempt; see [WithLimiters]. The service counts per user
// and tenant: clients that use the same key against the same tenant should share theirs.
type Limiters struct {
	// Read is asked by List, Get and Log. Nil means 1000 a minute.
	Read Limiter
	// Trigger is asked by Trigger. Nil means 50 a minute.
	Trigger Limiter
	// Cancel is asked by Cancel. Nil means 50 a minute. It is apart from Trigger, so that a cancel never queues
	// behind triggers.
	Cancel Limiter
}

// WindowLimiter lets at most so many requests start in every window of time, wherever the window begins.
//
// A token bucket cannot promise that: with a rate of 50 a minute and a burst of 50 it lets 99 through in its first
// minute. A WindowLimiter therefore has both: the bucket evens a sustained load out, and a guard remembers the
// start of the last requests and holds each one back until the one that many before it has left the window. So a
// client that was idle may start all of them at once, and one that is always busy reaches 98 % of the rate; the
// rest is room for the network's jitter.
//
// Requests are served in order of their calls. One that gives up has used nothing. A WindowLimiter is made by
// [NewLimiter], is safe for concurrent use and may be shared between clients; the zero value limits nothing.
type WindowLimiter struct {
	window time.Duration // longer than the service's by guardMargin
	base   time.Time     // all times below are durations since base

	mu     sync.Mutex
	bucket *rate.Limiter
	starts []time.Duration // a ring of the latest starts; starts[oldest] is the one to be replaced next
	oldest int
	paused time.Duration // nothing starts before
	queue  list.List     // of chan struct{}, each closed when its waiter has come to the front
}

const (
	guardMargin  = 1.01  // of the window: room for jitter between here and the service
	bucketMargin = 1.015 // of the period: the sustained rate is 1/1.015 of the limit
	never        = time.Duration(math.MinInt64 / 4)
)

// NewLimiter returns a limiter that lets at most requests start in any period of length per. A requests below 1
// counts as 1; with a per of 0 or less nothing is limited.
func NewLimiter(requests int, per time.Duration) *WindowLimiter {
	if per <= 0 {
		return &WindowLimiter{}
	}
	requests = max(1, requests)
	l := &WindowLimiter{
		window: time.Duration(float64(per) * guardMargin),
		base:   time.Now(),
		bucket: rate.NewLimiter(rate.Limit(float64(requests)/(per.Seconds()*bucketMargin)), requests),
		starts: make([]time.Duration, requests),
		paused: never,
	}
	for i := range l.starts {
		l.starts[i] = never
	}
	return l
}

// Wait returns nil when a request may start, which has then been counted. It returns at once, with an error that
// is both [ErrRateLimited] and [context.DeadlineExceeded], if that cannot be before the deadline of ctx, and
// ctx's error if ctx ends first; then nothing has been counted.
func (l *WindowLimiter) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil || l.bucket == nil {
		return err
	}
	l.mu.Lock()
	now := time.Now()
	if l.queue.Len() == 0 && l.take(now) {
		l.mu.Unlock()
		return nil
	}
	if err := l.hopeless(ctx, now, l.queue.Len()); err != nil {
		l.mu.Unlock()
		return err
	}
	front := make(chan struct{})
	place := l.queue.PushBack(front)
	if l.queue.Front() == place {
		close(front)
	}
	l.mu.Unlock()
	defer l.leave(place)

	select {
	case <-front:
	case <-ctx.Done():
		return gaveUp(ctx)
	}
	for {
		l.mu.Lock()
		now := time.Now()
		ok := l.take(now)
		wait := l.earliest(now, 0)
		err := l.hopeless(ctx, now, 0)
		l.mu.Unlock()
		if ok {
			return nil
		}
		if err != nil {
			return err
		}
		if sleep(ctx, wait) != nil {
			return gaveUp(ctx)
		}
	}
}

// Pause lets no request start before until. A pause that is longer already stays.
func (l *WindowLimiter) Pause(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = max(l.paused, until.Sub(l.base))
}

// take counts a request that starts now, if one may.
func (l *WindowLimiter) take(now time.Time) bool {
	t := now.Sub(l.base)
	if t < l.paused || t < l.starts[l.oldest]+l.window || !l.bucket.AllowN(now, 1) {
		return false
	}
	l.starts[l.oldest] = t
	if l.oldest++; l.oldest == len(l.starts) {
		l.oldest = 0
	}
	return true
}

// earliest is how long, at the least, a request has to wait that has so many waiters ahead of it.
func (l *WindowLimiter) earliest(now time.Time, ahead int) time.Duration {
	t := now.Sub(l.base)
	rounds := time.Duration(ahead/len(l.starts)) * l.window // of waiters that must leave the window first
	guard := l.starts[(l.oldest+ahead)%len(l.starts)] + l.window
	missing := float64(ahead+1) - l.bucket.TokensAt(now)
	// Rounded up: a timer that fires a nanosecond early would find the token not quite there.
	bucket := time.Duration(missing/float64(l.bucket.Limit())*float64(time.Second)) + time.Microsecond
	return max(rounds, bucket, max(guard, l.paused)+rounds-t)
}

// hopeless is the error of a request whose deadline comes before its turn.
func (l *WindowLimiter) hopeless(ctx context.Context, now time.Time, ahead int) error {
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

// leave gives the place up and calls the next waiter to the front.
func (l *WindowLimiter) leave(place *list.Element) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wasFront := l.queue.Front() == place
	l.queue.Remove(place)
	if next := l.queue.Front(); wasFront && next != nil {
		close(next.Value.(chan struct{}))
	}
}

// gaveUp is the error of a waiter whose ctx has ended.
func gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: the deadline came before the request's turn: %w", ErrRateLimited, ctx.Err())
	}
	return ctx.Err()
}
