package reloads

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// follower looks after the reloads of a batch until they have ended. A look is a sweep, which lists all active
// reloads of the tenant, 100 a request, and fetches the ones that have left that list; or, where the token may not
// list the tenant or the sweep would cost more, it fetches those that are due, one by one. Its looks leave a fifth of
// what Tier 1 allows to others: single looks in any minute, sweeps, which come in bursts, on average.
type follower struct {
	client  *Client
	options runOptions
	report  func(Result) // called by one goroutine or several

	mu      sync.Mutex
	flights map[string]*flight // by the id of the reload
	closed  bool               // no more are added
	changed chan struct{}      // of size 1: flights or closed

	// These are follow's alone.
	sweeps bool      // the token may list the tenant
	pages  int       // of the latest sweep
	pace   time.Time // no look before
}

// flight is a reload that is followed.
type flight struct {
	request Request
	reload  *Reload // as last known
	own     bool    // the batch triggered it
	times   int     // how many results it has
	seen    bool    // a look has found it
	added   time.Time
	due     time.Time // to be looked at
}

const (
	perLook = time.Minute * 100 / (79 * Tier1PerMinute) // the time that a request takes up of not quite 80 % of Tier 1
	getters = 8                                         // single looks at once
)

// add follows a reload. A batch may have the same one several times.
func (f *follower) add(req Request, r *Reload, own bool) {
	f.options.change(req, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.flights[r.ID]; known != nil {
		known.times++
		return
	}
	fl := &flight{request: req, reload: r, own: own, times: 1, added: time.Now()}
	f.postpone(fl)
	f.flights[r.ID] = fl
	f.signal()
}

// close says that no more are added.
func (f *follower) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.signal()
}

func (f *follower) signal() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// follow looks until every flight has ended, or ctx has.
func (f *follower) follow(ctx context.Context) {
	for {
		due, wait, over := f.next()
		switch {
		case over:
			return
		case ctx.Err() != nil:
			if f.abandon(ctx) {
				continue // these may have been all
			}
			wait = time.Hour // for those that are still being added
		case wait <= 0:
			f.look(ctx, due)
			continue
		}
		timer := time.NewTimer(wait)
		ended := ctx.Done()
		if ctx.Err() != nil {
			ended = nil
		}
		select {
		case <-timer.C:
		case <-f.changed:
		case <-ended:
		}
		timer.Stop()
	}
}

// next is what is due, most urgent first, at most getters; or how long that is away. over means that nothing is
// left and nothing comes.
func (f *follower) next() (due []*flight, wait time.Duration, over bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.flights) == 0 {
		return nil, time.Hour, f.closed
	}
	now := time.Now()
	wait = time.Hour
	for _, fl := range f.flights {
		wait = min(wait, fl.due.Sub(now))
		if !fl.due.After(now) {
			due = append(due, fl)
		}
	}
	slices.SortFunc(due, func(a, b *flight) int { return a.due.Compare(b.due) })
	return due[:min(len(due), getters)], max(wait, f.pace.Sub(now)), false
}

// look looks at the flights in the cheaper way, and sets the pace by what it cost.
func (f *follower) look(ctx context.Context, due []*flight) {
	began := time.Now()
	f.mu.Lock()
	n := len(f.flights)
	f.mu.Unlock()
	cost := 0
	if f.sweeps && n > f.pages {
		due, cost = f.sweep(ctx)
	}
	f.get(ctx, due)
	f.pace = began.Add(time.Duration(cost+len(due)) * perLook)
	if again := began.Add(f.client.polling.MinInterval); cost > 0 && f.pace.Before(again) {
		f.pace = again // a sweep that failed at once is not tried again at once
	}
}

// sweep lists the active reloads of the tenant. It returns the flights that are not among them, and how many requests
// it took.
func (f *follower) sweep(ctx context.Context) (gone []*flight, cost int) {
	began := time.Now()
	active := map[string]bool{}
	for page, err := range f.client.Pages(ctx, ListOptions{Filter: activeOnly, Limit: maxLimit}) {
		cost++
		if err != nil {
			// The flights stay due. If the token is refused, looking at one of them tells.
			f.sweeps = !errors.Is(err, ErrForbidden) && !errors.Is(err, ErrBadRequest) && !errors.Is(err, ErrUnauthorized)
			f.client.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: the tenant's list cannot be read, going on",
				slog.Bool("by_single_looks", !f.sweeps), slog.String("error", withoutBody(err)))
			return nil, cost
		}
		for i := range page.Reloads {
			f.update(&page.Reloads[i])
			active[page.Reloads[i].ID] = true
		}
	}
	f.pages = max(1, cost)
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, fl := range f.flights {
		if !active[id] && fl.added.Before(began) {
			gone = append(gone, fl)
		}
	}
	return gone, cost
}

// update notes the state of a reload that is active, if it is one of ours.
func (f *follower) update(r *Reload) {
	f.mu.Lock()
	fl := f.flights[r.ID]
	changed := fl != nil && fl.reload.Status != r.Status
	if fl != nil {
		state := *r // apart from its page, which would stay in memory with it
		fl.reload, fl.seen = &state, true
		f.postpone(fl)
	}
	f.mu.Unlock()
	if changed {
		f.options.change(fl.request, fl.reload)
	}
}

// postpone sets when the flight is due again. Its age is taken to begin when it was added.
func (f *follower) postpone(fl *flight) {
	now := time.Now()
	fl.due = now.Add(f.client.polling.interval(now.Sub(fl.added)))
}

// get looks at single flights.
func (f *follower) get(ctx context.Context, flights []*flight) {
	each(flights, func(fl *flight) {
		r, _, err := f.client.look(ctx, fl.reload.ID)
		switch {
		case err != nil && ctx.Err() != nil: // abandon sees to it
		case err == nil && r.Ended():
			f.end(fl, r, r.Err())
		case err == nil:
			f.update(r)
		case f.client.endsWatch(err, fl.seen, time.Since(fl.added)):
			f.end(fl, fl.reload, err)
		default:
			f.client.logger.LogAttrs(ctx, slog.LevelWarn, "reloads: poll failed, going on",
				slog.String("reload", fl.reload.ID), slog.String("error", withoutBody(err)))
			f.mu.Lock()
			f.postpone(fl)
			f.mu.Unlock()
		}
	})
}

// abandon ends all flights, since ctx has, and reports whether there were any.
func (f *follower) abandon(ctx context.Context) bool {
	f.mu.Lock()
	var flights []*flight
	for _, fl := range f.flights {
		flights = append(flights, fl)
	}
	f.mu.Unlock()
	each(flights, func(fl *flight) {
		r, err := fl.reload, gaveUpWaiting(ctx, fl.reload.ID, fl.reload, nil)
		if f.options.cancel && fl.own && context.Cause(ctx) != errBroken {
			r, err = f.client.abort(ctx, r, err)
		}
		f.end(fl, r, err)
	})
	return len(flights) > 0
}

// end reports a flight that is over.
func (f *follower) end(fl *flight, r *Reload, err error) {
	f.mu.Lock()
	delete(f.flights, fl.reload.ID)
	times := fl.times
	f.mu.Unlock()
	if r.Status != fl.reload.Status {
		f.options.change(fl.request, r)
	}
	for range times {
		f.report(Result{Request: fl.request, Reload: r, Err: err})
	}
}

// each calls do for all flights, for some of them at once.
func each(flights []*flight, do func(*flight)) {
	var wg sync.WaitGroup
	next := make(chan *flight)
	for range min(getters, len(flights)) {
		wg.Go(func() {
			for fl := range next {
				do(fl)
			}
		})
	}
	for _, fl := range flights {
		next <- fl
	}
	close(next)
	wg.Wait()
}
