package reloads

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// feed reads a list of the tenant's reloads again and again, each time until it reaches what it has read before. The
// list is sorted by a time of the reload, latest first.
type feed struct {
	tracker  *tracker
	options  ListOptions
	time     func(*Reload) time.Time // that the list is sorted by
	interval time.Duration           // between passes
	main     bool                    // it replaces most of the single polls

	latest time.Time // of the reloads that were read
	reach  time.Time // creation of the oldest reload that was not tracked yet when they were read; zero if there is none
	recent int       // reloads that the most recent pass read
}

const (
	feedOverlap  = 10 * time.Second // a reload may be listed so much later than others
	feedPage     = 10               // reloads of the first page, while little happens
	maxFeedRetry = time.Minute      // between passes that fail
)

var (
	errNotSorted = errors.New("the list is not sorted as requested")
	errTooLong   = errors.New("the list has more pages than single polls would take requests")
)

// finishedFeed lists the reloads that finished last. One request sees up to a hundred ends.
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

// run reads the feed until every reload has finished, ctx has ended, or the token cannot list the tenant.
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

// beginPass returns how many reloads are tracked. changed is nil if there is nothing left to track.
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

// setFeedWorks tells the net whether it may poll less.
func (f *feed) setFeedWorks(feedWorks bool) {
	if f.main {
		f.tracker.mu.Lock()
		defer f.tracker.mu.Unlock()
		f.tracker.feedWorks = feedWorks
	}
}

// pass reads the list until the reloads are older than what earlier passes read, and than every reload that is new. It
// takes at most as many requests as single polls of all n tracked reloads would.
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

// apply updates the tracked reloads of a page. done means that the page reaches back to until. newest is the latest time
// in the page. A time in the future of the server clock does not count.
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
