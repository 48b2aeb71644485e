package reloads

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// A POST whose response was lost may have taken effect, and retrying it may trigger a second reload. Therefore the
// client first lists the app's newest reloads, and adopts one that was created no earlier than the POST.

// listWaits are the waits between the lists. Together they give a new reload half a minute to appear in the list.
var listWaits = [...]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}

const (
	exactOffset   = 50 * time.Millisecond // the offset of the Date header is narrowed to this width
	maxProbes     = 8                     // maximum number of additional lists for that
	usableOffset  = time.Second           // with a wider offset, times cannot be compared
	unknownOffset = 5 * time.Minute       // the assumed limit of the offset if the service sends no Date header
)

// triggerOptions are what a batch adds to a trigger.
type triggerOptions struct {
	grace *graceTime // in which a request in flight and its reconciliation go on after ctx has ended; nil if they do not

	// admitted is called before each attempt, after the rate limit. An error ends the call. If it is set, the ResourceID
	// of the request is its own: it alone identifies the reload.
	admitted func(context.Context) error
}

// reconciliation determines the outcome of a trigger.
type reconciliation struct {
	client   *Client
	req      Request
	options  triggerOptions
	since    time.Time // when the first POST with an unknown outcome was sent; zero if there was none
	accepted bool      // a POST was accepted, but its response is invalid
	dates    clockOffset
	retries  int     // of the POST
	attempts int     // of the POST, all together
	failure  error   // of the most recent attempt that was sent
	probes   int     // additional lists that were requested to narrow dates
	possible *Reload // the most recent listed one that may be the triggered reload; nil if the lists exclude it
}

// triggerAndReconcile sends a trigger until it has taken effect. If an attempt may have taken effect, it retries only
// after the lists show that it did not. After ctx has ended, it only lists reloads, and only in the grace time.
func (c *Client) triggerAndReconcile(ctx context.Context, req Request, body []byte, o triggerOptions) (*Reload, error) {
	s := reconciliation{client: c, req: req, options: o, dates: clockOffset{-unknownOffset, unknownOffset}}
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
		case pending, s.accepted, s.retries >= c.retry.MaxRetries, ctx.Err() != nil:
			return nil, s.unknown(err)
		}
		s.log(ctx, "reloads: the trigger had no effect, retrying it")
	}
}

// post sends a trigger until its outcome is known or the trigger may not be retried. refused means that the last
// attempt had no effect.
func (s *reconciliation) post(ctx context.Context, body []byte) (r *Reload, refused bool, err error) {
	c := s.client
	c.seen.post(s.req.AppID, 1)
	defer c.seen.post(s.req.AppID, -1)
	k, err := c.send(ctx, apiRequest{
		op: opTrigger, path: reloadsPath, body: body, retries: s.retries, attempts: s.attempts,
		inFlight: s.options.grace.inFlightContext(), admitted: s.options.admitted,
	})
	defer k.release()
	a := &k.attempt
	if err == nil {
		if r, err = a.reload(); err == nil {
			c.records.observe(r.CreationTime, a.serverDate())
			c.seen.add(r.ID, true)
			c.seen.resource(s.req.ResourceID != "" && r.ResourceID == s.req.ResourceID)
			return r, false, nil
		}
	}
	accepted := isSuccess(a.status) // even if the rest of the response is missing or invalid
	if (accepted || k.mayHaveTakenEffect) && s.since.IsZero() {
		s.since = a.began
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
// has ended, it lists every second until the grace time has ended.
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
			if err == nil && s.possible != nil {
				err = errUndecided
			}
			return nil, err // of the last list, because a new reload may not be in an earlier one
		}
		if ctx.Err() != nil || sleep(ctx, listWaits[n]) != nil {
			if waitErr := sleep(grace.listContext(ctx), time.Second); waitErr != nil {
				return nil, waitErr
			}
		}
	}
}

// claim reports whether the reload belongs to this trigger, and not to another one of the client, whose response may
// still be in flight.
func (s *reconciliation) claim(r *Reload) bool {
	if s.options.admitted != nil {
		return true // the ResourceID is sufficient
	}
	if s.client.seen.post(s.req.AppID, 0) == 0 && s.client.seen.add(r.ID, true) {
		return true
	}
	if s.client.seen.get(r.ID).own {
		s.possible = nil
	}
	return false
}

// find lists the app's newest reloads and returns the one that the trigger created. It lists again while the clock
// offset is too wide to distinguish that reload from an earlier one.
func (s *reconciliation) find(ctx context.Context) (*Reload, error) {
	for {
		list, err := s.client.newestReloads(ctx, s.req.AppID)
		if err != nil {
			return nil, err
		}
		s.dates.update(list.date)
		if s.options.admitted != nil {
			return s.own(list)
		}
		offset, known, doubtful := s.client.records.get(s.dates)
		if !known {
			offset = s.dates
		}
		candidate, undecided := s.choose(list, offset, doubtful)
		s.remember(list, cmp.Or(candidate, undecided))
		if list.Next != "" && !newestFirst(list.Reloads) {
			return nil, errNotSorted // the newest reloads may be on any page
		}
		probed := s.probes >= maxProbes || list.date.date.IsZero()
		exact := known || offset.width() <= exactOffset || s.probes >= maxProbes && offset.width() <= usableOffset
		switch {
		case candidate != nil && (exact || !candidate.CreationTime.Before(s.since.Add(offset.max))):
			return candidate, nil
		case candidate == nil && undecided == nil && len(list.invalid) > 0:
			return nil, list.invalid[0] // it may be the record of the triggered reload
		case candidate == nil && undecided == nil:
			return nil, nil
		case candidate == nil || probed:
			return nil, errUndecided
		}
		s.probes++
		if err := sleep(ctx, s.dates.nextProbe(time.Now())); err != nil {
			return nil, err
		}
	}
}

// remember stores the reload that may be the triggered one. A later list may be served by a replica that is behind, so the
// reload is only forgotten when a list that contains it excludes it.
func (s *reconciliation) remember(list triggerList, possible *Reload) {
	if possible == nil && s.possible != nil {
		for i := range list.Reloads {
			if list.Reloads[i].ID == s.possible.ID {
				s.possible = nil
				return
			}
		}
		return
	}
	s.possible = possible
}

// own returns the reload with the ResourceID of the request, which no other reload has.
func (s *reconciliation) own(list triggerList) (*Reload, error) {
	i := slices.IndexFunc(list.Reloads, func(r Reload) bool { return r.ResourceID == s.req.ResourceID })
	switch {
	case i >= 0:
		return &list.Reloads[i], nil
	case len(list.invalid) > 0:
		return nil, list.invalid[0] // it may be the record of the triggered reload
	}
	return nil, nil
}

var errUndecided = errors.New("the lists do not show whether it is the triggered one")

// choose returns the oldest candidate: a reload that was created no earlier than the POST, as far as the clock offset
// tells, and does not contradict the request. Among candidates, those with the ResourceID of the request come first.
// undecided is a reload that cannot be excluded otherwise. doubtful means that creation times cannot be compared.
func (s *reconciliation) choose(list triggerList, offset clockOffset, doubtful bool) (candidate, undecided *Reload) {
	earliest, latest := s.since.Add(offset.min), time.Now().Add(offset.max+clockTolerance)
	tied := false
	sameResource := func(r *Reload) bool { return s.req.ResourceID != "" && r.ResourceID == s.req.ResourceID }
	for i := range list.Reloads {
		r := &list.Reloads[i]
		end := r.CreationTime.Add(precision(r.CreationTime)) // it was created before
		switch {
		case s.isOther(r):
		case doubtful, r.CreationTime.IsZero(), r.CreationTime.After(latest):
			undecided = r
		case !end.After(earliest.Add(-clockTolerance)): // it is an earlier one
		case !end.After(earliest), s.contradicts(r, list.partial[r.ID]):
			if undecided == nil || !sameResource(undecided) {
				undecided = r
			}
		case candidate == nil, sameResource(r) && !sameResource(candidate),
			sameResource(r) == sameResource(candidate) && r.CreationTime.Before(candidate.CreationTime):
			candidate, tied = r, false
		case sameResource(r) == sameResource(candidate) && r.CreationTime.Equal(candidate.CreationTime) && r.ID != candidate.ID:
			tied = true
		}
	}
	switch {
	case tied:
		return nil, candidate
	case candidate != nil && undecided != nil && sameResource(undecided) && !sameResource(candidate):
		return nil, undecided
	}
	return candidate, undecided
}

// isOther reports whether a reload is certainly not the triggered one, because it belongs to another call or app, or was
// known before.
func (s *reconciliation) isOther(r *Reload) bool {
	seen := s.client.seen.get(r.ID)
	return seen.own || !seen.at.IsZero() && seen.at.Before(s.since) || otherApp(r, s.req.AppID)
}

func otherApp(r *Reload, app string) bool { return r.AppID != "" && !strings.EqualFold(r.AppID, app) }

// contradicts reports whether a field that both the record and the request state is different. If the service is known to
// return the ResourceID of a request, a record without it is different, too.
func (s *reconciliation) contradicts(r *Reload, partial *bool) bool {
	missing := r.ResourceID == "" && !s.client.seen.resource(false)
	return partial != nil && *partial != s.req.Partial ||
		s.req.ResourceID != "" && r.ResourceID != s.req.ResourceID && !missing
}

// triggerList is a list of the app's newest reloads.
type triggerList struct {
	*Page
	date    serverDate
	invalid []error          // of the records that could not be decoded
	partial map[string]*bool // by the ID of the reload; nil if the record does not state it
}

// newestReloads returns the first page of the app's newest reloads that is not empty.
func (c *Client) newestReloads(ctx context.Context, app string) (l triggerList, err error) {
	w := walk{query: newestQuery(app), mark: newestQuery(app), untilMark: 1}
	for {
		if l, err = c.triggerPage(ctx, w.query); err != nil {
			return l, err
		}
		more, err := w.advance(l.Page)
		if err != nil || !more || len(l.Reloads) > 0 {
			return l, err
		}
	}
}

func newestFirst(rs []Reload) bool {
	return slices.IsSortedFunc(rs, func(a, b Reload) int { return b.CreationTime.Compare(a.CreationTime) })
}

func (c *Client) triggerPage(ctx context.Context, query string) (l triggerList, err error) {
	k, err := c.send(ctx, apiRequest{op: opList, path: reloadsPath, query: query})
	defer k.release()
	if err != nil {
		return l, err
	}
	l = triggerList{date: k.attempt.serverDate(), partial: decodePartial(k.attempt.body.Bytes())}
	l.Page, l.invalid, err = decodeList(&k.attempt)
	return l, err
}

func (s *reconciliation) unknown(err error) error {
	if r := s.possible; r != nil {
		return fmt.Errorf("%w: reload %s, created %v, may be the one: %w", ErrOutcomeUnknown, r.ID, r.CreationTime, err)
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

func (s *reconciliation) log(ctx context.Context, message string, attrs ...slog.Attr) {
	s.client.logger.LogAttrs(ctx, slog.LevelWarn, message, append(attrs, slog.String("app", s.req.AppID))...)
}
