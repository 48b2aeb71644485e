package reloads

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// feed reads a list of the tenant's reloads in passes. Each pass stops at the reloads that an earlier pass has read.
// The list is sorted by one of the times of a reload, latest first.
type feed struct {
	tracker  *tracker
	options  ListOptions
	time     func(*Reload) time.Time // the time that the list is sorted by
	interval time.Duration           // between the starts of two passes
	main     bool                    // it is the feed of finished reloads, which replaces most single polls
	crowd    <-chan struct{}         // has a value if many reloads are hinted, so that the next pass begins earlier; may be nil

	latest  time.Time     // when the most recent pass began, by the server clock; zero if there was none
	reach   time.Time     // creation of the oldest reload added since the most recent pass; zero if none was
	recent  int           // how many reloads the most recent pass read
	overlap time.Duration // how far a pass reads back before the beginning of the one before
	widened time.Time     // when the overlap was last changed

	warned map[string]bool // the errors of invalid records that were logged
}

const (
	minForFeed   = 4                // with fewer tracked reloads, the feed does not begin
	feedPage     = 10               // minimum page size, used while few reloads finish
	maxFeedRetry = time.Minute      // maximum time between failed passes
	maxInterval  = 1000 * time.Hour // of passes, because multiples of it must fit into a Duration
	minOverlap   = 10 * time.Second // a reload may appear in a list later than others that ended after it
	maxOverlap   = 10 * time.Minute
	afterMiss    = 10 * time.Minute // how long the overlap stays wide and single polls stay frequent after a late or missed end
	fewReloads   = 5                // factor of the interval while fewer than minForFeed reloads are left
)

var errTooLong = errors.New("reading the list takes more requests than polling each reload")

// finishedFeed lists the reloads that finished last. One request returns up to 100 of them.
func (t *tracker) finishedFeed() *feed {
	finished := StatusIs(StatusSucceeded, StatusFailed, StatusCanceled, StatusExceededLimit)
	return &feed{
		tracker: t, interval: min(t.client.polling.MinInterval, maxInterval), main: true, crowd: t.crowd, overlap: minOverlap, warned: map[string]bool{},
		time:    func(r *Reload) time.Time { return r.EndTime },
		options: ListOptions{Filter: finished, Sort: SortLastEndedFirst, Log: true},
	}
}

// startedFeed lists the reloads that started last, less often. It is for OnChange.
func (t *tracker) startedFeed() *feed {
	return &feed{
		tracker: t, interval: 5 * min(t.client.polling.MinInterval, maxInterval), overlap: minOverlap, warned: map[string]bool{},
		time:    func(r *Reload) time.Time { return r.StartTime },
		options: ListOptions{Filter: StatusIs(StatusReloading), Sort: "-startTime"},
	}
}

// run reads the feed until ctx has ended, or the list cannot be used because it is refused or not sorted.
func (f *feed) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		n, wait, changed := f.beginPass()
		if wait > 0 {
			waitForChange(ctx, wait, changed)
			continue
		}
		interval := f.interval
		if n < minForFeed {
			interval *= fewReloads
		}
		began := time.Now()
		err := f.pass(ctx, n)
		f.setState(err == nil)
		if err == nil {
			failures = 0
			waitForChange(ctx, time.Until(began.Add(interval)), f.crowd)
			_ = sleep(ctx, time.Until(began.Add(f.tracker.client.polling.hintSpacing())))
			continue
		}
		if !errors.Is(err, errTooLong) && ctx.Err() == nil {
			f.warn(ctx, "reloads: listing the tenant failed, continuing with single polls", err)
		}
		if endsLists(err) || errors.Is(err, errNotSorted) {
			return
		}
		f.tracker.pauseLists(err)
		_ = sleep(ctx, min(min(f.interval, maxFeedRetry)<<min(failures, 10), maxFeedRetry))
		failures++
	}
}

// pauseLists lets no feed list while the service refuses lists. After a 429, single polls wait, too, so that they have as
// much time for themselves afterwards.
func (t *tracker) pauseLists(err error) {
	pause := t.client.retry.refusal(err)
	if errors.Is(err, ErrRateLimited) {
		pause += min(pause, noLimit-pause)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if from := time.Now().Add(pause); from.After(t.listsFrom) {
		t.listsFrom = from
	}
}

// waitToList waits until a feed may send a list. Another feed, or a poll, may have been refused since the pass began.
func (t *tracker) waitToList(ctx context.Context) error {
	for {
		if err := t.budget.Wait(ctx); err != nil {
			return err
		}
		t.mu.Lock()
		wait := time.Until(t.listsFrom)
		t.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// beginPass prepares a pass and returns how many reloads are tracked, and the time until the feed may list. changed is
// closed at the next change of the tracker. The feed begins when minForFeed reloads are tracked, and then goes on until all
// have finished.
func (f *feed) beginPass() (n int, wait time.Duration, changed <-chan struct{}) {
	t := f.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.main {
		f.reach, t.oldest = earlier(f.reach, t.oldest), time.Time{}
	}
	n, wait = len(t.tracked), time.Until(t.listsFrom)
	if n < minForFeed && f.latest.IsZero() {
		wait = time.Hour
	}
	return n, wait, t.changed
}

// setState tells the tracker how frequent single polls have to be.
func (f *feed) setState(works bool) {
	t := f.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	if !f.main {
		return
	}
	t.covered = f.latest.Add(-f.overlap)
	t.feedWorks = works && (t.missed.IsZero() || time.Since(t.missed) > afterMiss) // it may miss more ends
}

// pass reads the list until it reaches the reloads that earlier passes read and the creation of each newly added
// reload. It reads at most n pages, because polling each of the n tracked reloads takes n requests.
func (f *feed) pass(ctx context.Context, n int) error {
	t := f.tracker
	latest, until := f.latest, f.latest.Add(-f.overlap)
	first := latest.IsZero() || !f.reach.IsZero() && f.reach.Before(until) // no pass has read so far back
	if first {
		until = f.reach
	}
	size := min(max(feedPage, 2*f.recent), maxPageSize)
	w := f.walk(size)
	f.recent = 0
	for pages := range n {
		if err := t.waitToList(ctx); err != nil {
			return err
		}
		page, date, invalid, err := t.client.listValid(ctx, w.query, true)
		if err != nil {
			return err
		}
		t.outage.succeeded()
		f.warnOfInvalid(ctx, invalid)
		newest, found, done := f.apply(page, date, until)
		if !first {
			f.setOverlap(found)
		}
		if pages == 0 && newest.After(latest) {
			latest = newest // the next pass reads what has a later time
		}
		more, err := w.advance(page)
		switch {
		case err != nil:
			return err
		case !f.sorted(page):
			return errNotSorted
		case done || !more:
			f.latest, f.reach = latest, time.Time{}
			return nil
		case size < maxPageSize: // the links would keep the size
			size = maxPageSize
			w = f.walk(size)
		}
	}
	f.latest, f.reach = latest, time.Time{}
	return errTooLong
}

// setOverlap adapts the overlap to how late the service lists ends: it is twice the longest delay of the past minutes.
// found is the earliest end that the pass has found.
func (f *feed) setOverlap(found time.Time) {
	now := time.Now()
	switch needed := 2 * between(found, f.latest); {
	case needed > f.overlap:
		f.overlap, f.widened = min(needed, maxOverlap), now
	case now.Sub(f.widened) > afterMiss:
		f.overlap, f.widened = max(f.overlap/2, minOverlap), now
	}
}

// walk returns the position at the beginning of the list.
func (f *feed) walk(pageSize int) walk {
	opts := f.options
	opts.PageSize = pageSize
	query, _ := opts.query() // these options are valid
	return newWalk(query)
}

// apply updates the tracked reloads that the page contains. It returns the time of the page, which is that of the server
// clock, because an end may be in the future. found is the earliest time of a reload that has just finished. done means
// that the page reaches back to until.
func (f *feed) apply(page *Page, date serverDate, until time.Time) (newest, found time.Time, done bool) {
	newest = date.date()
	dated := !newest.IsZero()
	for i := range page.Reloads {
		r := &page.Reloads[i]
		t := f.time(r)
		if f.tracker.update(r) {
			found = earlier(found, t)
		}
		if !dated && t.After(newest) {
			newest = t
		}
		if !t.IsZero() && t.Before(until) {
			done = true
		} else {
			f.recent++
		}
	}
	return newest, found, done
}

// sorted reports whether the page is in the requested order, approximately. Reloads without the time may be anywhere. It
// checks one page only, because new reloads shift the next one.
func (f *feed) sorted(page *Page) bool {
	var previous time.Time
	for i := range page.Reloads {
		t := f.time(&page.Reloads[i])
		switch {
		case t.IsZero():
			continue
		case !previous.IsZero() && t.Sub(previous) > minOverlap:
			return false
		}
		previous = t
	}
	return true
}

const maxWarned = 1000 // errors that are logged

// warnOfInvalid logs the errors of invalid records. Every pass may read the same ones, so it logs each error once.
func (f *feed) warnOfInvalid(ctx context.Context, invalid []error) {
	for _, err := range invalid {
		if text := withoutBody(err); !f.warned[text] && len(f.warned) < maxWarned {
			f.warned[text] = true
			f.warn(ctx, "reloads: skipping an invalid record of a list", err)
		}
	}
}

func (f *feed) warn(ctx context.Context, message string, err error) {
	f.tracker.client.logger.LogAttrs(ctx, slog.LevelWarn, message, slog.String("error", withoutBody(err)))
}
