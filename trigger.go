package reloads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A POST whose response was lost may have taken effect, and retrying it may trigger a second reload. Therefore the
// client first lists the app's newest reloads, and adopts one that was created no earlier than the POST.

// listWaits are the waits between the lists. Together they give a new reload half a minute to appear in the list.
var listWaits = [...]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}

// triggerAndReconcile sends a trigger until it has taken effect. If an attempt may have taken effect, it retries only
// after the lists show that it did not. After ctx has ended, it only lists reloads, and only in the grace time.
func (c *Client) triggerAndReconcile(ctx context.Context, req Request, body []byte, o triggerOptions) (r *Reload, err error) {
	s := reconciliation{client: c, req: req, options: o, dates: clockOffset{-unknownOffset, unknownOffset}, listed: newTriggerList()}
	c.seen.call(req.AppID, 1, false)
	err = ErrOutcomeUnknown // remains if the base transport panics
	defer func() { c.seen.call(req.AppID, -1, errors.Is(err, ErrOutcomeUnknown)) }()
	for ; ; s.retries++ {
		r, refused, err := s.post(ctx, body)
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		pending := errors.Is(err, ErrReloadPending) // the pending reload may be ours
		switch {
		case s.since.IsZero():
			return nil, err
		case refused && !pending: // the outcome of the previous POST is still unknown
			return nil, s.unknown(err)
		}
		found, listErr := s.findRepeatedly(ctx, err)
		switch {
		case found != nil:
			return found, nil
		case listErr != nil:
			return nil, s.unknown(fmt.Errorf("%w; listing the reloads of the app: %w", err, listErr))
		case pending, s.accepted, s.retries >= c.retry.MaxRetries, retryAfterOf(err) > c.retry.MaxRetryAfter, ctx.Err() != nil:
			return nil, s.unknown(err)
		}
		s.log(ctx, "reloads: the trigger had no effect, retrying it")
		_ = sleep(ctx, time.Until(s.ended.Add(retryAfterOf(err))))
	}
}

// post sends a trigger until its outcome is known or the trigger may not be retried. refused means that the last
// attempt had no effect.
func (s *reconciliation) post(ctx context.Context, body []byte) (r *Reload, refused bool, err error) {
	c := s.client
	k, err := c.send(ctx, apiRequest{
		op: opTrigger, path: c.path + reloadsPath, body: body, retries: s.retries, attempts: s.attempts,
		inFlight: s.options.grace.inFlightContext(), check: s.options.check,
	})
	defer k.release()
	a := &k.attempt
	if s.options.sent != nil && a.number > s.attempts {
		*s.options.sent = a.began
	}
	if err == nil {
		if r, err = a.reload(); err == nil {
			c.records.observe(r.CreationTime, a.serverDate())
			c.seen.add(r.ID, true)
			if s.req.ResourceID != "" && r.ResourceID == s.req.ResourceID {
				c.seen.resources.Store(true)
			}
			return r, false, nil
		}
	}
	accepted := isSuccess(a.status) // even if the rest of the response is missing or invalid
	if accepted || k.mayHaveTakenEffect {
		s.since, s.last, s.ended = earlier(s.since, a.began), a.began, time.Now()
	}
	s.accepted = s.accepted || accepted
	s.retries = k.retries
	if a.number == s.attempts && s.failure != nil { // nothing was sent
		err = fmt.Errorf("%w; the previous attempt: %w", err, s.failure)
	} else {
		s.failure = err
	}
	s.attempts = a.number
	return nil, !accepted && !k.mayHaveTakenEffect, err
}

// findRepeatedly lists the reloads several times. It returns nil without an error if the trigger had no effect. After ctx
// has ended, it lists every second until the grace time has ended, unless the service refuses that.
func (s *reconciliation) findRepeatedly(ctx context.Context, cause error) (*Reload, error) {
	grace := s.options.grace
	s.log(ctx, "reloads: the outcome of the trigger is unknown, listing the reloads of the app", slog.String("error", withoutBody(cause)))
	for n := 0; ; n++ {
		found, err := s.find(grace.listContext(ctx))
		switch {
		case found != nil && s.claim(found):
			s.log(ctx, "reloads: the trigger took effect, its reload was found", slog.String("reload", found.ID))
			return found, nil
		case endsLists(err):
			return nil, err
		case ctx.Err() == nil && n == len(listWaits):
			if err == nil && len(s.possible) > 0 {
				err = errUndecided
			}
			return nil, err // of the last list, because a new reload may not be in an earlier one
		}
		refused := time.Now().Add(s.client.retry.refusal(err))
		if ctx.Err() != nil || sleep(ctx, max(listWaits[n], time.Until(refused))) != nil {
			if sleep(grace.listContext(ctx), max(time.Second, time.Until(refused))) != nil {
				return nil, ctx.Err()
			}
		}
	}
}

// claim reports whether the reload belongs to this trigger. It may belong to another call of the client for the same app
// whose response is still in flight, or was lost.
func (s *reconciliation) claim(r *Reload) bool {
	if s.options.check != nil { // the ResourceID is sufficient
		s.client.seen.add(r.ID, true)
		return true
	}
	if s.client.seen.alone(s.req.AppID, s.since) && s.client.seen.add(r.ID, true) {
		return true
	}
	s.choose() // now it may be known to belong to that call
	return false
}

func (s *reconciliation) unknown(err error) error {
	cause := ErrOutcomeUnknown
	for _, r := range s.possible[:min(3, len(s.possible))] { // there may be many
		cause = fmt.Errorf("%w: reload %s, created %v, may be the one", cause, r.ID, r.CreationTime)
	}
	return fmt.Errorf("%w: %w", cause, err)
}

func (s *reconciliation) log(ctx context.Context, message string, attrs ...slog.Attr) {
	s.client.logger.LogAttrs(ctx, slog.LevelWarn, message, append(attrs, slog.String("app", s.req.AppID))...)
}
