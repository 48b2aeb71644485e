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

// listWaits are the waits before each list. Together they give a new reload half a minute to appear in the list.
var listWaits = [...]time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}

const (
	exactOffset   = 50 * time.Millisecond // the offset of the Date header is narrowed to this width
	maxProbes     = 8                     // maximum number of additional lists for that
	usableOffset  = time.Second           // with a wider offset, times cannot be compared
	unknownOffset = 5 * time.Minute       // the assumed limit of the offset if the service sends no Date header

	recordClockLag    = 2 * time.Second        // how far the record clock may be behind the clock of the Date header
	serverClockSpread = 100 * time.Millisecond // how far the clocks of the service's servers may be apart
)

// reconciliation determines the outcome of a trigger.
type reconciliation struct {
	client   *Client
	req      Request
	since    time.Time // when the first POST with an unknown outcome was sent; zero if there was none
	accepted bool      // a POST was accepted, but its response is invalid
	dates    clockOffset
	probes   int // additional lists that were requested to narrow dates
}

// triggerAndReconcile sends a trigger until it has taken effect. If an attempt may have taken effect, it retries only
// after the lists show that it did not. After ctx has ended, it only lists reloads, and only in the grace time.
func (c *Client) triggerAndReconcile(ctx context.Context, grace *graceTime, req Request, body []byte) (*Reload, error) {
	s := reconciliation{client: c, req: req, dates: clockOffset{-unknownOffset, unknownOffset}}
	for posts := 0; ; posts++ {
		r, unknownSince, accepted, err := c.post(ctx, grace, body)
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		if s.since.IsZero() {
			s.since = unknownSince
		}
		s.accepted = s.accepted || accepted
		pending := errors.Is(err, ErrReloadPending) // the pending reload may be ours
		switch {
		case s.since.IsZero():
			return nil, err
		case unknownSince.IsZero() && !pending: // the outcome of the previous POST is still unknown
			return nil, s.unknown(err)
		}
		found, listErr := s.findRepeatedly(grace.listContext(ctx), err)
		switch {
		case found != nil:
			c.seen.add(found.ID, false)
			return found, nil
		case listErr != nil:
			return nil, s.unknown(fmt.Errorf("%w; listing the reloads of the app: %w", err, listErr))
		case pending, s.accepted, posts >= c.retry.MaxRetries, ctx.Err() != nil:
			return nil, s.unknown(err)
		}
		s.log(ctx, "reloads: the trigger had no effect, retrying it")
	}
}

// post sends a trigger until its outcome is known or the trigger may not be retried. unknownSince is when an attempt
// with an unknown outcome was sent; zero if the outcome is known. accepted means that the service responded with a 2xx,
// even if the rest of the response is missing or invalid.
func (c *Client) post(ctx context.Context, grace *graceTime, body []byte) (r *Reload, unknownSince time.Time, accepted bool, err error) {
	k, err := c.send(ctx, apiRequest{op: opTrigger, path: reloadsPath, body: body, inFlight: grace.inFlightContext()})
	defer k.release()
	a := &k.attempt
	if err == nil {
		if r, err = a.reload(); err == nil {
			c.records.observe(r.CreationTime, a.began, a.ended)
			c.seen.add(r.ID, true)
			return r, time.Time{}, true, nil
		}
	}
	accepted = isSuccess(a.status)
	if accepted || k.mayHaveTakenEffect {
		unknownSince = a.began
	}
	return nil, unknownSince, accepted, err
}

// findRepeatedly lists the reloads after each of the waits. It returns nil without an error if the trigger had no
// effect.
func (s *reconciliation) findRepeatedly(ctx context.Context, cause error) (*Reload, error) {
	s.log(ctx, "reloads: the outcome of the trigger is unknown, listing the reloads of the app", slog.String("error", withoutBody(cause)))
	var err error
	for _, wait := range listWaits {
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		var found *Reload
		if found, err = s.find(ctx); found != nil {
			s.log(ctx, "reloads: the trigger took effect, its reload was found", slog.String("reload", found.ID))
			return found, nil
		}
		if err != nil && endsLists(err) {
			return nil, err
		}
	}
	return nil, err // only the last list counts, because a new reload may not be in an earlier one
}

// find lists the app's newest reloads and returns the one that the trigger created. It lists again while the clock
// offset is too wide to distinguish that reload from an earlier one.
func (s *reconciliation) find(ctx context.Context) (*Reload, error) {
	for {
		list, err := s.list(ctx)
		if err != nil {
			return nil, err
		}
		s.dates.update(list.date)
		offset, known := s.client.records.known()
		span := serverClockSpread
		if !known {
			offset, span = s.dates, recordClockLag
		}
		candidate, undecided := s.choose(list, offset, span)
		width := offset.width()
		probed := s.probes >= maxProbes || list.date.date.IsZero()
		switch {
		case candidate != nil && (known || width <= exactOffset || probed && width <= usableOffset),
			candidate != nil && !candidate.CreationTime.Before(s.since.Add(offset.max)):
			return candidate, nil
		case candidate == nil && undecided == nil && len(list.invalid) > 0:
			return nil, list.invalid[0] // it may be the record of the triggered reload
		case candidate == nil && undecided == nil:
			return nil, nil
		case candidate == nil:
			return nil, fmt.Errorf("%w: %s, created %v", errUndecided, undecided.ID, undecided.CreationTime)
		case probed:
			return nil, fmt.Errorf("%w: %s, created %v", errUndecided, candidate.ID, candidate.CreationTime)
		}
		s.probes++
		if err := sleep(ctx, s.dates.nextProbe(time.Now())); err != nil {
			return nil, err
		}
	}
}

var errUndecided = errors.New("a reload of the app may be the triggered one, or an earlier one")

// choose returns the oldest candidate: a reload that was created no earlier than the POST, as far as the clock offset
// tells, and does not contradict the request. Among candidates, those with the ResourceID of the request come first.
// undecided is a reload that was created up to span earlier, or at the same time as the candidate.
func (s *reconciliation) choose(list triggerList, offset clockOffset, span time.Duration) (candidate, undecided *Reload) {
	earliest := s.since.Add(offset.min)
	tied := false
	sameResource := func(r *Reload) bool { return s.req.ResourceID != "" && r.ResourceID == s.req.ResourceID }
	for i := range list.Reloads {
		r := &list.Reloads[i]
		end := r.CreationTime.Add(precision(r.CreationTime)) // it was created before
		switch {
		case s.contradicts(r, list.partial[r.ID]), !end.After(earliest.Add(-span)):
		case !end.After(earliest):
			undecided = r
		case candidate == nil, sameResource(r) && !sameResource(candidate),
			sameResource(r) == sameResource(candidate) && r.CreationTime.Before(candidate.CreationTime):
			candidate, tied = r, false
		case sameResource(r) == sameResource(candidate) && r.CreationTime.Equal(candidate.CreationTime):
			tied = true
		}
	}
	if tied {
		return nil, candidate
	}
	return candidate, undecided
}

// contradicts reports whether a reload cannot be the triggered one, because it belongs to another call or was known
// before, or because a field that both the record and the request state is different.
func (s *reconciliation) contradicts(r *Reload, partial *bool) bool {
	known := s.client.seen.get(r.ID)
	return known.own || !known.at.IsZero() && known.at.Before(s.since) ||
		partial != nil && *partial != s.req.Partial ||
		r.ResourceID != "" && s.req.ResourceID != "" && r.ResourceID != s.req.ResourceID
}

// triggerList is a list of the app's newest reloads.
type triggerList struct {
	*Page
	date    serverDate
	invalid []error          // of the records that could not be decoded
	partial map[string]*bool // by the ID of the reload; nil if the record does not state it
}

func (s *reconciliation) list(ctx context.Context) (l triggerList, err error) {
	k, err := s.client.send(ctx, apiRequest{op: opList, path: reloadsPath, query: newestQuery(s.req.AppID)})
	defer k.release()
	if err != nil {
		return l, err
	}
	l = triggerList{date: k.attempt.serverDate(), partial: decodePartial(k.attempt.body.Bytes())}
	l.Page, l.invalid, err = decodeList(&k.attempt)
	return l, err
}

func (s *reconciliation) unknown(err error) error {
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

func (s *reconciliation) log(ctx context.Context, message string, attrs ...slog.Attr) {
	s.client.logger.LogAttrs(ctx, slog.LevelWarn, message, append(attrs, slog.String("app", s.req.AppID))...)
}
