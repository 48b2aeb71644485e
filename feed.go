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

	latest time.Time // of the reloads that were read
	recent int       // reloads that the most recent pass read

	warned map[string]bool // the errors of invalid records that were logged
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
	return &feed{
		tracker: t, interval: t.client.polling.MinInterval,
		time: func(r *Reload) time.Time { return r.EndTime },
		options: ListOptions{
			Filter: StatusIs(StatusSucceeded, StatusFailed, StatusCanceled, StatusExceededLimit), Sort: SortLastEndedFirst, Log: true,
		},
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
	failures := 0
	for ctx.Err() == nil {
		if wait := f.tracker.untilLists(); wait > 0 {
			_ = sleep(ctx, wait)
			continue
		}
		n, oldest, changed := f.begin()
		if changed == nil {
			return
		}
		if n < minFed {
			pause(ctx, time.Hour, changed)
			continue
		}
		began := time.Now()
		err := f.pass(ctx, n, oldest)
		if ctx.Err() != nil {
			return
		}
		f.end(err == nil)
		if err == nil {
			failures = 0
			_ = sleep(ctx, time.Until(began.Add(f.interval)))
			continue
		}
		if !errors.Is(err, errTooLong) {
			f.warn(ctx, "reloads: listing the tenant failed, continuing with single polls", err)
		}
		if endsLists(err) || errors.Is(err, errNotSorted) {
			return
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

// untilLists returns the time until a feed may list.
func (t *tracker) untilLists() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(t.listsFrom)
}

// begin returns how many reloads are tracked, and the creation of the oldest one that is new. changed is nil if there
// is nothing left to track.
func (f *feed) begin() (n int, oldest time.Time, changed <-chan struct{}) {
	t := f.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tracked) == 0 && t.closed {
		return 0, time.Time{}, nil
	}
	oldest = t.oldest
	if len(t.tracked) >= minFed && f.options.Log {
		t.oldest = time.Time{}
	}
	return len(t.tracked), oldest, t.changed
}

// end records whether the net may slow down.
func (f *feed) end(fed bool) {
	t := f.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fed != fed && f.options.Log {
		t.fed = fed
		t.wake()
	}
}

// pass reads the list until the reloads are older than what earlier passes read, and no newer than the oldest
// new reload. It takes at most as many requests as single polls of all n tracked reloads would.
func (f *feed) pass(ctx context.Context, n int, oldest time.Time) error {
	until := f.latest.Add(-feedOverlap)
	if !oldest.IsZero() && oldest.Before(until) || f.latest.IsZero() {
		until = oldest
	}
	opts := f.options
	opts.PageSize = min(max(feedPage, 2*f.recent), maxPageSize)
	query, err := opts.query()
	w := walk{query: query, mark: query, untilMark: 1}
	latest, read := f.latest, 0
	for range n {
		if err == nil {
			err = f.tracker.budget.Wait(ctx)
		}
		if err != nil {
			return err
		}
		page, date, invalid, err := f.tracker.client.listValid(ctx, apiRequest{query: w.query, yields: true})
		if err != nil {
			return err
		}
		f.warnOfInvalid(ctx, invalid)
		f.tracker.outage.succeeded()
		done, newest := f.read(page, until, date.now())
		read += len(page.Reloads)
		if newest.After(latest) {
			latest = newest
		}
		more, err := w.advance(page)
		switch {
		case err != nil:
			return err
		case !f.sorted(page):
			return errNotSorted
		case done || !more:
			f.latest, f.recent = latest, read
			return nil
		}
	}
	f.latest = latest
	return errTooLong
}

// read updates the tracked reloads of a page. done means that the page reaches back to until. newest is the latest time
// in the page. A time in the future of the server clock does not count.
func (f *feed) read(page *Page, until, now time.Time) (done bool, newest time.Time) {
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

func (f *feed) warn(ctx context.Context, message string, err error) {
	f.tracker.client.logger.LogAttrs(ctx, slog.LevelWarn, message, slog.String("error", withoutBody(err)))
}
