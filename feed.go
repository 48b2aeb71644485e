package reloads

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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

	latest time.Time // when the most recent pass began, by the server clock; zero if there was none
	reach  time.Time // creation of the oldest reload added since the most recent pass; zero if none was
	recent int       // how many new reloads the most recent pass read

	warned map[string]bool // the errors of invalid records that were logged
}

const (
	feedPage     = 10               // minimum page size, used while few reloads finish
	maxFeedRetry = time.Minute      // maximum time between failed passes
	afterMiss    = 10 * time.Minute // how long single polls stay frequent after the feed has missed an end
)

var errTooLong = errors.New("reading the list takes more requests than polling each reload")

// finishedFeed lists the reloads that finished last. One request returns up to 100 of them.
func (t *tracker) finishedFeed() *feed {
	finished := StatusIs(StatusSucceeded, StatusFailed, StatusCanceled, StatusExceededLimit)
	return &feed{
		tracker: t, interval: t.client.polling.MinInterval, main: true,
		time:    func(r *Reload) time.Time { return r.EndTime },
		options: ListOptions{Filter: finished, Sort: SortLastEndedFirst, Log: true},
	}
}

// startedFeed lists the reloads that started last, less often. It is for OnChange.
func (t *tracker) startedFeed() *feed {
	return &feed{
		tracker: t, interval: 5 * t.client.polling.MinInterval,
		time:    func(r *Reload) time.Time { return r.StartTime },
		options: ListOptions{Filter: StatusIs(StatusReloading), Sort: "-startTime"},
	}
}

// run reads the feed until every reload has finished, ctx has ended, or the list cannot be used because it is refused
// or not sorted.
func (f *feed) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		n, wait, changed := f.beginPass()
		switch {
		case changed == nil:
			return
		case wait > 0:
			_ = sleep(ctx, wait)
			continue
		case n < minForFeed:
			waitForChange(ctx, time.Hour, changed)
			continue
		}
		began := time.Now()
		err := f.pass(ctx, n)
		gone := endsLists(err) || errors.Is(err, errNotSorted)
		f.setState(err == nil, gone)
		switch {
		case err == nil:
			failures = 0
			_ = sleep(ctx, time.Until(began.Add(f.interval)))
			continue
		case gone:
			f.warnOfFailure(ctx, err)
			return
		case !errors.Is(err, errTooLong):
			f.warnOfFailure(ctx, err)
		}
		f.tracker.pauseLists(err)
		_ = sleep(ctx, min(f.interval<<min(failures, 10), maxFeedRetry))
		failures++
	}
}

// pauseLists lets no feed list for twice the time for which the service refuses all requests, if it does. The second half
// is left to single polls.
func (t *tracker) pauseLists(err error) {
	var response *Error
	if !errors.As(err, &response) || !response.Is(ErrRateLimited) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listsFrom = time.Now().Add(2 * min(response.RetryAfter, t.client.retry.MaxRetryAfter))
}

// beginPass prepares a pass and returns how many reloads are tracked, and the time until a feed may list. changed is
// closed at the next change of the tracker. It is nil if nothing is left to track.
func (f *feed) beginPass() (n int, wait time.Duration, changed <-chan struct{}) {
	t := f.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	n = len(t.tracked)
	if n == 0 && t.closed {
		return 0, 0, nil
	}
	if f.main && n >= minForFeed {
		f.reach, t.oldest = earlier(f.reach, t.oldest), time.Time{}
	}
	if f.main && n < minForFeed {
		t.feedWorks = false
	}
	return n, time.Until(t.listsFrom), t.changed
}

// setState tells the tracker how frequent single polls have to be. gone means that no further pass follows.
func (f *feed) setState(works, gone bool) {
	t := f.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.main {
		t.feedWorks = works && (t.missed.IsZero() || time.Since(t.missed) > afterMiss) // it may miss more ends
		t.feedGone = gone
	}
}

// pass reads the list until it reaches the reloads that earlier passes read and the creation of each newly added
// reload. It reads at most n pages, because polling each of the n tracked reloads takes n requests.
func (f *feed) pass(ctx context.Context, n int) error {
	t := f.tracker
	until := f.reach
	if !f.latest.IsZero() {
		until = earlier(until, f.latest.Add(-feedOverlap))
	}
	opts := f.options
	opts.PageSize = min(max(feedPage, 2*f.recent), maxPageSize)
	query, _ := opts.query() // these options are valid
	w := walk{query: query, mark: query, untilMark: 1}
	latest, recent := f.latest, 0
	for pages := range n {
		if err := t.budget.Wait(ctx); err != nil {
			return err
		}
		page, date, invalid, err := t.client.listValid(ctx, w.query, true)
		if err != nil {
			return err
		}
		t.outage.succeeded()
		f.warnOfInvalid(ctx, invalid)
		newest, newer, done := f.apply(page, until)
		if !date.date.IsZero() {
			newest = date.date // the next pass reads what has a later time
		}
		if pages == 0 && newest.After(latest) {
			latest = newest
		} else if pages > 0 { // one page was not sufficient
			newer = maxPageSize
		}
		recent += newer
		more, err := w.advance(page)
		switch {
		case err != nil:
			return err
		case !f.sorted(page):
			return errNotSorted
		case done || !more:
			f.latest, f.reach, f.recent = latest, time.Time{}, recent
			return nil
		}
	}
	f.latest, f.reach = latest, time.Time{}
	return errTooLong
}

// apply updates the tracked reloads that the page contains. It returns the latest time, and how many reloads have a time
// after until. done means that the page reaches back to until.
func (f *feed) apply(page *Page, until time.Time) (newest time.Time, newer int, done bool) {
	for i := range page.Reloads {
		r := &page.Reloads[i]
		f.tracker.update(r)
		t := f.time(r)
		if t.After(newest) {
			newest = t
		}
		switch {
		case t.IsZero():
		case t.Before(until):
			done = true
		default:
			newer++
		}
	}
	return newest, newer, done
}

// sorted reports whether the page is in the requested order. Reloads without the time may be anywhere.
func (f *feed) sorted(page *Page) bool {
	var times []time.Time
	for i := range page.Reloads {
		if t := f.time(&page.Reloads[i]); !t.IsZero() {
			times = append(times, t)
		}
	}
	return slices.IsSortedFunc(times, func(a, b time.Time) int { return b.Compare(a) })
}

const maxWarned = 1000 // errors that are remembered

// warnOfInvalid logs the errors of invalid records. Every pass may read the same ones, so it logs each error once.
func (f *feed) warnOfInvalid(ctx context.Context, invalid []error) {
	for _, err := range invalid {
		text := withoutBody(err)
		if f.warned[text] {
			continue
		}
		if f.warned == nil || len(f.warned) == maxWarned {
			f.warned = map[string]bool{}
		}
		f.warned[text] = true
		f.warn(ctx, "reloads: skipping an invalid record of a list", err)
	}
}

func (f *feed) warnOfFailure(ctx context.Context, err error) {
	if ctx.Err() == nil {
		f.warn(ctx, "reloads: listing the tenant failed, continuing with single polls", err)
	}
}

func (f *feed) warn(ctx context.Context, message string, err error) {
	f.tracker.client.logger.LogAttrs(ctx, slog.LevelWarn, message, slog.String("error", withoutBody(err)))
}
