package redislimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/reloads-go/reloads"
)

// LocalShare lets a process continue on its own while Redis is unavailable, at its share of the limit: requests divided
// by processes, rounded down, in any period. processes is the number of processes that share the limit, from 1 to the
// number of requests; [New] returns an error for other values. Without LocalShare, Wait fails while Redis is
// unavailable.
//
// All processes must use LocalShare and the same timeout. With a settling time of 2 s plus the timeout, in which each
// process notices that Redis is available again, these rules hold:
//
//   - Local starts begin when Redis has been unavailable for one window, 104 % of the period, plus three settling times.
//   - They end with the first response of Redis. Redis then grants no start until one window after the last local one.
//   - After an outage of more than two settling times, Redis grants no start for one settling time.
//   - While a request waits, and until Redis knows of all local starts, the Limiter calls Redis every second.
//
// The limit therefore holds if all processes lose Redis, however often and for however long. It can be exceeded in these
// cases:
//
//   - Only some processes cannot reach Redis. They use their shares in addition to the full limit of the others.
//   - A process was idle during the outage, or is created after it, and starts requests in the first settling time after
//     it. It has not seen the outage, and the others may not have reported their local starts yet: up to twice the limit
//     can start in a window. A process that is started together with Redis should make its first request one settling
//     time after Redis is available. New does not see to that: every short-lived process would have to wait, or to
//     pause all others.
//   - A process ends after a local start, before it could report the start to Redis.
//   - Redis loses its data in the outage, or soon after it.
func LocalShare(processes int) Option {
	return func(l *Limiter) error {
		if processes < 1 || processes > l.requests {
			return fmt.Errorf("redislimit: LocalShare: processes must be from 1 to %d, the number of requests, got %d", l.requests, processes)
		}
		l.share = reloads.NewLimiter(l.requests/processes, l.window)
		return nil
	}
}

// contact is what a Limiter with LocalShare knows about its contact with Redis. The rule is: a process starts requests
// through Redis only while its contact is steady, and on its own only if no process can have been in steady contact
// for a window.
//
// Contact is steady if no call has failed for the time that every process needs to notice that Redis is available:
// Limiter.settle. Thus, if one process is in steady contact, all others have called Redis too. They have stopped their
// local starts, and Redis delays all other starts until a window after them.
type contact struct {
	waiting    int       // calls of Wait
	outage     *outage   // nil after a response of Redis
	since      time.Time // the first response after an outage
	steady     time.Time // the latest response in steady contact
	localStart time.Time // the latest local start
	asked      time.Time // when the latest call was made
	reported   time.Time // when the latest call with a response was made; Redis knows of local starts before then
}

// outage is a time without a response of Redis.
type outage struct {
	ctx    context.Context // ends with the outage
	end    context.CancelFunc
	failed time.Time // the latest call that failed
}

// waitOrShare waits for a slot of Redis or, while Redis is unavailable, for a slot of the local share.
func (l *Limiter) waitOrShare(ctx context.Context) error {
	l.addWaiting(1)
	defer l.addWaiting(-1)
	for {
		err := l.wait(ctx)
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, errTooSlow) || ctx.Err() != nil {
			return err
		}
		l.mu.Lock()
		outage := l.contact.outage
		l.mu.Unlock()
		if outage == nil { // Redis has responded since
			continue
		}
		local, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(outage.ctx, cancel)
		err = l.share.Wait(local)
		stop()
		cancel()
		if err == nil && l.startLocally(outage) {
			return nil
		}
		if err != nil && (outage.ctx.Err() == nil || ctx.Err() != nil) {
			return err
		}
	}
}

// addWaiting counts the calls of Wait.
func (l *Limiter) addWaiting(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.contact.waiting += n
	l.wakeUp()
}

// startLocally records a local start. It reports false if Redis is available again, or if this process was stopped for
// so long that it cannot know.
func (l *Limiter) startLocally(o *outage) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.contact.outage != o || time.Since(o.failed) > l.settle() {
		return false
	}
	l.contact.localStart = time.Now()
	return true
}

// watchesRedis reports whether the Limiter must notice when Redis fails or is available again.
func (l *Limiter) watchesRedis() bool {
	if l.share == nil {
		return false
	}
	c := &l.contact
	return c.waiting > 0 || !c.localStart.Before(c.reported) && time.Since(c.localStart) < l.window
}

// settle returns how long it takes until every process has noticed that Redis is available: the probe interval, the
// timeout of the call before, and one second for which go-redis does not dial after many failures.
func (l *Limiter) settle() time.Duration { return probeInterval + l.timeout + time.Second }

// recordContact records whether a call failed.
func (l *Limiter) recordContact(err error) {
	if l.share == nil {
		return
	}
	now, c := time.Now(), &l.contact
	if !errors.Is(err, ErrUnavailable) {
		l.endOutage()
		c.reported = c.asked
		if now.Sub(c.since) >= l.settle() {
			c.steady = now
		}
		return
	}
	if c.outage == nil {
		c.outage = &outage{}
		c.outage.ctx, c.outage.end = context.WithCancel(context.Background())
		l.share.Pause(now.Add(l.window + 3*l.settle()))
	}
	c.outage.failed = now
}

func (l *Limiter) endOutage() {
	if c := &l.contact; c.outage != nil {
		c.outage.end()
		c.outage, c.since = nil, time.Now()
	}
}

// contactPause returns, for a call at the given time, until when Redis must not let requests start, because this
// process or others may have started some on their own.
func (l *Limiter) contactPause(now time.Time) time.Time {
	c := &l.contact
	c.asked = now
	until := c.localStart.Add(l.window)
	if now.Sub(c.steady) < 2*l.settle() { // others can be without contact for one settle longer, not for a window
		return until
	}
	settled := c.since.Add(l.settle())
	if c.outage != nil {
		settled = now.Add(l.settle())
	}
	if settled.After(until) {
		return settled
	}
	return until
}
