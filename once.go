package reloads

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// With Once, the service is the journal of a batch: each run of a step has a ResourceID that every process computes
// alike, and the app's newest reloads show which runs there were.

const (
	oncePage = 20   // page size of the look-ups after the first one
	onceRuns = 1000 // maximum number of runs of a step under one key

	// listDelay is how late a reload may be listed. Nothing is triggered in the first seconds of a batch, so that the
	// reloads of a process that was killed just before are listed.
	listDelay = 3 * time.Second

	maxListFailure = time.Minute // how long the lists for the first reload of a batch may fail
	lookUpOverlap  = time.Minute // how far a look-up reaches back before the one before, because clocks may differ
)

// identify gives each step the identity of its ResourceIDs, or the reason why it cannot have one.
func identify(steps []*step, key string) {
	occurrences := map[string]int{}
	for _, st := range steps {
		canonical, err := st.request.encode()
		if err == nil {
			err = st.request.validate()
		}
		if id := st.request.ResourceID; err == nil && id != "" {
			err = invalid("ResourceID", fmt.Sprintf("%q", id), "must be empty, because Once sets it")
		}
		if err != nil {
			st.invalid = err
			continue
		}
		n := occurrences[string(canonical)]
		occurrences[string(canonical)]++
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %s", key, n, canonical))
		st.identity = sum[:]
	}
}

// resourceID returns the ResourceID of a run: 24 hexadecimal digits, like the service's own.
func (st *step) resourceID(run int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%x %d", st.identity, run))
	return hex.EncodeToString(sum[:12])
}

// earlierRuns is what the app's newest reloads show about a step. It is an error, because it ends a trigger.
type earlierRuns struct {
	reload  *Reload // that the step waits for; nil if its next run is to be triggered
	origin  origin  // of the reload
	run     int     // its number or, if it is nil, that of the next run
	ended   *Reload // if reload is nil: the most recent run, which did not succeed; nil if there is none
	pending *Reload // if reload is nil: the pending reload of the app, which belongs to no step; nil if there is none
}

func (e *earlierRuns) Error() string {
	return fmt.Sprintf("reloads: reload %s is a run of the step", cmp.Or(e.reload, e.ended).ID)
}

// lookUp returns the earlier runs of a step, from the app's newest reloads: the first time maxListed of them, afterwards
// those since then. The number of a run that did not succeed may have been used again by a process whose list was
// behind, so it considers all numbers.
func (b *batch) lookUp(ctx context.Context, st *step) (*earlierRuns, error) {
	size := maxPageSize
	if !st.lookedUp.IsZero() {
		size = oncePage
	}
	newest, err := b.listNewest(ctx, st.request.AppID, size, st.lookedUp)
	if err != nil {
		if ctx.Err() != nil {
			err = &expiredError{err}
		}
		return nil, fmt.Errorf("reloads: looking up the earlier runs: %w", err)
	}
	st.listed, st.lookUpTook = newest.sent, newest.took
	if st.lookedUp.IsZero() && len(newest.all) > 0 {
		st.lookedUp = earlier(newest.now, newest.all[0].CreationTime).Add(-lookUpOverlap)
	}
	e := &earlierRuns{run: st.run}
	for run := 1; run <= onceRuns && len(newest.reloads) > 0; run++ {
		r := newest.reloads[st.resourceID(run)]
		if r == nil {
			continue
		}
		switch {
		case r.Ended() && r.Err() == nil:
			return &earlierRuns{reload: r, origin: resumed, run: run}, nil
		case b.mayCount(r, newest.now):
			e.reload, e.origin, e.run = r, resumed, run
		case e.reload == nil:
			e.run, e.ended = max(e.run, run+1), r
		}
	}
	if e.run > onceRuns {
		return nil, fmt.Errorf("reloads: the step has had %d runs under its key", onceRuns)
	}
	if e.reload == nil {
		e.reload, e.pending = b.otherStep(st, newest)
		e.origin = blocking
	}
	return e, nil
}

// otherStep returns the active reload that belongs to another step of the batch, or nil. The service would refuse the
// trigger of this step while that reload is active. pending is the newest active reload if none belongs to a step.
func (b *batch) otherStep(st *step, newest newestReloads) (r, pending *Reload) {
	active := map[string]*Reload{}
	for i := range newest.all {
		if r := &newest.all[i]; b.isActive(r, newest.now) {
			active[r.ResourceID] = r
			pending = cmp.Or(pending, r)
		}
	}
	if pending == nil {
		return nil, nil
	}
	for _, other := range b.schedule.steps {
		if other.app() != st.app() {
			continue
		}
		for run := 1; run <= onceRuns; run++ {
			if r := active[other.resourceID(run)]; r != nil {
				return r, nil
			}
		}
	}
	return nil, pending
}

// mayCount reports whether a listed run may be active or have SUCCEEDED: it has not ended according to the list, which may
// be behind, is not older than any reload can be, and did not fail as far as the client knows. now is by the server clock.
func (b *batch) mayCount(r *Reload, now time.Time) bool {
	return !r.Ended() && between(r.CreationTime, now) < maxPending && !b.client.seen.get(r.ID).failed
}

// isActive reports whether a listed reload is active, as far as the client knows.
func (b *batch) isActive(r *Reload, now time.Time) bool {
	return b.mayCount(r, now) && !b.client.seen.get(r.ID).end
}

// newestReloads are the newest reloads of an app.
type newestReloads struct {
	all     []Reload           // newest first
	reloads map[string]*Reload // by their ResourceID
	now     time.Time          // of the first page, by the server clock
	sent    time.Time          // when the first request was sent
	took    time.Duration      // how long the requests took, without failed ones and waits
}

// rank orders the reloads with the same ResourceID, which two processes have triggered at the same time.
func (b *batch) rank(r *Reload, now time.Time) int {
	switch {
	case r.Ended() && r.Err() == nil:
		return 2
	case b.mayCount(r, now):
		return 1
	}
	return 0
}

// listNewest lists the newest reloads of an app: maxListed of them, or fewer if a page reaches back to until. It returns
// an error if it cannot tell whether they are the newest ones.
func (b *batch) listNewest(ctx context.Context, app string, size int, until time.Time) (n newestReloads, err error) {
	query, _ := ListOptions{AppID: app, PageSize: size, Sort: SortNewestFirst}.query() // these options are valid
	w := newWalk(query)
	n.reloads = map[string]*Reload{}
	for more := true; more && len(n.all) < maxListed; {
		page, date, invalid, err := b.listPage(ctx, w.query)
		if err != nil {
			return newestReloads{}, err
		}
		if len(invalid) > 0 { // it may be the record of an earlier run
			return newestReloads{}, invalid[0]
		}
		n.now, n.sent, n.took = earlier(n.now, date.now()), earlier(n.sent, date.sent), n.took+date.received.Sub(date.sent)
		for i := range page.Reloads {
			r := &page.Reloads[i]
			if otherApp(r, app) {
				return newestReloads{}, fmt.Errorf("the list of app %s contains reload %s of app %s", app, r.ID, r.AppID)
			}
			if known := n.reloads[r.ResourceID]; r.ResourceID != "" && (known == nil || b.rank(r, n.now) > b.rank(known, n.now)) {
				n.reloads[r.ResourceID] = r
			}
		}
		n.all = append(n.all, page.Reloads...) // some again, if the list has grown since the page before
		if more, err = w.advance(page); err != nil {
			return newestReloads{}, err
		}
		if more && !newestFirst(page.Reloads) {
			return newestReloads{}, errNotSorted
		}
		more = more && !reachesBack(n.all, until)
	}
	return n, nil
}

// listPage returns a page. Each attempt counts against the budget of the batch.
func (b *batch) listPage(ctx context.Context, query string) (page *Page, date serverDate, invalid []error, err error) {
	for retries := 0; ; retries++ {
		err = b.withinBudget(ctx, func() error {
			page, date, invalid, err = b.client.listValid(ctx, query, true)
			return cmp.Or(err, date.stored())
		})
		if err == nil || ctx.Err() != nil || !b.client.retry.shouldRetry(opList, err, retries) {
			return page, date, invalid, err
		}
		_ = sleep(ctx, b.client.retry.wait(err, retries))
	}
}

// withinBudget sends a request of a look-up when the budget of the batch allows it. Few requests at once may wait for the
// limiter of the client after that.
func (b *batch) withinBudget(ctx context.Context, send func() error) error {
	b.lookUps <- struct{}{} // those before end with ctx
	defer func() { <-b.lookUps }()
	if err := b.budget.Wait(ctx); err != nil { // also if ctx would end before
		return &expiredError{err}
	}
	return send()
}

// errNotKept means that Once does not work with this service.
var errNotKept = errors.New("reloads: Once cannot be used, because the service did not return the ResourceID of a reload")

// checkKept stops the batch if the record of a run does not have its ResourceID.
func (b *batch) checkKept(st *step, o origin, r *Reload) {
	switch {
	case b.options.once == nil || o > resumed || st.notKept != nil:
	case r.ResourceID != st.resourceID(st.run):
		b.stopNotKept(st, fmt.Errorf("%w: reload %s of app %s", errNotKept, r.ID, st.request.AppID))
	case o == resumed: // it was found in a list, by its ResourceID
		b.schedule.oneByOne.Store(false)
	}
}

// stopNotKept stops the batch because of the reload of a step.
func (b *batch) stopNotKept(st *step, err error) {
	st.notKept = err
	if b.notKept.CompareAndSwap(nil, &st.notKept) {
		b.stop(st.notKept)
	}
}

// checkListed waits until the first reload that the batch has triggered is listed with its ResourceID, because other
// processes find it only there. If it is not, that stops the batch.
func (b *batch) checkListed(ctx context.Context, st *step, r *Reload) {
	if !b.schedule.oneByOne.Load() || r.ResourceID != st.resourceID(st.run) {
		return
	}
	ctx, cancel := context.WithDeadline(ctx, st.sent.Add(cmp.Or(b.options.stepTimeout, time.Hour)))
	defer cancel()
	err := errors.New("it is not in the list of the app's reloads")
	waits, until := listWaits[:], time.Now().Add(maxListFailure)
	for ended := false; !ended && ctx.Err() == nil; {
		newest, listErr := b.listNewest(ctx, st.request.AppID, oncePage, r.CreationTime)
		i := slices.IndexFunc(newest.all, func(listed Reload) bool { return strings.EqualFold(listed.ID, r.ID) })
		wait := b.client.retry.refusal(listErr)
		switch {
		case i >= 0 && newest.all[i].ResourceID == r.ResourceID:
			b.schedule.oneByOne.Store(false)
			return
		case i >= 0:
			err, ended = errors.New("it has another one, or none, in the list of the app's reloads"), true
		case wait > 0: // only a list that succeeded shows anything
			until = time.Now().Add(wait + maxListFailure)
		case listErr != nil && time.Now().Before(until):
			wait = listWaits[0]
		case listErr != nil || len(waits) == 0:
			err, ended = cmp.Or(listErr, err), true
		default:
			wait, waits = waits[0], waits[1:]
		}
		_ = sleep(ctx, wait)
	}
	if ctx.Err() == nil {
		b.stopNotKept(st, fmt.Errorf("%w: reload %s of app %s: %w", errNotKept, r.ID, st.request.AppID, err))
	}
}
