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

	latest time.Time // the latest time of the reloads that were read
	reach  time.Time // creation of the oldest reload added since the most recent pass; zero if none was
	recent int       // how many reloads the most recent pass read
}

const (
	feedOverlap  = 10 * time.Second // how much later than others a reload may appear in the list
	feedPage     = 10               // minimum page size, used while few reloads finish
	maxFeedRetry = time.Minute      // maximum time between failed passes
)

var (
	errNotSorted = errors.New("the list is not sorted as requested")
	errTooLong   = errors.New("reading the list takes more requests than polling each reload")
)

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
	t := f.tracker
	for failures := 0; ctx.Err() == nil; {
		n, changed := f.beginPass()
		switch {
		case changed == nil:
			return
		case n < minForFeed:
			waitForChange(ctx, time.Hour, changed)
			continue
		}
		wait := f.interval
		began := time.Now()
		err := f.pass(ctx, n)
		if ok := err == nil || errors.Is(err, errTooLong); ok {
			failures = 0
			f.setFeedWorks(true)
		} else if ctx.Err() == nil {
			t.client.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: listing the tenant failed, continuing with single polls",
				slog.String("error", withoutBody(err)))
			f.setFeedWorks(false)
			if endsLists(err) || errors.Is(err, errNotSorted) {
				return
			}
			wait = min(f.interval<<min(failures, 10), maxFeedRetry)
			failures++
		}
		_ = sleep(ctx, time.Until(began.Add(wait)))
	}
}

// beginPass prepares a pass and returns how many reloads are tracked. changed is closed at the next change of the
// tracker. It is nil if nothing is left to track.
func (f *feed) beginPass() (n int, changed <-chan struct{}) {
	t := f.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	n = len(t.tracked)
	if n == 0 && t.closed {
		return 0, nil
	}
	if f.main && n >= minForFeed {
		f.reach, t.oldest = earlier(f.reach, t.oldest), time.Time{}
	}
	if f.main && n < minForFeed {
		t.feedWorks = false
	}
	return n, t.changed
}

// setFeedWorks tells the tracker whether single polls may be less frequent.
func (f *feed) setFeedWorks(feedWorks bool) {
	if f.main {
		f.tracker.mu.Lock()
		defer f.tracker.mu.Unlock()
		f.tracker.feedWorks = feedWorks
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
	query, err := opts.query()
	if err != nil {
		return err
	}
	w := walk{query: query, mark: query, untilMark: 1}
	latest, read := f.latest, 0
	for range n {
		if err := t.budget.Wait(ctx); err != nil {
			return err
		}
		page, date, invalid, err := t.client.listValid(ctx, w.query)
		if err != nil {
			return err
		}
		t.outage.succeeded()
		for _, err := range invalid {
			t.client.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: skipping an invalid record of a list", slog.String("error", withoutBody(err)))
		}
		done, newest := f.apply(page, until, date.now())
		if read += len(page.Reloads); newest.After(latest) {
			latest = newest
		}
		more, err := w.advance(page)
		switch {
		case err != nil:
			return err
		case !f.sorted(page):
			return errNotSorted
		case done || !more:
			f.latest, f.reach, f.recent = latest, time.Time{}, read
			return nil
		}
	}
	f.latest, f.reach = latest, time.Time{}
	return errTooLong
}

// apply updates the tracked reloads that the page contains. done means that the page reaches back to until. newest is
// the latest time in the page. A time that is in the future by the server clock is ignored.
func (f *feed) apply(page *Page, until, now time.Time) (done bool, newest time.Time) {
	for i := range page.Reloads {
		r := &page.Reloads[i]
		f.tracker.update(r)
		t := f.time(r)
		if t.IsZero() || t.After(now.Add(time.Second)) {
			continue
		}
		done = done || t.Before(until)
		if t.After(newest) {
			newest = t
		}
	}
	return done, newest
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
