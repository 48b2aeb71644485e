package reloads

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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

	// received and ended are called with the steps that wait for a reload, while t.mu is held: at each state of it that is
	// received, and when the wait ends.
	received func(*step, origin, *Reload)
	ended    func(st *step, o origin, r *Reload, err error)
	done     func() // called when nothing is left to track; it ends the loops and the polls in flight

	mu        sync.Mutex
	tracked   map[string]*trackedReload // by the ID of the reload
	closed    bool                      // no more reloads are added
	abandon   func(*trackedReload)      // finishes a reload after ctx has ended; nil until then
	changed   chan struct{}             // closed and replaced when something has changed
	hinted    []*trackedReload          // to poll now, because of hints
	crowd     chan struct{}             // has a value if the feed should list now, because many are hinted; capacity 1
	urgent    []*trackedReload          // the next to poll, most urgent first; some may have finished
	pollFrom  time.Time                 // no reload is polled before, except those that are hinted
	afterHint bool                      // the most recent poll was because of a hint
	scanFrom  time.Time                 // no reload is due before
	covered   time.Time                 // the feed should have found what ended earlier, by the server clock
	missed    time.Time                 // when a single poll found an end that the feed should have found; zero if none did
	listsFrom time.Time                 // no feed lists before
	feedWorks bool                      // the most recent pass of the feed succeeded
	oldest    time.Time                 // creation of the oldest reload added since the most recent pass
}

type trackedReload struct {
	id       string  // the key in tracked; a response may spell the ID differently
	first    *step   // OnChange receives its request
	steps    []*step // all that wait for it
	reload   *Reload // the most recent state
	timeout  error   // why it is canceled, or nil
	stop     func()  // ends its cancel; nil without timeout
	unseen   streak  // polls that failed since a response contained it
	origin   origin
	polling  bool // a poll is in flight
	hinted   bool // it is in tracker.hinted
	asked    bool // the most recent poll was because of a hint
	tries    int8 // polls because of a hint that failed
	due      time.Time
	polled   time.Time
	created  time.Time
	health   pollHealth // used by the poll in flight
	reported *Reload    // the state that OnChange received last; used only by the goroutine that ranges
}

// origin says why a batch tracks a reload.
type origin int8

const (
	triggered origin = iota // a step triggered it
	resumed                 // it is an earlier run of a step, under the key of Once
	given                   // the caller of WaitAll passed it
	attached                // a step attached to the pending reload of its app
	blocking                // a step waits for its end before it triggers its own
	foreign                 // somebody else triggered it, and the step does not wait for it
)

// event is a change of a tracked reload, a result, or both.
type event struct {
	tracked *trackedReload
	result  *Result
}

// budgetPerMinute is 80 % of Tier 1, less the requests that may wait for the client's own limiter and start late: those
// of polls, look-ups and two feeds.
const budgetPerMinute = Tier1PerMinute*8/10 - concurrentPolls - concurrentLookUps - 2

const (
	pollCost          = time.Minute / budgetPerMinute
	concurrentPolls   = 8
	concurrentLookUps = 8
)

func newTracker(c *Client) tracker {
	return tracker{
		client: c, budget: NewLimiter(budgetPerMinute, time.Minute), events: newEventQueue[event](),
		tracked: map[string]*trackedReload{}, changed: make(chan struct{}), crowd: make(chan struct{}, 1),
	}
}

// add tracks a reload, which may have finished, for a step. A batch may contain the same reload several times.
func (t *tracker) add(st *step, o origin, r *Reload) *trackedReload {
	now, id := time.Now(), strings.ToLower(r.ID)
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.tracked[id]; known != nil {
		known.steps = append(known.steps, st)
		return known
	}
	created := now // by the client's clock, which is sufficient for the interval of polls
	if age := between(r.CreationTime, now); o != triggered && age < maxPending {
		created = now.Add(-age)
	}
	tr := &trackedReload{id: id, first: st, steps: []*step{st}, origin: o, reload: r, created: created, polled: now}
	tr.health.firstSeen = t.client.seen.get(r.ID).at
	tr.due = now.Add(t.client.polling.MinInterval)
	t.scanFrom = earlier(t.scanFrom, tr.due)
	t.tracked[id] = tr
	t.oldest = earlier(t.oldest, r.CreationTime)
	t.events.push(event{tracked: tr})
	switch {
	case r.Ended():
		t.finish(tr, r.Err())
	case t.abandon != nil:
		t.abandon(tr)
	}
	t.wake()
	return tr
}

// close records that no more reloads are added.
func (t *tracker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.checkDone()
}

// wake makes the waiting goroutines of the tracker check its state again. The caller holds t.mu.
func (t *tracker) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// update stores the listed state of a reload, if it is tracked. It reports whether the reload has just finished.
func (t *tracker) update(r *Reload) (finished bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tr := t.tracked[strings.ToLower(r.ID)]
	if tr != nil {
		t.setState(tr, r)
	}
	return tr != nil && t.tracked[tr.id] == nil
}

// setState stores the state of a reload. A list may be behind a single poll, so an earlier state is ignored. The caller
// holds t.mu.
func (t *tracker) setState(tr *trackedReload, r *Reload) {
	tr.unseen = streak{}
	active := []Status{StatusQueued, StatusReloading, StatusCanceling} // in this order
	at := slices.Index(active, r.Status)
	if t.tracked[tr.id] != tr || at >= 0 && at < slices.Index(active, tr.reload.Status) {
		return
	}
	for _, st := range tr.steps {
		t.received(st, tr.origin, r)
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

// finish ends the wait for a reload. The caller holds t.mu.
func (t *tracker) finish(tr *trackedReload, err error) {
	if t.tracked[tr.id] != tr {
		return
	}
	delete(t.tracked, tr.id)
	if tr.reload.Ended() {
		t.client.seen.end(tr.reload)
	}
	if tr.timeout != nil {
		tr.stop()
		if err != nil && !errors.Is(err, tr.timeout) {
			err = fmt.Errorf("%w: %w", tr.timeout, err)
		}
	}
	t.events.push(event{tracked: tr})
	for _, st := range tr.steps {
		t.ended(st, tr.origin, tr.reload, err)
	}
	t.checkDone()
}

func (t *tracker) checkDone() {
	if len(t.tracked) == 0 && t.closed {
		t.done()
	}
}

// state returns the most recent state of a reload, and its origin.
func (t *tracker) state(tr *trackedReload) (*Reload, origin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return tr.reload, tr.origin
}

// timedOut records that a reload is canceled, and why. stop is called when it has finished. It returns false if it has, or
// is being canceled.
func (t *tracker) timedOut(tr *trackedReload, err error, stop func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tracked[tr.id] != tr || tr.timeout != nil {
		return false
	}
	tr.timeout, tr.stop = err, stop
	return true
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
