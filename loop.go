package reloads

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// batch is one loop over the results of RunPlan or WaitAll.
type batch struct {
	tracker
	schedule *schedule
	options  runOptions
	ctx      context.Context
	grace    *graceTime            // nil if the reloads are not canceled when ctx ends
	notKept  atomic.Pointer[error] // why Once cannot be used; nil if it can
	timeouts eventQueue[timeout]

	lookUps   chan struct{} // has a value for each request of a look-up; its capacity is the limit
	admitting chan struct{} // has a value while a step with Once waits for its trigger
}

// run starts the steps of the batch, tracks their reloads, and yields the results. No goroutine remains when it returns,
// also if the loop body or OnChange panics.
func (b *batch) run(ctx context.Context, yield func(Result) bool, start func(context.Context)) {
	if ctx == nil {
		b.stop(errNilContext)
		b.yieldAll(yield)
		return
	}
	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	b.ctx, b.grace = ctx, b.options.grace(ctx)
	finished := b.work(ctx, cancel, start)
	defer func() {
		cancel(cmp.Or(parent.Err(), errStopped)) // ctx learns of the end of a context of another type a little later
		if context.Cause(ctx) != errStopped {    // ctx had ended before, so the cancels are completed
			<-finished
		}
		b.grace.release()
		<-finished
	}()
	for {
		select {
		case <-b.events.ready:
			if !b.yieldAll(yield) {
				return
			}
		case <-finished:
			b.yieldAll(yield)
			return
		}
	}
}

// work runs the goroutines of the batch. It closes the channel when all of them have ended.
func (b *batch) work(ctx context.Context, cancel context.CancelCauseFunc, start func(context.Context)) <-chan struct{} {
	b.done = func() { cancel(errStopped) }
	stop := b.client.hints.listen(b.hint)
	var running, abandoned sync.WaitGroup
	running.Go(func() {
		start(ctx)
		b.close()
	})
	running.Go(func() { b.pollAll(ctx) })
	running.Go(func() { b.finishedFeed().run(ctx) })
	if b.options.onChange != nil {
		running.Go(func() { b.startedFeed().run(ctx) })
	}
	running.Go(func() { b.expireAll(ctx) })
	running.Go(func() {
		<-ctx.Done()
		b.abandonAll(func(tr *trackedReload) {
			abandoned.Go(func() { b.giveUp(ctx, tr) })
		})
	})
	finished := make(chan struct{})
	go func() {
		running.Wait()
		abandoned.Wait()
		stop()
		close(finished)
	}()
	return finished
}

// giveUp ends the wait for a reload because ctx has ended.
func (b *batch) giveUp(ctx context.Context, tr *trackedReload) {
	r, o := b.state(tr)
	err := waitError(ctx, r.ID, r, nil)
	defer func() { b.finishAs(tr, r, err) }() // a transport in a test may call runtime.Goexit
	if b.grace != nil && o == triggered && context.Cause(ctx) != errStopped {
		r, err = b.client.abort(b.grace, r, err)
	}
}

// yieldAll reports the changes and yields the results so far. It returns false if the caller left the loop.
func (b *batch) yieldAll(yield func(Result) bool) bool {
	for _, e := range b.events.take() {
		if tr := e.tracked; tr != nil {
			if r, o := b.state(tr); o != blocking && (tr.reported == nil || tr.reported.Status != r.Status) {
				tr.reported = r
				b.options.change(tr.first.request, r)
			}
		}
		if e.result != nil && !yield(*e.result) {
			return false
		}
	}
	return true
}

// timeout is when the wait for a reload ends because of StepTimeout.
type timeout struct {
	at      time.Time
	tracked *trackedReload
}

// cancelTime is how long a step waits for the end of a reload after StepTimeout has canceled it, and cancelPoll is the
// longest time between the polls of it.
const (
	cancelTime = time.Minute
	cancelPoll = 10 * time.Second
)

// track tracks a reload for a step.
func (b *batch) track(st *step, o origin, r *Reload) {
	tr := b.add(st, o, r)
	if b.client.hints.cameRecently(tr.id) {
		b.hint(tr.id)
	}
	from := time.Now()
	if o == triggered {
		from = st.sent // the reload may have been found later
	}
	if d := b.options.stepTimeout; d > 0 {
		b.timeouts.push(timeout{from.Add(d), tr})
	}
}

// expireAll ends the waits for reloads that take longer than StepTimeout, until ctx has ended.
func (b *batch) expireAll(ctx context.Context) {
	var expiring sync.WaitGroup
	defer expiring.Wait()
	var next []timeout // earliest first
	for ctx.Err() == nil {
		wait := time.Hour
		if len(next) > 0 {
			wait = time.Until(next[0].at)
		}
		waitForChange(ctx, wait, b.timeouts.ready)
		for _, t := range b.timeouts.take() {
			i, _ := slices.BinarySearchFunc(next, t, func(a, b timeout) int { return a.at.Compare(b.at) })
			next = slices.Insert(next, i, t)
		}
		for ; len(next) > 0 && ctx.Err() == nil && time.Until(next[0].at) <= 0; next = next[1:] {
			tr := next[0].tracked
			expiring.Go(func() { b.expire(ctx, tr) })
		}
	}
}

// expire cancels a reload that takes longer than StepTimeout.
func (b *batch) expire(ctx context.Context, tr *trackedReload) {
	r, o := b.state(tr)
	err := fmt.Errorf("reloads: reload %s took longer than %v: %w", r.ID, b.options.stepTimeout, context.DeadlineExceeded)
	if o < attached {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		if !b.timedOut(tr, err, stop) {
			return
		}
		if _, cancelErr := b.client.cancelNew(ctx, r.ID); cancelErr != nil {
			err = fmt.Errorf("%w; canceling it: %w", err, cancelErr)
		}
		for range cancelTime / cancelPoll {
			b.hint(tr.id)                      // the polls may be rare
			if sleep(ctx, cancelPoll) != nil { // it has finished, or giveUp ends the wait
				return
			}
		}
	}
	r, _ = b.state(tr)
	b.finishAs(tr, r, err)
}

// endRun is called when the wait for a reload of a step has ended. It starts the step again, or finishes it.
func (b *batch) endRun(st *step, o origin, r *Reload, err error) {
	if o == blocking {
		if r.Ended() || errors.Is(err, ErrNotFound) { // it was deleted
			if err = b.schedule.again(st, time.Now()); err == nil {
				return
			}
		}
		err = fmt.Errorf("reloads: waiting for the pending reload of app %s: %w", st.request.AppID, err)
		switch {
		case st.runs > 0:
			err = fmt.Errorf("%w; running it again: %w", st.err, err)
		case errors.Is(err, b.ctx.Err()):
			err = fmt.Errorf("%w: %w", ErrNotStarted, err)
		}
		b.finishStep(st, st.reload, err)
		return
	}
	st.reload, st.err = r, err
	if r.Ended() {
		st.run++ // this one did not succeed, or no other one follows
	}
	failed := o != given && errors.Is(err, ErrReloadFailed) && !errors.Is(err, context.DeadlineExceeded)
	if failed && st.runs <= b.options.reruns && b.schedule.again(st, time.Now().Add(rerunWait(st.runs-1))) == nil {
		return
	}
	b.finishStep(st, r, err)
}

// rerunWait returns the wait before run n of a step, counted from 0, is followed by another one.
func rerunWait(n int) time.Duration {
	return RetryPolicy{MinBackoff: 10 * time.Second, MaxBackoff: 5 * time.Minute}.backoff(n)
}

// finishStep reports the result of a step, and of the steps that are not started because of it.
func (b *batch) finishStep(st *step, r *Reload, err error) {
	switch {
	case st.notKept != nil && err == nil:
		err = st.notKept
	case st.notKept != nil:
		err = fmt.Errorf("%w; %w", err, st.notKept)
	}
	dependent := b.schedule.finish(st, err == nil)
	b.report(st, r, err)
	for _, d := range dependent {
		switch {
		case errors.Is(err, ErrNotStarted):
			b.report(d, nil, err)
		case errors.Is(err, b.ctx.Err()):
			b.report(d, nil, fmt.Errorf("%w: %w", ErrNotStarted, b.ctx.Err()))
		default:
			b.report(d, nil, fmt.Errorf("%w: step %d did not succeed: %w", ErrSkipped, st.index, err))
		}
	}
}

// stop finishes all steps that are not active, because of cause.
func (b *batch) stop(cause error) {
	for _, st := range b.schedule.stop(cause) {
		switch {
		case st.runs > 0:
			b.report(st, st.reload, fmt.Errorf("%w; it is not run again: %w", st.err, cause))
		case b.ctx != nil && cause == b.ctx.Err(): //nolint:errorlint // not an error that wraps it
			b.report(st, nil, fmt.Errorf("%w: %w", ErrNotStarted, cause))
		default:
			b.report(st, st.reload, cause)
		}
	}
}

func (b *batch) report(st *step, r *Reload, err error) {
	b.events.push(event{result: &Result{Step: st.index, Request: st.request, Reload: r, Runs: st.runs, Err: err}})
}
