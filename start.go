package reloads

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// concurrentTriggers is how many triggers of a batch are in progress at once: enough to reach the rate limit at any
// latency, even while the outcome of some of them is being determined.
const concurrentTriggers = 64

// startAll looks up and starts the steps of the schedule, until every step has a result.
func (b *batch) startAll(ctx context.Context) {
	var working sync.WaitGroup
	defer working.Wait()
	slots := make(chan struct{}, concurrentTriggers)
	began := time.Now()
	for {
		ended := ctx.Err() != nil
		if ended {
			b.stop(ctx.Err())
		}
		st, what, wait, changed := b.schedule.next(time.Now())
		switch {
		case changed == nil:
			return
		case what == noTask && ended:
			<-changed
			continue
		case what == noTask:
			waitForChange(ctx, wait, changed)
			continue
		}
		work, pause := b.startStep, time.Duration(0)
		if what == lookUpStep {
			work, pause = b.lookUpStep, pollCost // so that the budget remains for the feed, too
		} else if b.options.once != nil {
			_ = sleep(ctx, time.Until(began.Add(listDelay)))
		}
		slots <- struct{}{}
		working.Go(func() {
			defer func() { <-slots }() // a transport in a test may call runtime.Goexit
			work(ctx, st)
		})
		_ = sleep(ctx, pause)
	}
}

var errGoroutineEnded = errors.New("the goroutine of the request was ended")

// lookUpStep looks up a step for the first time.
func (b *batch) lookUpStep(ctx context.Context, st *step) {
	earlier, err := &earlierRuns{}, error(errGoroutineEnded)
	defer func() {
		defer b.schedule.end(&b.schedule.lookUps)
		if err == nil {
			st.run = earlier.run
		}
		switch {
		case !b.schedule.lookedUp(st, err == nil && earlier.reload == nil):
		case err != nil:
			b.finishStep(st, nil, notStarted(err))
		case earlier.reload != nil:
			b.beginRun(st, earlier.origin, earlier.reload)
		}
	}()
	if st.invalid != nil {
		err = st.invalid
		return
	}
	earlier, err = b.lookUp(ctx, st)
}

// startStep triggers the reload of a step, or attaches to one.
func (b *batch) startStep(ctx context.Context, st *step) {
	var r *Reload
	var o origin
	err := fmt.Errorf("%w: %w", ErrOutcomeUnknown, errGoroutineEnded)
	defer func() {
		defer b.schedule.end(&b.schedule.starting)
		switch {
		case err == nil:
			b.beginRun(st, o, r)
		case st.runs > 0:
			b.finishStep(st, st.reload, fmt.Errorf("%w; running it again: %w", st.err, err))
		default:
			b.finishStep(st, nil, notStarted(err))
		}
	}()
	if r, o, err = b.triggerOrAttach(ctx, st); err == nil && o == triggered && b.options.once != nil {
		b.checkListed(ctx, st, r)
	}
}

// notStarted returns the error of a step that failed before it had a reload.
func notStarted(err error) error {
	if contains[*expiredError](err) && !errors.Is(err, ErrOutcomeUnknown) {
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	return err
}

// triggerOrAttach triggers the reload of a step or returns the pending reload of its app. A pending reload may be listed
// late, or have finished before it is listed, so the client lists and triggers again after each of listWaits.
func (b *batch) triggerOrAttach(ctx context.Context, st *step) (r *Reload, o origin, err error) {
	left := 30 * time.Second // the sum of the waits
	for _, wait := range listWaits {
		r, o, err = b.trigger(ctx, st)
		if !errors.Is(err, ErrReloadPending) || !b.options.attach && !b.options.after && b.options.once == nil {
			return r, o, err
		}
		after := min(retryAfterOf(err), b.client.retry.MaxRetryAfter)
		st.refused = time.Now().Add(after)
		r, o, listErr := b.findPending(ctx, st)
		if r == nil && listErr == nil {
			if listErr = sleep(ctx, max(wait, min(left, time.Until(st.refused)))); listErr == nil {
				r, o, listErr = b.findPending(ctx, st)
			}
		}
		unknown := errors.Is(err, ErrOutcomeUnknown) // the pending reload may be the step's own
		switch {
		case ctx.Err() != nil:
			err = &expiredError{fmt.Errorf("%w; attaching to it: %w", err, ctx.Err())}
		case listErr != nil:
			err = fmt.Errorf("%w; listing the reloads of the app: %w", err, listErr)
		case r != nil && o == foreign, r == nil && after > left, unknown && (r == nil || o == blocking):
		case r != nil:
			return r, o, nil
		default:
			left -= max(wait, after)
			continue
		}
		break
	}
	return nil, o, err
}

// findPending returns the pending reload of a step's app, or nil. With Once, it may be one that SUCCEEDED.
func (b *batch) findPending(ctx context.Context, st *step) (r *Reload, o origin, err error) {
	var pending *Reload
	if b.options.once == nil {
		pending, err = b.listPending(ctx, st.request.AppID)
	} else if earlier, lookUpErr := b.lookUp(ctx, st); lookUpErr != nil {
		err = lookUpErr
	} else if st.run, pending = earlier.run, earlier.pending; earlier.reload != nil {
		return earlier.reload, earlier.origin, nil
	}
	if pending == nil || err != nil {
		return nil, foreign, err
	}
	switch {
	case b.options.attach:
		o = attached
	case b.options.after:
		o = blocking
	default:
		o = foreign
	}
	err = b.withinBudget(ctx, func() (err error) {
		r, _, err = b.client.get(ctx, pending.ID, true) // the list may be behind
		b.budget.Pause(time.Now().Add(b.client.retry.refusal(err)))
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound), err == nil && r.Ended():
		return nil, o, nil
	case err != nil: // the wait for it decides
		return pending, o, nil
	}
	return r, o, nil
}

// listPending returns the app's newest reload that has not finished according to the list, or nil. It does not filter by
// status, because the status of a new reload may be empty or unknown.
func (b *batch) listPending(ctx context.Context, app string) (*Reload, error) {
	w := newWalk(newestQuery(app))
	page, date := &Page{}, serverDate{}
	for more := true; more && len(page.Reloads) == 0; {
		var err error
		if page, date, _, err = b.listPage(ctx, w.query); err != nil {
			return nil, err
		}
		if more, err = w.advance(page); err != nil {
			return nil, err
		}
	}
	var pending *Reload
	var latestEnd time.Time // creation of the newest reload that has ended
	for i := range page.Reloads {
		r := &page.Reloads[i]
		switch {
		case otherApp(r, app):
		case b.isActive(r, date.now()):
			pending = cmp.Or(pending, r)
		case r.Ended() && r.CreationTime.After(latestEnd):
			latestEnd = r.CreationTime
		}
	}
	if pending != nil && !pending.CreationTime.IsZero() && createdBefore(pending).Add(clockTolerance).Before(latestEnd) {
		return nil, nil // it has ended, because an app has one pending reload
	}
	return pending, nil
}

// trigger triggers the next run of a step. With Once, it returns the earlier run that needs no other one.
func (b *batch) trigger(ctx context.Context, st *step) (*Reload, origin, error) {
	for {
		req, o := st.request, triggerOptions{grace: b.grace, sent: &st.sent}
		if b.options.once != nil {
			req.ResourceID = st.resourceID(st.run)
			o.check = func(ctx context.Context, admit admission) error { return b.admit(ctx, st, admit) }
		}
		r, err := b.client.trigger(ctx, req, o)
		earlier, ok := errors.AsType[*earlierRuns](err)
		if !ok || earlier.reload == nil && errors.Is(err, ErrOutcomeUnknown) {
			return r, triggered, err
		}
		if st.run = earlier.run; earlier.reload != nil {
			return earlier.reload, earlier.origin, nil
		}
	}
}

const (
	freshLookUp = 500 * time.Millisecond // how old a look-up may be when a trigger starts, if look-ups are quick
	maxSlow     = 3                      // slow look-ups in a row after which an older one has to be sufficient
)

// admit waits for the rate limit, and makes sure that a look-up shortly before shows that the next run of the step is to be
// triggered. One step at a time does that, because slow look-ups of several steps could make their triggers start together.
func (b *batch) admit(ctx context.Context, st *step, wait admission) error {
	b.admitting <- struct{}{} // the one before ends with ctx
	defer func() { <-b.admitting }()
	err := b.checkEarlierRuns(ctx, st)
	for slow := 0; err == nil; slow++ {
		var slot time.Time
		if slot, err = wait(); err != nil || slow == maxSlow || time.Since(st.listed)-st.lookUpTook < max(freshLookUp, 2*st.lookUpTook) {
			break
		}
		if err = b.checkEarlierRuns(ctx, st); time.Since(slot) < maxLate {
			break
		}
	}
	return err
}

// checkEarlierRuns returns an error if the next run of the step is not to be triggered now.
func (b *batch) checkEarlierRuns(ctx context.Context, st *step) error {
	earlier, err := b.lookUp(ctx, st)
	switch notKept := b.notKept.Load(); {
	case notKept != nil:
		err = *notKept
	case err == nil && (earlier.reload != nil || earlier.run != st.run):
		err = earlier
	}
	return err
}

// beginRun records the reload of a step and tracks it.
func (b *batch) beginRun(st *step, o origin, r *Reload) {
	if o != blocking && (o != resumed || !r.Ended()) {
		st.runs++
	}
	b.client.seen.add(r.ID, o <= resumed)
	b.outage.succeeded()
	b.checkKept(st, o, r)
	b.track(st, o, r)
}
