package reloads

import (
	"context"
	"slices"
	"sync"
	"time"
)

// tracker polls the reloads of a batch until they have finished. Two loops share one budget, 80 % of Tier 1, so that
// other callers are not held up:
//
//   - The feed lists what has changed in the tenant, latest first, 100 reloads per request.
//   - The net polls single reloads, least recently polled first. It finds what the feed does not: a reload that the
//     list does not contain, and everything if the token may not list the tenant or the list fails.
type tracker struct {
	client *Client
	budget *WindowLimiter
	events eventQueue
	outage outage
	done   func(app string) // called when the request of an app has its result

	mu      sync.Mutex
	tracked map[string]*trackedReload // by the ID of the reload
	closed  bool                      // no more are added
	abandon func(*trackedReload)      // ends a reload because ctx has ended; nil until then
	changed chan struct{}             // closed and replaced when something has changed
	fed     bool                      // the most recent pass of the feed succeeded
	oldest  time.Time                 // creation of the oldest reload added since the most recent pass

	listsFrom time.Time // no feed lists before
}

type trackedReload struct {
	request Request
	reload  *Reload // the most recent state
	own     bool    // the batch triggered it
	results int     // how many results it has
	polling bool    // a poll is in flight
	due     time.Time
	polled  time.Time
	added   time.Time
	health  pollHealth

	reported *Reload // the state that OnChange saw; used by the loop only
}

// event is a change of a tracked reload, a result, or both.
type event struct {
	tracked *trackedReload
	result  *Result
}

// eventQueue passes events to the loop over the results. It is not limited, so that a slow loop delays nothing.
type eventQueue struct {
	mu     sync.Mutex
	events []event
	ready  chan struct{} // of size 1: there are events
}

func (q *eventQueue) push(e event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events = append(q.events, e)
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take returns all events.
func (q *eventQueue) take() []event {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events = nil
	return events
}

const (
	budgetPerMinute = Tier1PerMinute * 8 / 10
	pollCost        = time.Minute / budgetPerMinute
	concurrentPolls = 8
	minFed          = 4           // fewer reloads are polled singly only
	netSpacing      = time.Second // between single polls while the feed works
)

func newTracker(c *Client) tracker {
	return tracker{
		client: c, budget: NewLimiter(budgetPerMinute, time.Minute), events: eventQueue{ready: make(chan struct{}, 1)},
		tracked: map[string]*trackedReload{}, changed: make(chan struct{}), done: func(string) {},
	}
}

// add tracks a reload, which may have finished. A batch may contain the same one several times.
func (t *tracker) add(req Request, r *Reload, own bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.tracked[r.ID]; known != nil {
		known.results++
		return
	}
	tr := &trackedReload{request: req, reload: r, own: own, results: 1, added: now, polled: now}
	named := t.client.named.first(r.ID) // not zero if the batch triggered it or attached to it
	tr.health = pollHealth{named: named, worked: !named.IsZero()}
	tr.due = now.Add(t.client.polling.interval(0))
	t.tracked[r.ID] = tr
	if t.oldest.IsZero() || r.CreationTime.Before(t.oldest) {
		t.oldest = r.CreationTime
	}
	t.events.push(event{tracked: tr})
	switch {
	case r.Ended():
		t.finish(tr, r.Err())
	case t.abandon != nil:
		t.abandon(tr)
	}
	t.wake()
}

// close declares that no more reloads are added.
func (t *tracker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.wake()
}

// wake makes the loops check what to do. The caller holds t.mu.
func (t *tracker) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// poll runs the net until every reload has finished or ctx has ended.
func (t *tracker) poll(ctx context.Context) {
	var polls sync.WaitGroup
	defer polls.Wait()
	slots := make(chan struct{}, concurrentPolls)
	for ; ctx.Err() == nil; _ = sleep(ctx, pollCost) { // in an even stream
		tr, wait, changed := t.next(time.Now())
		if changed == nil {
			return
		}
		if tr == nil {
			pause(ctx, wait, changed)
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if t.budget.Wait(ctx) != nil { // also if its turn would come after the deadline
			<-ctx.Done()
			return
		}
		polls.Go(func() {
			t.pollOne(ctx, tr)
			<-slots
		})
	}
}

// next returns the reload to poll now, or nil and the wait until there is one. changed is nil if there is nothing left
// to track.
func (t *tracker) next(now time.Time) (next *trackedReload, wait time.Duration, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tracked) == 0 && t.closed {
		return nil, 0, nil
	}
	var spacing time.Duration // between two polls of the same reload
	if t.fed {
		spacing = time.Duration(len(t.tracked)) * netSpacing
	}
	wait = time.Hour
	for _, tr := range t.tracked {
		if tr.polling {
			continue
		}
		if w := max(tr.due.Sub(now), tr.polled.Add(spacing).Sub(now)); w < wait {
			next, wait = tr, w
		}
	}
	if wait > 0 {
		return nil, wait, t.changed
	}
	next.polling = true
	return next, 0, t.changed
}

// pause waits for d, until something has changed, or until ctx has ended.
func pause(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
	}
}

// pollOne polls one reload.
func (t *tracker) pollOne(ctx context.Context, tr *trackedReload) {
	last := t.state(tr)
	r, _, err := t.client.poll(ctx, last.ID)
	switch {
	case err == nil:
		t.outage.succeeded()
		tr.health.succeeded(time.Now())
		t.update(r)
	case ctx.Err() == nil:
		tr.health.worked = tr.health.worked || t.outage.hasWorked()
		if err = t.client.pollError(ctx, last.ID, last, err, &tr.health, &t.outage); err != nil {
			t.end(tr, last, err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tr.polling, tr.polled = false, time.Now()
	tr.due = tr.polled.Add(t.client.polling.interval(tr.polled.Sub(tr.added)))
	t.wake()
}

// update stores the state of a reload, if it is tracked.
func (t *tracker) update(r *Reload) (tracked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tr := t.tracked[r.ID]
	if tr == nil {
		return false
	}
	if isEarlier(r, tr.reload) {
		return true
	}
	changed := tr.reload.Status != r.Status
	state := *r // a copy, because r would keep its page in memory
	tr.reload = &state
	switch {
	case r.Ended():
		t.finish(tr, r.Err())
	case changed:
		t.events.push(event{tracked: tr})
	}
	return true
}

// isEarlier reports whether r is an earlier state of a reload than known. A list may be behind a single poll.
func isEarlier(r, known *Reload) bool {
	active := []Status{StatusQueued, StatusReloading, StatusCanceling} // in this order
	return !r.Ended() && slices.Index(active, r.Status) < slices.Index(active, known.Status)
}

// end finishes a reload in the given state.
func (t *tracker) end(tr *trackedReload, r *Reload, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tracked[tr.reload.ID] == tr {
		tr.reload = r
		t.finish(tr, err)
	}
}

// finish reports the results of a reload and stops tracking it. The caller holds t.mu.
func (t *tracker) finish(tr *trackedReload, err error) {
	if t.tracked[tr.reload.ID] != tr {
		return
	}
	delete(t.tracked, tr.reload.ID)
	for range tr.results {
		t.events.push(event{tracked: tr, result: &Result{Request: tr.request, Reload: tr.reload, Err: err}})
	}
	t.done(tr.request.AppID)
	t.wake()
}

// report adds the result of a request without a tracked reload.
func (t *tracker) report(r Result) {
	t.events.push(event{result: &r})
	t.done(r.Request.AppID)
}

// state returns the most recent state of a reload.
func (t *tracker) state(tr *trackedReload) *Reload {
	t.mu.Lock()
	defer t.mu.Unlock()
	return tr.reload
}

// abandonAll calls f, in a goroutine, for each reload that is tracked now or added later.
func (t *tracker) abandonAll(f func(*trackedReload)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abandon = f
	for _, tr := range t.tracked {
		f(tr)
	}
}
