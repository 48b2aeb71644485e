package reloads

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"
)

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

// abortTimeout is the time that a reload may take to be cancelled after ctx has ended.
const abortTimeout = 10 * time.Second

// abort cancels a reload whose caller has given up for the reason err. It returns the reload as it is then, and what
// went wrong with the cancel, too. A reload that was over already has its own end.
func (c *Client) abort(ctx context.Context, r *Reload, err error) (*Reload, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	status, cancelErr := c.Cancel(ctx, r.ID)
	switch {
	case cancelErr == nil:
		canceled := *r
		canceled.Status = status
		return &canceled, fmt.Errorf("%w; the reload is cancelled", err)
	case errors.Is(cancelErr, ErrNotCancelable):
		if ended, getErr := c.Get(ctx, r.ID); getErr == nil {
			return ended, fmt.Errorf("%w; cancelling it: %w", err, cancelErr)
		}
	}
	return r, fmt.Errorf("%w; cancelling it: %w", err, cancelErr)
}
