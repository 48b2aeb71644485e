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

// Watch returns an iterator over the states of a reload: the current one, then one at every change of its status, up to
// a terminal one. A reload that failed is not an error of Watch.
//
// Nothing is sent until the iterator is ranged over. Ranging again starts again. A failed poll is logged and usually
// does not end the watch. The following errors do. They are yielded once, with a nil reload:
//
//   - ctx ended, or an argument is invalid.
//   - 404, unless this client triggered the reload, or this watch first received it, less than 10 s ago.
//   - Another final refusal, such as 401 or 403.
//   - Three invalid responses in a row, over at least a minute: responses that are not the API's, or the record of
//     another reload.
//   - All polls failed for [PollPolicy].GiveUpAfter.
//   - Before the first successful poll: the token source failed, the host does not exist, or it does not speak TLS or has no
//     valid certificate.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[*Reload, error] {
	return func(yield func(*Reload, error) bool) {
		if ctx == nil {
			yield(nil, errNilContext)
			return
		}
		began := time.Now()
		var last *Reload
		var age time.Duration // of the reload when the watch began, by the server clock
		health := pollHealth{firstSeen: c.seen.get(id).at}
		var out outage
		hinted, stop := c.hints.listenTo(id)
		defer stop()
		for {
			polled := time.Now()
			r, date, failed := c.get(ctx, id, false)
			if failed != nil {
				if _, err := c.pollError(ctx, id, last, polled, failed, &health, &out); err != nil {
					yield(nil, err)
					return
				}
			} else {
				health.succeeded()
				out.succeeded()
				if last == nil {
					age = between(r.CreationTime, date.now()) - time.Since(began)
				}
				changed := last == nil || r.Status != last.Status || r.Ended()
				last = r
				if r.Ended() {
					c.seen.end(r)
				}
				if changed && !yield(r, nil) || r.Ended() {
					return
				}
			}
			refused := time.Now().Add(c.retry.refusal(failed))
			waitForChange(ctx, c.polling.interval(age+time.Since(began)), hinted)
			if sleep(ctx, max(time.Until(refused), time.Until(polled.Add(c.polling.hintSpacing())))) != nil {
				yield(nil, waitError(ctx, id, last, failed))
				return
			}
		}
	}
}

// Wait blocks until a reload has finished. It returns the reload, with a nil error if it SUCCEEDED and a [*ReloadError] if it
// did not. With any other error, those of [Client.Watch], it returns the most recent state, nil if there is none.
func (c *Client) Wait(ctx context.Context, id string) (last *Reload, err error) {
	for r, err := range c.Watch(ctx, id) {
		if err != nil {
			return last, err
		}
		last = r
	}
	return last, last.Err()
}

// Poll makes the waits for a reload poll it now: [Client.Wait], [Client.Watch] and batches. It is for hints that the reload
// has finished, such as the events of package webhook. It returns at once and sends nothing itself. A hint is never the
// truth: one that is wrong, late or repeated costs each wait for that reload one poll, which is retried if it fails, within
// the rate limit. Many hints cost each of them at most one poll per second (or MinInterval, if that is shorter), and a batch
// the pages of one list per second. After a hint during a poll, there is another poll. A hint also counts for a wait that
// begins within a minute, if it is among the latest 256 hints and has at most 1024 bytes. Any id is allowed.
//
// With hints, polls are only the safety net, for hints that are lost. They can be rare:
//
//	reloads.WithPolling(reloads.PollPolicy{MinInterval: time.Minute, MaxInterval: 5 * time.Minute})
func (c *Client) Poll(id string) { c.hints.add(id) }

// pollError returns the error of a wait that a failed poll ends, or nil if the wait continues. all means that every other
// wait with the same outage ends, too.
func (c *Client) pollError(ctx context.Context, id string, last *Reload, polled time.Time, err error, health *pollHealth, out *outage) (all bool, final error) {
	if ctx.Err() != nil {
		return false, waitError(ctx, id, last, nil)
	}
	if health.endsWait(polled, err) {
		return false, err
	}
	if err := out.failed(err, c.polling.GiveUpAfter); err != nil {
		return true, err
	}
	c.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: poll failed, continuing",
		slog.String("reload", id), slog.String("error", withoutBody(err)))
	return false, nil
}

// interval returns the time until the next poll of a reload of the given age.
func (p PollPolicy) interval(age time.Duration) time.Duration {
	d := min(age/10, p.MaxInterval)
	d -= rand.N(max(0, d/10) + 1) //nolint:gosec // the jitter need not be secret
	return max(d, p.MinInterval)
}

// hintSpacing returns the shortest time between polls of a reload because of hints.
func (p PollPolicy) hintSpacing() time.Duration { return min(p.MinInterval, maxSpacing) }

// maxPending is the longest time that a reload can take: 6 hours in the queue, then 3 hours (vendor's documentation).
const maxPending = 9 * time.Hour

// waitError returns the error of a wait whose ctx has ended. failed is the error of the most recent poll, if any.
func waitError(ctx context.Context, id string, last *Reload, failed error) error {
	state := "status unknown"
	if last != nil && last.Status != "" {
		state = string(last.Status)
	}
	if failed != nil {
		return fmt.Errorf("reloads: waiting for reload %s (%s): %w; the most recent poll: %w", id, state, ctx.Err(), failed)
	}
	return fmt.Errorf("reloads: waiting for reload %s (%s): %w", id, state, ctx.Err())
}

// cancelNew cancels a reload that may be new, and not visible at once.
func (c *Client) cancelNew(ctx context.Context, id string) (Status, error) {
	for {
		sent := time.Now()
		status, err := c.Cancel(ctx, id)
		if !errors.Is(err, ErrNotFound) || sent.Sub(c.seen.get(id).at) >= notFoundGrace || sleep(ctx, time.Second) != nil {
			return status, err
		}
	}
}

// abort cancels a reload because of err. It returns the reload's most recent state, and err together with the outcome
// of the cancel, or nil if the reload has SUCCEEDED.
func (c *Client) abort(grace *graceTime, r *Reload, err error) (*Reload, error) {
	ctx, cancel := context.WithDeadline(grace.ctx, grace.deadline())
	defer cancel()
	status, cancelErr := c.cancelNew(ctx, r.ID)
	switch {
	case cancelErr == nil:
		canceled := *r
		canceled.Status = status
		if final := canceled.Err(); final != nil {
			return &canceled, fmt.Errorf("%w; the reload was canceled: %w", err, final)
		}
		return &canceled, fmt.Errorf("%w; the reload was canceled", err)
	case errors.Is(cancelErr, ErrNotCancelable):
		ended, getErr := c.Get(ctx, r.ID)
		switch {
		case getErr == nil && ended.Ended() && ended.Err() == nil: // it has succeeded meanwhile
			return ended, nil
		case getErr == nil && ended.Ended():
			return ended, fmt.Errorf("%w; the reload has finished: %w", err, ended.Err())
		case getErr == nil:
			r = ended
		}
	}
	return r, fmt.Errorf("%w; canceling it: %w", err, cancelErr)
}
