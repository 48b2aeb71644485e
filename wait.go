package reloads

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"
)

// PollPolicy says how often a reload is looked at that is waited for: in steps of a tenth of its age, so that its
// end is seen soon after, relative to its length. Each step is shortened by up to a tenth at random, so that many
// waits do not fall into step.
//
// The default is the zero value.
type PollPolicy struct {
	// MinInterval is the shortest step. 0 means 1 s.
	MinInterval time.Duration
	// MaxInterval is the longest step. 0 means 15 s.
	MaxInterval time.Duration
}

func (p PollPolicy) withDefaults() PollPolicy {
	setDefault(&p.MinInterval, time.Second)
	setDefault(&p.MaxInterval, max(15*time.Second, p.MinInterval))
	return p
}

func (p PollPolicy) validate() error {
	if err := nonNegative("PollPolicy", map[string]time.Duration{
		"MinInterval": p.MinInterval, "MaxInterval": p.MaxInterval,
	}); err != nil {
		return err
	}
	if d := p.withDefaults(); d.MinInterval > d.MaxInterval {
		return invalid("PollPolicy.MinInterval", d.MinInterval.String(), fmt.Sprintf("it must not exceed MaxInterval, %v", d.MaxInterval))
	}
	return nil
}

// interval is the step after a look at a reload of that age.
func (p PollPolicy) interval(age time.Duration) time.Duration {
	step := min(age/10, p.MaxInterval)
	step -= rand.N(max(0, step/10) + 1)
	return max(step, p.MinInterval)
}

// notFoundGrace is how long a 404 is put up with: a reload may take a moment to be found after its trigger.
const notFoundGrace = 10 * time.Second

// Watch returns an iterator over the states of a reload: as it is now, then at every change of its status, the
// last one ended. That a reload failed is no error of Watch.
//
// Nothing is sent before the iterator is ranged over; ranging again starts again. ctx is the only time limit. A
// failed look at the reload is no failed reload: it is logged, and the watch goes on. It ends with an error, which
// comes once and with a nil reload, if ctx ends, the token is refused (401, 403), or the service answers 404
// though 10 seconds have passed, or otherwise refuses to tell.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[*Reload, error] {
	return c.watch(ctx, id, nil)
}

// Wait waits for the end of a reload. It returns the reload, and nil if it SUCCEEDED or a [*ReloadError] if it ended
// otherwise. With any other error, those of [Client.Watch], it returns the reload as it was last known, nil if
// it was never seen.
func (c *Client) Wait(ctx context.Context, id string) (*Reload, error) {
	return wait(c.watch(ctx, id, nil), nil, func(*Reload) {})
}

// wait ranges over a watch to its end and passes each state on.
func wait(states iter.Seq2[*Reload, error], last *Reload, change func(*Reload)) (*Reload, error) {
	for r, err := range states {
		if err != nil {
			return last, err
		}
		last = r
		change(r)
	}
	return last, last.Err()
}

// watch looks at a reload again and again. known is the reload as the service has just described it, or nil.
func (c *Client) watch(ctx context.Context, id string, known *Reload) iter.Seq2[*Reload, error] {
	return func(yield func(*Reload, error) bool) {
		began := time.Now()
		last, age := known, time.Duration(0) // the reload's age when the watch began, by the service's clock
		if known != nil && (!yield(known, nil) || known.Ended()) {
			return
		}
		var failure error // of the latest look
		for first := known == nil; ; first = false {
			if !first {
				if sleep(ctx, c.polling.interval(age+time.Since(began))) != nil {
					yield(nil, gaveUpWaiting(ctx, id, last, failure))
					return
				}
			}
			r, clock, err := c.look(ctx, id)
			failure = err
			switch {
			case err != nil && ctx.Err() != nil:
				yield(nil, gaveUpWaiting(ctx, id, last, nil))
				return
			case err != nil && c.endsWatch(err, last != nil && last != known, time.Since(began)):
				yield(nil, err)
				return
			case err != nil:
				c.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: poll failed, going on", slog.String("reload", id), slog.String("error", withoutBody(err)))
				continue
			}
			if last == nil {
				age = between(r.CreationTime, clock.now()) - time.Since(began)
			}
			changed := last == nil || r.Status != last.Status || r.Ended()
			last = r
			if changed && !yield(r, nil) || r.Ended() {
				return
			}
		}
	}
}

// look gets a reload whose state matters. A record of another reload, as a connection that has come out of step may
// bring, is a look that failed: nobody may take it for the end of this one.
func (c *Client) look(ctx context.Context, id string) (*Reload, reading, error) {
	r, clock, err := c.get(ctx, id)
	if err == nil && r.ID != id {
		return nil, clock, fmt.Errorf("reloads: asked for reload %s, the service answered with %s", id, r.ID)
	}
	return r, clock, err
}

// endsWatch reports whether err says that further looks are in vain.
func (c *Client) endsWatch(err error, seen bool, watched time.Duration) bool {
	var answer *Error
	var noToken *tokenError
	switch {
	case errors.As(err, &noToken):
		return !seen // a source that has worked may work again
	case errors.Is(err, ErrNotFound):
		return seen || watched >= notFoundGrace
	case errors.Is(err, ErrBadRequest), isCertificateError(err):
		return true
	case errors.As(err, &answer):
		return !answer.broken() && !answer.Is(ErrServer) && !answer.Is(ErrRateLimited)
	}
	return false
}

// gaveUpWaiting is the error of a wait whose ctx has ended.
func gaveUpWaiting(ctx context.Context, id string, last *Reload, failure error) error {
	state := "never seen"
	if last != nil && last.Status != "" {
		state = string(last.Status)
	}
	if failure != nil {
		return fmt.Errorf("reloads: waiting for reload %s (%s): %w; the latest poll: %w", id, state, ctx.Err(), failure)
	}
	return fmt.Errorf("reloads: waiting for reload %s (%s): %w", id, state, ctx.Err())
}
