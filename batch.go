package reloads

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// Run triggers a reload and waits until it has finished, like [Client.Trigger] and [Client.Wait]. If the reload is nil,
// the error is that of the trigger. Otherwise it is an error of [Client.Wait].
func (c *Client) Run(ctx context.Context, req Request, opts ...RunOption) (*Reload, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	o := newRunOptions(opts)
	grace := o.grace(ctx)
	defer grace.release()
	r, own, err := c.triggerOrAttach(ctx, grace, req, o)
	if err != nil {
		return nil, err
	}
	last, err := waitFor(c.watch(ctx, r.ID, r), r, func(r *Reload) { o.change(req, r) })
	if err != nil && ctx.Err() != nil && own && grace != nil && !last.Ended() {
		if time.Now().After(grace.deadline()) { // OnChange took longer
			grace.release()
			grace = o.grace(ctx)
			defer grace.release()
		}
		return c.abort(grace, last, err)
	}
	return last, err
}

// attachWaits are the waits between two lists, after a trigger was refused because of a pending reload.
var attachWaits = [...]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}

// triggerOrAttach triggers a reload or attaches to the pending one. own is true if it triggered. A pending reload may
// be listed late, or have finished before it is listed.
func (c *Client) triggerOrAttach(ctx context.Context, grace *graceTime, req Request, o runOptions) (r *Reload, own bool, err error) {
	for _, wait := range attachWaits {
		r, err = c.trigger(ctx, grace, req)
		if !o.attach || !errors.Is(err, ErrReloadPending) {
			return r, true, err
		}
		r, listErr := c.findPending(ctx, req.AppID)
		if r == nil && listErr == nil {
			if listErr = sleep(ctx, wait); listErr == nil {
				r, listErr = c.findPending(ctx, req.AppID)
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, false, &expiredError{fmt.Errorf("%w; attaching to it: %w", err, ctx.Err())}
		case listErr != nil:
			return nil, false, fmt.Errorf("%w; listing the reloads of the app: %w", err, listErr)
		case r != nil:
			c.seen.add(r.ID, false)
			return r, false, nil
		case errors.Is(err, ErrOutcomeUnknown): // the pending reload may have been ours
			return nil, false, err
		}
	}
	return nil, false, err
}

// concurrentTriggers is how many triggers of a batch are in progress at once: enough to reach the rate limit at any
// latency, even while the outcome of some of them is being determined.
const concurrentTriggers = 64

// RunAll runs many reloads. It triggers them as fast as the rate limit allows, in the order of reqs, tracks all of them,
// and yields the result of each when it has finished. Requests for the same app run one after another. A failed one does
// not affect the others.
//
// When ctx ends, nothing more is triggered, and every request without a result gets one, which matches [ErrNotStarted]
// if that is why the request had no effect. Breaking out of the loop stops all work, except cancels after ctx has ended
// ([CancelOnAbort]). No goroutine remains after the loop. A reload goes on in the service, unless [CancelOnAbort] is given
// and ctx ended. A slow loop body delays only the results. Nothing is sent until the iterator is ranged over. Ranging again triggers all requests again.
//
// Tracking many reloads takes few requests if the token may list the tenant's reloads, like that of a TenantAdmin. With
// another token, each reload is polled individually, and the intervals grow with the number of reloads.
func (c *Client) RunAll(ctx context.Context, reqs []Request, opts ...RunOption) iter.Seq[Result] {
	reqs = slices.Clone(reqs)
	return func(yield func(Result) bool) {
		b := &batch{tracker: newTracker(c), options: newRunOptions(opts)}
		q := newRequestQueue(reqs)
		b.done = q.done
		b.run(ctx, yield, func(ctx context.Context) {
			var workers sync.WaitGroup
			for range min(concurrentTriggers, len(reqs)) {
				workers.Go(func() { b.startAll(ctx, q) })
			}
			workers.Wait()
		})
	}
}

// WaitAll waits for existing reloads and yields the result of each when it has finished. Those that have already
// finished come first. Of the options, only [OnChange] has an effect. Otherwise it is like [Client.RunAll].
func (c *Client) WaitAll(ctx context.Context, rs []*Reload, opts ...RunOption) iter.Seq[Result] {
	rs = slices.Clone(rs)
	return func(yield func(Result) bool) {
		b := &batch{tracker: newTracker(c), options: runOptions{onChange: newRunOptions(opts).onChange}}
		b.run(ctx, yield, func(ctx context.Context) {
			for i, r := range rs {
				switch {
				case r == nil || r.ID == "":
					b.report(Result{Reload: r, Err: invalid("rs", fmt.Sprintf("[%d]", i), "must be a reload with an ID")})
				case ctx == nil:
					b.report(Result{Request: Request{AppID: r.AppID}, Reload: r, Err: errNilContext})
				default:
					b.add(Request{AppID: r.AppID}, r, false)
				}
			}
		})
	}
}

// batch is one loop over the results of RunAll or WaitAll.
type batch struct {
	tracker
	options runOptions
	grace   *graceTime // nil if the reloads are not canceled when ctx ends
}

// run starts the reloads of the batch, tracks them, and yields the results. No goroutine remains when it returns, also
// if the loop body or OnChange panics.
func (b *batch) run(ctx context.Context, yield func(Result) bool, start func(context.Context)) {
	if ctx == nil {
		start(nil)
		b.yieldAll(yield)
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	b.grace = b.options.grace(ctx)
	finished := b.work(ctx, cancel, start)
	defer func() {
		cancel(errStopped)
		if context.Cause(ctx) != errStopped { // ctx had ended before, so the cancels are completed
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
	var running, abandoned sync.WaitGroup
	running.Go(func() {
		start(ctx)
		b.close()
	})
	running.Go(func() {
		b.pollAll(ctx)
		cancel(errStopped) // everything has finished, or ctx has ended
	})
	running.Go(func() { b.finishedFeed().run(ctx) })
	if b.options.onChange != nil {
		running.Go(func() { b.startedFeed().run(ctx) })
	}
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
		close(finished)
	}()
	return finished
}

// giveUp finishes a tracked reload because ctx has ended.
func (b *batch) giveUp(ctx context.Context, tr *trackedReload) {
	r := b.state(tr)
	err := waitError(ctx, r.ID, r, nil)
	if b.grace != nil && tr.own.Load() && context.Cause(ctx) != errStopped {
		r, err = b.client.abort(b.grace, r, err)
	}
	b.finishAs(tr, r, err)
}

// yieldAll reports the changes and yields the results so far. It returns false if the caller left the loop.
func (b *batch) yieldAll(yield func(Result) bool) bool {
	for _, e := range b.events.take() {
		if tr := e.tracked; tr != nil {
			if r := b.state(tr); tr.reported == nil || tr.reported.Status != r.Status {
				tr.reported = r
				b.options.change(tr.request, r)
			}
		}
		if e.result != nil && !yield(*e.result) {
			return false
		}
	}
	return true
}

// startAll starts the requests of the queue until the queue is closed.
func (b *batch) startAll(ctx context.Context, q *requestQueue) {
	for i := range q.ready {
		var request sync.WaitGroup
		request.Go(func() { b.startAndTrack(ctx, q.reqs[i]) }) // a transport in a test may call runtime.Goexit
		request.Wait()
	}
}

func (b *batch) startAndTrack(ctx context.Context, req Request) {
	var r *Reload
	var own bool
	err := fmt.Errorf("%w: its goroutine was ended", ErrOutcomeUnknown)
	defer func() {
		if err != nil {
			b.report(Result{Request: req, Err: err})
			return
		}
		b.outage.succeeded()
		b.add(req, r, own)
	}()
	r, own, err = b.startOne(ctx, req)
}

func (b *batch) startOne(ctx context.Context, req Request) (r *Reload, own bool, err error) {
	if ctx == nil {
		return nil, false, errNilContext
	}
	var expired *expiredError
	if err = ctx.Err(); err == nil {
		r, own, err = b.client.triggerOrAttach(ctx, b.grace, req, b.options)
		if !errors.As(err, &expired) || errors.Is(err, ErrOutcomeUnknown) {
			return r, own, err
		}
	}
	return nil, false, fmt.Errorf("%w: %w", ErrNotStarted, err)
}

// requestQueue hands out requests in order, one at a time for each app.
type requestQueue struct {
	reqs  []Request
	ready chan int // indexes of requests whose app is free; closed when all requests have a result

	mu      sync.Mutex
	waiting map[string][]int // indexes of the next requests, by each app that is not free
	left    int              // number of requests without a result
}

func newRequestQueue(reqs []Request) *requestQueue {
	q := &requestQueue{reqs: reqs, ready: make(chan int, len(reqs)), waiting: map[string][]int{}, left: len(reqs)}
	for i, req := range reqs {
		waiting, busy := q.waiting[req.AppID]
		if !busy {
			q.ready <- i
			q.waiting[req.AppID] = nil
			continue
		}
		q.waiting[req.AppID] = append(waiting, i)
	}
	if q.left == 0 {
		close(q.ready)
	}
	return q
}

// done records that the active request of an app has its result.
func (q *requestQueue) done(app string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if waiting := q.waiting[app]; len(waiting) > 0 {
		q.ready <- waiting[0]
		q.waiting[app] = waiting[1:]
	} else {
		delete(q.waiting, app)
	}
	if q.left--; q.left == 0 {
		close(q.ready)
	}
}
