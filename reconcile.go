package reloads

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	exactOffset   = 50 * time.Millisecond // the offset of the Date header is narrowed to this width
	maxProbes     = 8                     // maximum number of additional lists for that
	unknownOffset = 5 * time.Minute       // the assumed limit of the offset if the service sends no Date header
)

// triggerOptions are what a batch adds to a trigger.
type triggerOptions struct {
	grace *graceTime // in which a request in flight and its reconciliation go on after ctx has ended; nil if they do not

	// check is called before each attempt. It calls admit to wait for the rate limit. An error ends the call. If it is
	// set, the ResourceID of the request is its own: it alone identifies the reload.
	check func(ctx context.Context, admit func() error) error
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

// find lists the app's newest reloads and returns the one that the trigger created. It lists again while the clock
// offset is too wide to distinguish that reload from an earlier one.
func (s *reconciliation) find(ctx context.Context) (*Reload, error) {
	for {
		list, err := s.client.newestReloads(ctx, s.req.AppID, s.earliest())
		if err != nil {
			return nil, err
		}
		s.dates.update(list.date)
		sorted := list.Next == "" || newestFirst(list.Reloads)
		if s.options.check != nil {
			if own, err := s.own(list); own != nil || err != nil {
				return own, err
			}
			list.Page = s.withoutResource(list.Page)
		}
		offset, known, doubtful := s.client.records.get(s.dates)
		if !known {
			offset = s.dates
		}
		candidate, undecided := s.choose(list, offset, doubtful)
		s.remember(list, cmp.Or(candidate, undecided))
		if !sorted {
			return nil, errNotSorted // the newest reloads may be on any page
		}
		if s.options.check != nil && s.possible != nil {
			return nil, errUndecided
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

// earliest returns the earliest creation time of a reload that may be the triggered one, by the clock of the records.
func (s *reconciliation) earliest() time.Time {
	offset, known, _ := s.client.records.get(s.dates)
	if !known {
		offset = s.dates
	}
	return s.since.Add(offset.min - clockTolerance)
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

// withoutResource returns the reloads without a ResourceID. Among them may be the triggered one, if the service is not
// known to keep ResourceIDs.
func (s *reconciliation) withoutResource(p *Page) *Page {
	rest := *p
	rest.Reloads = nil
	for _, r := range p.Reloads {
		if r.ResourceID == "" && !s.client.seen.resources.Load() {
			rest.Reloads = append(rest.Reloads, r)
		}
	}
	return &rest
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
	missing := r.ResourceID == "" && !s.client.seen.resources.Load()
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

const maxListed = 200 // how many of an app's newest reloads are listed at most

// newestReloads returns the app's newest reloads, back to a time. It returns an error if maxListed do not reach so far.
func (c *Client) newestReloads(ctx context.Context, app string, until time.Time) (l triggerList, err error) {
	w := walk{query: newestQuery(app), mark: newestQuery(app), untilMark: 1}
	all := triggerList{Page: &Page{}, partial: map[string]*bool{}}
	for {
		if l, err = c.triggerPage(ctx, w.query); err != nil {
			return l, err
		}
		all.date, all.Next = l.date, l.Next
		all.Reloads, all.invalid = append(all.Reloads, l.Reloads...), append(all.invalid, l.invalid...)
		maps.Copy(all.partial, l.partial)
		more, err := w.advance(l.Page)
		switch {
		case err != nil || !more || reachesBack(l.Reloads, until):
			return all, err
		case len(all.Reloads) >= maxListed:
			return all, errTooMany
		}
	}
}

var errTooMany = fmt.Errorf("more than %d reloads of the app were created since", maxListed)

// reachesBack reports whether a page contains a reload that was created before.
func reachesBack(rs []Reload, until time.Time) bool {
	return slices.ContainsFunc(rs, func(r Reload) bool { return !r.CreationTime.IsZero() && r.CreationTime.Before(until) })
}

func newestFirst(rs []Reload) bool {
	var previous time.Time // of a reload that has a creation time
	for _, r := range rs {
		if !previous.IsZero() && r.CreationTime.After(previous) {
			return false
		}
		previous = earlier(previous, r.CreationTime)
	}
	return true
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
