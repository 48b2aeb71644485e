package reloads

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// tracker polls the reloads of a batch until they have finished. It polls in two ways. A sweep lists all active reloads
// of the tenant, 100 per request, and gets those that are no longer in that list. If the token may not list the tenant,
// or a sweep would cost more requests, the reloads that are due are polled one by one. The requests leave a fifth of
// Tier 1 to others: single polls in any minute, sweeps, which come in bursts, on average.
type tracker struct {
	client  *Client
	options runOptions
	report  func(Result) // called by several goroutines

	mu      sync.Mutex
	tracked map[string]*trackedReload // by the ID of the reload
	closed  bool                      // no more are added
	changed chan struct{}             // of size 1: tracked or closed

	// Only track uses these.
	sweeps   bool      // the token may list the tenant
	pages    int       // of the most recent sweep
	nextPoll time.Time // no poll before
}

type trackedReload struct {
	request Request
	reload  *Reload // the most recent state
	own     bool    // the batch triggered it
	results int     // how many results it has
	seen    bool    // a poll has found it
	added   time.Time
	due     time.Time // for the next poll
}

const (
	pollCost        = time.Minute * 100 / (79 * Tier1PerMinute) // the share of a request in not quite 80 % of Tier 1
	concurrentPolls = 8
)

// add tracks a reload. A batch may contain the same one several times.
func (t *tracker) add(req Request, r *Reload, own bool) {
	t.options.onChange(req, r)
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.tracked[r.ID]; known != nil {
		known.results++
		return
	}
	tr := &trackedReload{request: req, reload: r, own: own, results: 1, added: time.Now()}
	t.schedule(tr)
	t.tracked[r.ID] = tr
	t.wake()
}

// close declares that no more reloads are added.
func (t *tracker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.wake()
}

func (t *tracker) wake() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// track polls until every reload has finished or ctx has ended.
func (t *tracker) track(ctx context.Context) {
	for {
		due, wait, done := t.next()
		switch {
		case done:
			return
		case ctx.Err() != nil:
			if t.abandon(ctx) {
				continue // these may have been all
			}
			wait = time.Hour // for those that are still being added
		case wait <= 0:
			t.poll(ctx, due)
			continue
		}
		timer := time.NewTimer(wait)
		ended := ctx.Done()
		if ctx.Err() != nil {
			ended = nil
		}
		select {
		case <-timer.C:
		case <-t.changed:
		case <-ended:
		}
		timer.Stop()
	}
}

// next returns the reloads to poll now, most urgent first, or the wait until there are some. done means that there
// is nothing left to track.
func (t *tracker) next() (due []*trackedReload, wait time.Duration, done bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tracked) == 0 {
		return nil, time.Hour, t.closed
	}
	now := time.Now()
	wait = time.Hour
	for _, tr := range t.tracked {
		wait = min(wait, tr.due.Sub(now))
		if !tr.due.After(now) {
			due = append(due, tr)
		}
	}
	slices.SortFunc(due, func(a, b *trackedReload) int { return a.due.Compare(b.due) })
	return due[:min(len(due), concurrentPolls)], max(wait, t.nextPoll.Sub(now)), false
}

// poll polls in the way that costs fewer requests, and schedules the next poll by what it cost.
func (t *tracker) poll(ctx context.Context, due []*trackedReload) {
	began := time.Now()
	t.mu.Lock()
	n := len(t.tracked)
	t.mu.Unlock()
	cost := 0
	if t.sweeps && n > t.pages {
		due, cost = t.sweep(ctx)
	}
	t.get(ctx, due)
	t.nextPoll = began.Add(time.Duration(cost+len(due)) * pollCost)
	if earliest := began.Add(t.client.polling.MinInterval); cost > 0 && t.nextPoll.Before(earliest) {
		t.nextPoll = earliest // do not repeat at once a sweep that failed at once
	}
}

// sweep lists the active reloads of the tenant. It returns the tracked reloads that are not among them, and the number
// of requests.
func (t *tracker) sweep(ctx context.Context) (gone []*trackedReload, cost int) {
	began := time.Now()
	active := map[string]bool{}
	for page, err := range t.client.Pages(ctx, ListOptions{Filter: activeOnly, PageSize: maxPageSize}) {
		cost++
		if err != nil {
			t.sweeps = !endsLists(err)
			t.client.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: listing the tenant failed, continuing",
				slog.Bool("by_single_polls", !t.sweeps), slog.String("error", withoutBody(err)))
			return nil, cost
		}
		for i := range page.Reloads {
			t.update(&page.Reloads[i])
			active[page.Reloads[i].ID] = true
		}
	}
	t.pages = max(1, cost)
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, tr := range t.tracked {
		if !active[id] && tr.added.Before(began) {
			gone = append(gone, tr)
		}
	}
	return gone, cost
}

// update stores the state of an active reload, if it is tracked.
func (t *tracker) update(r *Reload) {
	t.mu.Lock()
	tr := t.tracked[r.ID]
	changed := tr != nil && tr.reload.Status != r.Status
	if tr != nil {
		state := *r // a copy, because r would keep its page in memory
		tr.reload, tr.seen = &state, true
		t.schedule(tr)
	}
	t.mu.Unlock()
	if changed {
		t.options.onChange(tr.request, tr.reload)
	}
}

// schedule sets when the reload is due for its next poll. Its age counts from when it was added.
func (t *tracker) schedule(tr *trackedReload) {
	now := time.Now()
	tr.due = now.Add(t.client.polling.interval(now.Sub(tr.added)))
}

// get polls single reloads.
func (t *tracker) get(ctx context.Context, tracked []*trackedReload) {
	each(tracked, func(tr *trackedReload) {
		r, _, err := t.client.poll(ctx, tr.reload.ID)
		switch {
		case err != nil && ctx.Err() != nil: // abandon ends it
		case err == nil && r.Ended():
			t.end(tr, r, r.Err())
		case err == nil:
			t.update(r)
		case endsWait(err, tr.seen, time.Since(tr.added)):
			t.end(tr, tr.reload, err)
		default:
			t.client.logFailedPoll(ctx, tr.reload.ID, err)
			t.mu.Lock()
			t.schedule(tr)
			t.mu.Unlock()
		}
	})
}

// abandon ends all tracked reloads because ctx has ended, and reports whether there were any.
func (t *tracker) abandon(ctx context.Context) bool {
	t.mu.Lock()
	var tracked []*trackedReload
	for _, tr := range t.tracked {
		tracked = append(tracked, tr)
	}
	t.mu.Unlock()
	each(tracked, func(tr *trackedReload) {
		r, err := tr.reload, waitError(ctx, tr.reload.ID, tr.reload, nil)
		if t.options.cancel && tr.own && context.Cause(ctx) != errStopped {
			r, err = t.client.abort(ctx, r, err)
		}
		t.end(tr, r, err)
	})
	return len(tracked) > 0
}

// end reports the result of a tracked reload.
func (t *tracker) end(tr *trackedReload, r *Reload, err error) {
	t.mu.Lock()
	delete(t.tracked, tr.reload.ID)
	results := tr.results
	t.mu.Unlock()
	if r.Status != tr.reload.Status {
		t.options.onChange(tr.request, r)
	}
	for range results {
		t.report(Result{Request: tr.request, Reload: r, Err: err})
	}
}

// each calls f for all tracked reloads, a few at a time.
func each(tracked []*trackedReload, f func(*trackedReload)) {
	var wg sync.WaitGroup
	next := make(chan *trackedReload)
	for range min(concurrentPolls, len(tracked)) {
		wg.Go(func() {
			for tr := range next {
				f(tr)
			}
		})
	}
	for _, tr := range tracked {
		next <- tr
	}
	close(next)
	wg.Wait()
}
