package reloads

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tracker polls the reloads of a batch until they have finished. Two loops share one budget, 80 % of Tier 1, so that
// other callers of the client are not delayed:
//
//   - The feed lists the tenant's reloads that changed last, up to 100 per request.
//   - Single polls get one reload each, least recently polled first. They find the reloads that the feed does not
//     contain, and all reloads if the token may not list the tenant or the list fails.
type tracker struct {
	client *Client
	budget *WindowLimiter
	events eventQueue[event]
	outage outage
	done   func(app string) // called when the request of an app has its result

	mu        sync.Mutex
	tracked   map[string]*trackedReload // by the ID of the reload
	closed    bool                      // no more reloads are added
	abandon   func(*trackedReload)      // finishes a reload after ctx has ended; nil until then
	changed   chan struct{}             // closed and replaced when something has changed
	urgent    []*trackedReload          // the next to poll, most urgent first; some may have finished
	scanFrom  time.Time                 // no reload is due before
	covered   time.Time                 // the feed should have found what ended earlier, by the server clock
	missed    time.Time                 // when a single poll found an end that the feed should have found; zero if none did
	listsFrom time.Time                 // no feed lists before
	feedWorks bool                      // the most recent pass of the feed succeeded
	oldest    time.Time                 // creation of the oldest reload added since the most recent pass
}

type trackedReload struct {
	id       string      // the key in tracked; a response may spell the ID differently
	request  Request     // the first one whose reload it is; OnChange receives it
	requests []Request   // all of them; one result for each
	reload   *Reload     // the most recent state
	own      atomic.Bool // the batch triggered it
	polling  bool        // a poll is in flight
	due      time.Time
	polled   time.Time
	added    time.Time
	health   pollHealth
	reported *Reload // the state that OnChange received last; used only by the goroutine that ranges
}

// event is a change of a tracked reload, a result, or both.
type event struct {
	tracked *trackedReload
	result  *Result
}

const (
	budgetPerMinute   = Tier1PerMinute * 8 / 10
	pollCost          = time.Minute / budgetPerMinute
	concurrentPolls   = 8
	minForFeed        = 4           // with fewer tracked reloads, the feed does not begin
	singlePollSpacing = time.Second // between single polls while the feed works
	maxUrgent         = 100         // reloads that are selected at once, because comparing all takes time
)

func newTracker(c *Client) tracker {
	return tracker{
		client: c, budget: NewLimiter(budgetPerMinute, time.Minute), events: eventQueue[event]{ready: make(chan struct{}, 1)},
		tracked: map[string]*trackedReload{}, changed: make(chan struct{}), done: func(string) {},
	}
}

// add tracks a reload, which may have finished. A batch may contain the same reload several times.
func (t *tracker) add(req Request, r *Reload, own bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.tracked[r.ID]; known != nil {
		known.requests = append(known.requests, req)
		known.own.CompareAndSwap(false, own)
		if r.Ended() {
			t.setState(known, r)
		}
		return
	}
	tr := &trackedReload{id: r.ID, request: req, requests: []Request{req}, reload: r, added: now, polled: now}
	tr.own.Store(own)
	tr.health.firstSeen = t.client.seen.get(r.ID).at
	tr.due = now.Add(t.client.polling.interval(0))
	t.tracked[r.ID] = tr
	t.oldest = earlier(t.oldest, r.CreationTime)
	t.events.push(event{tracked: tr})
	switch {
	case r.Ended():
		t.finish(tr, r.Err())
	case t.abandon != nil:
		t.abandon(tr)
	}
	t.wake()
}

// close records that no more reloads are added.
func (t *tracker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.wake()
}

// wake makes the waiting goroutines of the tracker check its state again. The caller holds t.mu.
func (t *tracker) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// pollAll polls single reloads until every reload has finished or ctx has ended.
func (t *tracker) pollAll(ctx context.Context) {
	var polls sync.WaitGroup
	defer polls.Wait()
	slots := make(chan struct{}, concurrentPolls)
	for ctx.Err() == nil {
		tr, wait, changed := t.next(time.Now())
		if changed == nil {
			return
		}
		if tr == nil {
			waitForChange(ctx, wait, changed)
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if t.budget.Wait(ctx) != nil { // also if the next poll would start after the deadline
			<-ctx.Done()
			return
		}
		polls.Go(func() {
			t.pollOne(ctx, tr)
			<-slots
		})
		_ = sleep(ctx, wait) // so that polls are spread evenly
	}
}

// next returns the reload to poll now: of those that are due, the least recently polled one. wait is the time until the
// next call of next. If none is due, it returns nil and the time until one may be due. changed is nil if nothing is left
// to track.
func (t *tracker) next(now time.Time) (next *trackedReload, wait time.Duration, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tracked) == 0 && t.closed {
		return nil, 0, nil
	}
	if len(t.urgent) == 0 && !now.Before(t.scanFrom) {
		t.selectUrgent(now)
	}
	for next == nil && len(t.urgent) > 0 {
		if tr := t.urgent[0]; t.tracked[tr.id] == tr {
			next = tr
			tr.polling = true
		}
		t.urgent = t.urgent[1:]
	}
	switch {
	case next == nil:
		wait = t.scanFrom.Sub(now)
	case t.feedWorks:
		wait = singlePollSpacing
	default:
		wait = pollCost // the feed gets every second request, if it needs that many
	}
	return next, wait, t.changed
}

// selectUrgent selects the next reloads to poll. The caller holds t.mu.
func (t *tracker) selectUrgent(now time.Time) {
	wait := t.client.polling.MinInterval // a reload that is added later is not due earlier
	var due []*trackedReload
	for _, tr := range t.tracked {
		if w := tr.due.Sub(now); w > 0 {
			wait = min(wait, w)
		} else if !tr.polling {
			due = append(due, tr)
		}
	}
	slices.SortFunc(due, func(a, b *trackedReload) int { return a.polled.Compare(b.polled) })
	t.urgent = slices.Clone(due[:min(len(due), maxUrgent)])
	t.scanFrom = now.Add(max(wait, pollCost))
}

// pollOne polls one reload.
func (t *tracker) pollOne(ctx context.Context, tr *trackedReload) {
	last := t.state(tr)
	r, _, err := t.client.poll(ctx, last.ID, true)
	var final error
	if err == nil {
		t.outage.succeeded()
		tr.health.succeeded(time.Now())
	} else if ctx.Err() == nil {
		final = t.client.pollError(ctx, last.ID, last, err, &tr.health, &t.outage)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case final != nil:
		t.finish(tr, final)
	case err == nil:
		if r.Ended() && r.EndTime.Before(t.covered) { // or without an end time
			t.missed = time.Now()
			t.feedWorks = false
		}
		t.setState(tr, r)
	}
	tr.polling, tr.polled = false, time.Now()
	tr.due = tr.polled.Add(t.client.polling.interval(tr.polled.Sub(tr.added)))
}

// update stores the state of a reload, if it is tracked. It reports whether the reload has just finished.
func (t *tracker) update(r *Reload) (finished bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tr := t.tracked[r.ID]
	if tr != nil {
		t.setState(tr, r)
	}
	return tr != nil && t.tracked[r.ID] == nil
}

// setState stores the state of a reload. A list may be behind a single poll, so an earlier state is ignored. The caller
// holds t.mu.
func (t *tracker) setState(tr *trackedReload, r *Reload) {
	active := []Status{StatusQueued, StatusReloading, StatusCanceling} // in this order
	if t.tracked[tr.id] != tr || !r.Ended() && slices.Index(active, r.Status) < slices.Index(active, tr.reload.Status) {
		return
	}
	changed := tr.reload.Status != r.Status
	state := *r // a copy, because r would keep its page in memory
	tr.reload = &state
	switch {
	case r.Ended():
		t.finish(tr, state.Err())
	case changed:
		t.events.push(event{tracked: tr})
	}
}

// finishAs finishes a reload with the given state and error, unless it has already finished.
func (t *tracker) finishAs(tr *trackedReload, r *Reload, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tracked[tr.id] == tr {
		tr.reload = r
		t.finish(tr, err)
	}
}

// finish reports the results of a reload and stops tracking it. The caller holds t.mu.
func (t *tracker) finish(tr *trackedReload, err error) {
	if t.tracked[tr.id] != tr {
		return
	}
	delete(t.tracked, tr.id)
	if tr.reload.Ended() {
		t.client.seen.end(tr.id)
	}
	for _, req := range tr.requests {
		t.events.push(event{tracked: tr, result: &Result{Request: req, Reload: tr.reload, Err: err}})
		t.done(req.AppID)
	}
	if len(t.tracked) == 0 {
		t.wake()
	}
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

// abandonAll calls f for each reload that is tracked now or added later. It holds t.mu, so f must not block.
func (t *tracker) abandonAll(f func(*trackedReload)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abandon = f
	for _, tr := range t.tracked {
		f(tr)
	}
}
