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
	exactOffset   = 50 * time.Millisecond // the clock offset is narrowed to this width and the time of a response
	maxProbes     = 8                     // maximum number of additional lists for that
	unknownOffset = 5 * time.Minute       // the assumed limit of the offset if the service sends no Date header
)

// triggerOptions are what a batch adds to a trigger.
type triggerOptions struct {
	grace *graceTime // in which a request in flight and its reconciliation go on after ctx has ended; nil if they do not
	sent  *time.Time // set to when the most recent POST was sent; nil if that does not matter

	// check is called before each attempt. It calls admit to wait for the rate limit. An error ends the call. If it is
	// set, the ResourceID of the request is its own: it alone identifies the reload.
	check func(ctx context.Context, admit admission) error
}

// reconciliation determines the outcome of a trigger.
type reconciliation struct {
	client   *Client
	req      Request
	options  triggerOptions
	since    time.Time // when the first POST with an unknown outcome was sent; zero if there was none
	last     time.Time // when the most recent one was sent
	ended    time.Time // when that one failed
	accepted bool      // a POST was accepted, but its response is invalid
	dates    clockOffset
	exact    time.Duration // the width to which the offset is narrowed
	retries  int           // of the POST
	attempts int           // of the POST, all together
	failure  error         // of the most recent attempt that was sent
	probes   int           // additional lists that were requested to narrow dates
	listed   triggerList
	possible []*Reload // of the listed ones, those that may be the triggered one; see choose
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
		s.exact = min(exactOffset+list.date.received.Sub(list.date.sent), usableOffset)
		s.listed.add(list)
		sure, exact := s.choose()
		sorted := list.Next == "" || newestFirst(list.Reloads)
		switch {
		case sure && (sorted || s.options.check != nil):
			return s.possible[0], nil
		case !sorted:
			return nil, errNotSorted // the newest reloads may be on any page
		case len(s.possible) == 0 && len(list.invalid) > 0:
			return nil, list.invalid[0] // it may be the record of the triggered reload
		case len(s.possible) == 0:
			return nil, nil
		case exact || s.probes >= maxProbes || list.date.date().IsZero():
			return nil, errUndecided
		}
		s.probes++
		if err := sleep(ctx, s.dates.nextProbe(time.Now())); err != nil {
			return nil, err
		}
	}
}

// earliest returns the earliest creation time of a reload that may be the triggered one, by the clock of the records. The
// client's clock may have been set a little since the offset was learned, so the present Date header counts, too.
func (s *reconciliation) earliest() time.Time {
	offset, _, _ := s.client.records.get(s.dates, s.exact)
	return s.since.Add(min(offset.min, s.dates.min) - clockTolerance)
}

var errUndecided = errors.New("the lists do not show whether it is the triggered one")

// choose sets the reloads that may be the triggered one: those with the ResourceID of the request first, then the oldest first.
// sure means that it is the first one: that was created no earlier than the most recent POST and no later than lateEffect after
// it, as far as the clock offset tells, contradicts nothing, and no other one is as old. One that was created between the POSTs
// may be that of an earlier one, or somebody else's. exact means that a narrower offset does not help.
func (s *reconciliation) choose() (sure, exact bool) {
	offset, known, doubtful := s.client.records.get(s.dates, s.exact)
	exact = known || offset.width() <= s.exact || s.probes >= maxProbes && offset.width() <= usableOffset
	oldest := s.earliest()
	latest := earlier(time.Now().Add(clockTolerance), s.ended.Add(lateEffect)).Add(offset.max)
	byResource := s.options.check != nil // the ResourceID alone decides
	s.possible = nil
	for i := range s.listed.Reloads {
		r := &s.listed.Reloads[i]
		tooOld := !doubtful && !r.CreationTime.IsZero() && !createdBefore(r).After(oldest)
		if byResource && s.hasResource(r) == 1 || !tooOld && !s.isOther(r) {
			s.possible = append(s.possible, r)
		}
	}
	order := func(a, b *Reload) int {
		return cmp.Or(s.hasResource(b)-s.hasResource(a), a.CreationTime.Compare(b.CreationTime))
	}
	slices.SortStableFunc(s.possible, order)
	if len(s.possible) == 0 {
		return false, exact
	}
	first := s.possible[0]
	switch {
	case byResource:
		sure = s.hasResource(first) == 1
	case doubtful, offset.width() >= 2*unknownOffset, first.CreationTime.After(latest), s.contradicts(first, s.listed.partial[first.ID]):
	case len(s.possible) > 1 && order(first, s.possible[1]) == 0:
	default:
		sure = exact && createdBefore(first).After(s.last.Add(offset.min)) || !first.CreationTime.Before(s.last.Add(offset.max))
	}
	return sure, exact
}

// hasResource returns 1 if the reload has the ResourceID of the request, and 0 otherwise.
func (s *reconciliation) hasResource(r *Reload) int {
	if s.req.ResourceID != "" && r.ResourceID == s.req.ResourceID {
		return 1
	}
	return 0
}

// isOther reports whether a reload is certainly not the triggered one, because it belongs to another call or app, was
// known before, or has another ResourceID, if that alone decides.
func (s *reconciliation) isOther(r *Reload) bool {
	seen := s.client.seen.get(r.ID)
	return seen.own || !seen.at.IsZero() && seen.at.Before(s.since) || otherApp(r, s.req.AppID) ||
		s.options.check != nil && r.ResourceID != "" && s.hasResource(r) == 0
}

func otherApp(r *Reload, app string) bool { return r.AppID != "" && !strings.EqualFold(r.AppID, app) }

// contradicts reports whether a field that both the record and the request state is different. If the service is known to
// return the ResourceID of a request, a record without it is different, too.
func (s *reconciliation) contradicts(r *Reload, partial *bool) bool {
	missing := r.ResourceID == "" && !s.client.seen.resources.Load()
	return partial != nil && *partial != s.req.Partial ||
		s.req.ResourceID != "" && r.ResourceID != s.req.ResourceID && !missing
}

// triggerList is a list of the app's newest reloads, or several of them together.
type triggerList struct {
	*Page
	date    serverDate
	invalid []error          // of the records that could not be decoded
	partial map[string]*bool // by the ID of the reload; nil if the record does not state it
}

func newTriggerList() triggerList { return triggerList{Page: &Page{}, partial: map[string]*bool{}} }

// add adds the reloads of a later page or list. What an earlier one showed remains, because a replica may be behind.
func (l *triggerList) add(later triggerList) {
	known := make(map[string]int, len(l.Reloads))
	for i := range l.Reloads {
		known[strings.ToLower(l.Reloads[i].ID)] = i
	}
	for _, r := range later.Reloads {
		id := strings.ToLower(r.ID)
		if i, ok := known[id]; ok {
			l.Reloads[i] = r
			continue
		}
		known[id] = len(l.Reloads)
		l.Reloads = append(l.Reloads, r)
	}
	maps.Copy(l.partial, later.partial)
}

const maxListed = 200 // how many of an app's newest reloads are listed at most

// newestReloads returns the app's newest reloads, back to a time. It returns an error if maxListed do not reach so far.
func (c *Client) newestReloads(ctx context.Context, app string, until time.Time) (l triggerList, err error) {
	w := newWalk(newestQuery(app))
	all := newTriggerList()
	for read := 0; ; {
		if l, err = c.triggerPage(ctx, w.query); err != nil {
			return l, err
		}
		all.add(l)
		read += len(l.Reloads) // a record may be on several pages
		all.date, all.Next, all.invalid = l.date, l.Next, append(all.invalid, l.invalid...)
		own := slices.DeleteFunc(slices.Clone(all.Reloads), func(r Reload) bool { return otherApp(&r, app) })
		more, err := w.advance(l.Page)
		switch {
		case err != nil || !more || reachesBack(own, until):
			return all, err
		case read >= maxListed:
			return all, errTooMany
		}
	}
}

var errTooMany = fmt.Errorf("more than %d reloads of the app were created since", maxListed)

// reachesBack reports whether a list contains a reload that was created before. Reloads of a single time do not show its order.
func reachesBack(rs []Reload, until time.Time) bool {
	older := func(r Reload) bool { return !r.CreationTime.IsZero() && r.CreationTime.Before(until) }
	other := func(r Reload) bool { return !r.CreationTime.Equal(rs[0].CreationTime) }
	return slices.ContainsFunc(rs, older) && slices.ContainsFunc(rs, other)
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
	k, err := c.send(ctx, apiRequest{op: opList, path: c.path + reloadsPath, query: query})
	defer k.release()
	if err != nil {
		return l, err
	}
	l = triggerList{date: k.attempt.serverDate(), partial: decodePartial(k.attempt.body.Bytes())}
	if l.Page, l.invalid, err = decodeList(&k.attempt); err == nil {
		err = l.date.stored()
	}
	return l, err
}
