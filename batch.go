package reloads

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
)

// Run triggers a reload and waits until it has finished, like [Client.Trigger] and [Client.Wait]. If the reload is nil,
// the error is that of the trigger.
func (c *Client) Run(ctx context.Context, req Request, opts ...RunOption) (*Reload, error) {
	o := newRunOptions(opts)
	r, own, err := c.start(ctx, req, o)
	if err != nil {
		return nil, err
	}
	last, err := waitFor(c.watch(ctx, r.ID, r), r, func(r *Reload) { o.onChange(req, r) })
	if err != nil && ctx.Err() != nil && own && o.cancel && !last.Ended() {
		return c.abort(ctx, last, err)
	}
	return last, err
}

// maxAttachTries is how often a trigger may be refused because of a reload that has finished when it is listed.
const maxAttachTries = 5

// start triggers a reload or attaches to the pending one; own tells which.
func (c *Client) start(ctx context.Context, req Request, o runOptions) (r *Reload, own bool, err error) {
	for range maxAttachTries {
		r, err = c.Trigger(ctx, req)
		if !o.attach || !errors.Is(err, ErrReloadPending) {
			return r, true, err
		}
		active := ListOptions{AppID: req.AppID, Filter: activeOnly, Sort: SortNewestFirst}
		for r, listErr := range c.All(ctx, active) {
			if listErr != nil {
				return nil, false, fmt.Errorf("%w; listing the reloads of the app: %w", err, listErr)
			}
			if !r.Ended() {
				return r, false, nil
			}
		}
	}
	return nil, false, err
}

// concurrentTriggers is how many triggers of a batch are in progress at once: enough to reach the rate limit at any
// latency, even if some of them wait to learn their outcome.
const concurrentTriggers = 16

// RunAll runs many reloads. It triggers them as fast as the rate limit allows, in the order of reqs, tracks all of them,
// and yields the result of each when it has finished. Requests for the same app run one after another. A failed one does
// not affect the others.
//
// When ctx ends, nothing more is triggered, and every request without a result gets one, which matches [ErrNotStarted]
// if the request was not triggered. Breaking out of the loop stops all work. No goroutine remains after the loop. A
// reload goes on in the service, unless [CancelOnAbort] is given and ctx ended. Nothing is sent until the iterator is
// ranged over. Ranging again triggers again.
//
// Tracking many reloads takes few requests if the token may list the tenant's reloads, like that of a TenantAdmin. With
// another token, each reload is polled by itself, and less often the more there are.
func (c *Client) RunAll(ctx context.Context, reqs []Request, opts ...RunOption) iter.Seq[Result] {
	reqs = slices.Clone(reqs)
	return func(yield func(Result) bool) {
		b := newBatch(c, newRunOptions(opts))
		q := newQueue(reqs)
		b.report = func(r Result) {
			q.done(r.Request.AppID)
			b.deliver(r)
		}
		b.yieldResults(ctx, yield, func(ctx context.Context) {
			var workers sync.WaitGroup
			for range min(concurrentTriggers, len(reqs)) {
				workers.Go(func() { b.startAll(ctx, q) })
			}
			workers.Wait()
		})
	}
}

// WaitAll waits for existing reloads and yields the result of each when it has finished. Those that have already
// finished come first. Otherwise it is like [Client.RunAll].
func (c *Client) WaitAll(ctx context.Context, rs []*Reload) iter.Seq[Result] {
	rs = slices.Clone(rs)
	return func(yield func(Result) bool) {
		b := newBatch(c, newRunOptions(nil))
		b.report = b.deliver
		b.yieldResults(ctx, yield, func(context.Context) {
			for i, r := range rs {
				switch {
				case r == nil || r.ID == "":
					b.deliver(Result{Reload: r, Err: invalid("rs", fmt.Sprintf("[%d]", i), "must be a reload with an ID")})
				case r.Ended():
					b.deliver(Result{Request: Request{AppID: r.AppID}, Reload: r, Err: r.Err()})
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
	results chan Result
	stopped chan struct{} // closed when the loop has ended
}

func newBatch(c *Client, o runOptions) *batch {
	return &batch{
		tracker: tracker{
			client: c, options: o, tracked: map[string]*trackedReload{}, changed: make(chan struct{}, 1),
			sweeps: true, pages: 1,
		},
		results: make(chan Result),
		stopped: make(chan struct{}),
	}
}

// yieldResults starts the reloads of the batch, tracks them, and yields the results. No goroutine remains when it
// returns.
func (b *batch) yieldResults(ctx context.Context, yield func(Result) bool, start func(context.Context)) {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		start(ctx)
		b.close()
	})
	running.Go(func() { b.track(ctx) })
	go func() {
		running.Wait()
		close(b.results)
	}()
	defer func() {
		cancel(errStopped)
		close(b.stopped)
		for range b.results { // until it is closed, because all goroutines have ended then
		}
	}()
	for r := range b.results {
		if !yield(r) {
			return
		}
	}
}

// deliver passes a result to the loop, unless the loop has ended.
func (b *batch) deliver(r Result) {
	select {
	case b.results <- r:
	case <-b.stopped:
	}
}

// startAll starts the reloads of the queue until that is closed.
func (b *batch) startAll(ctx context.Context, q *queue) {
	for i := range q.ready {
		req := q.reqs[i]
		if err := ctx.Err(); err != nil {
			b.report(Result{Request: req, Err: fmt.Errorf("%w: %w", ErrNotStarted, err)})
			continue
		}
		r, own, err := b.client.start(ctx, req, b.options)
		late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
		switch {
		case err == nil && !r.Ended():
			b.add(req, r, own)
			continue
		case err == nil:
			b.options.onChange(req, r)
			err = r.Err()
		case late && !errors.Is(err, ErrOutcomeUnknown):
			err = fmt.Errorf("%w: %w", ErrNotStarted, err)
		}
		b.report(Result{Request: req, Reload: r, Err: err})
	}
}

// queue hands out requests in order, one at a time for each app.
type queue struct {
	reqs  []Request
	ready chan int // requests whose app is free; closed when all have their result

	mu      sync.Mutex
	waiting map[string][]int // the next requests of each app that is not free
	left    int              // without a result
}

func newQueue(reqs []Request) *queue {
	q := &queue{reqs: reqs, ready: make(chan int, len(reqs)), waiting: map[string][]int{}, left: len(reqs)}
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
func (q *queue) done(app string) {
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
