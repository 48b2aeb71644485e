package reloads

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
)

// Result is what became of one reload of a batch.
type Result struct {
	// Request is what [Client.RunAll] was asked for. In a result of [Client.WaitAll] it names only the app.
	Request Request
	// Reload is the reload as it was last known, nil if none was triggered.
	Reload *Reload
	// Err is nil if the reload SUCCEEDED, a [*ReloadError] if it ended otherwise, [ErrNotStarted] if it was not
	// triggered since ctx had ended, and otherwise what [Client.Run] returns.
	Err error
}

// LogValue logs the result as a group: the app that was asked for, the reload as far as there is one, and the error.
func (r Result) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Any("request", r.Request)}
	if r.Reload != nil {
		attrs = append(attrs, slog.Any("reload", r.Reload))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// triggers is how many of a batch are under way at once: as many as the rate limit needs at any latency, and some that
// look whether they took effect.
const triggers = 16

// Run triggers a reload and waits for its end, as [Client.Trigger] and [Client.Wait] do. An error with a nil reload
// is one of the trigger.
func (c *Client) Run(ctx context.Context, req Request, opts ...RunOption) (*Reload, error) {
	o := newRunOptions(opts)
	r, own, err := c.start(ctx, req, o)
	if err != nil {
		return nil, err
	}
	last, err := wait(c.watch(ctx, r.ID, r), r, func(r *Reload) { o.change(req, r) })
	if err != nil && ctx.Err() != nil && own && o.cancel && !last.Ended() {
		return c.abort(ctx, last, err)
	}
	return last, err
}

// attachTries is how often a trigger is refused because of a reload that is over when it is looked for.
const attachTries = 5

// start triggers a reload or, if that is asked for, finds the one that is pending; own tells which.
func (c *Client) start(ctx context.Context, req Request, o runOptions) (r *Reload, own bool, err error) {
	for range attachTries {
		r, err = c.Trigger(ctx, req)
		if !o.attach || !errors.Is(err, ErrReloadPending) {
			return r, true, err
		}
		active := ListOptions{AppID: req.AppID, Filter: activeOnly, Sort: SortNewestFirst}
		for r, lookErr := range c.All(ctx, active) {
			if lookErr != nil {
				return nil, false, fmt.Errorf("%w; looking for it: %w", err, lookErr)
			}
			if !r.Ended() {
				return r, false, nil
			}
		}
	}
	return nil, false, err
}

// RunAll runs many reloads: it triggers them as fast as the rate limit allows, in the order of reqs, follows all that
// are in flight, and yields the result of each as it ends. Requests for the same app run one after the other. One that
// fails does no harm to the others.
//
// When ctx ends nothing more is triggered, and every request that has no result yet gets one: [ErrNotStarted] if it was
// not triggered. A break ends everything at once. Either way nothing runs on after the loop; a reload in the service
// does, unless [CancelOnAbort] is given and ctx ended. Nothing is sent before the iterator is ranged over; ranging
// again triggers again.
//
// Following takes few requests for many reloads if the token may list the tenant's reloads, as a TenantAdmin's may. With
// one that may not, each reload is fetched by itself, and less often the more there are.
func (c *Client) RunAll(ctx context.Context, reqs []Request, opts ...RunOption) iter.Seq[Result] {
	reqs = slices.Clone(reqs)
	return func(yield func(Result) bool) {
		b := newBatch(c, newRunOptions(opts))
		q := newQueue(reqs)
		b.report = func(r Result) {
			q.done(r.Request.AppID)
			b.send(r)
		}
		b.run(ctx, yield, func(ctx context.Context) {
			var workers sync.WaitGroup
			for range min(triggers, len(reqs)) {
				workers.Go(func() { b.trigger(ctx, q) })
			}
			workers.Wait()
		})
	}
}

// WaitAll follows reloads that exist and yields the result of each as it ends; those that have ended already come
// first. It is as [Client.RunAll] in everything else.
func (c *Client) WaitAll(ctx context.Context, rs []*Reload) iter.Seq[Result] {
	rs = slices.Clone(rs)
	return func(yield func(Result) bool) {
		b := newBatch(c, newRunOptions(nil))
		b.report = b.send
		b.run(ctx, yield, func(context.Context) {
			for i, r := range rs {
				switch {
				case r == nil || r.ID == "":
					b.send(Result{Reload: r, Err: invalid("rs", fmt.Sprintf("[%d]", i), "must be a reload with an id")})
				case r.Ended():
					b.send(Result{Request: Request{AppID: r.AppID}, Reload: r, Err: r.Err()})
				default:
					b.add(Request{AppID: r.AppID}, r, false)
				}
			}
		})
	}
}

// batch is one loop over the results of RunAll or WaitAll.
type batch struct {
	follower
	results chan Result
	broken  chan struct{} // closed when nobody wants more results
}

func newBatch(c *Client, o runOptions) *batch {
	return &batch{
		follower: follower{
			client: c, options: o, flights: map[string]*flight{}, changed: make(chan struct{}, 1),
			sweeps: true, pages: 1,
		},
		results: make(chan Result),
		broken:  make(chan struct{}),
	}
}

var errBroken = errors.New("the loop was broken off")

// run starts the batch's reloads, follows them, and yields the results. Nothing runs on when it returns.
func (b *batch) run(ctx context.Context, yield func(Result) bool, start func(context.Context)) {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		start(ctx)
		b.close()
	})
	running.Go(func() { b.follow(ctx) })
	go func() {
		running.Wait()
		close(b.results)
	}()
	defer func() {
		cancel(errBroken)
		close(b.broken)
		for range b.results { // until it is closed, since all have ended
		}
	}()
	for r := range b.results {
		if !yield(r) {
			return
		}
	}
}

// send hands a result to the loop, if it still goes on.
func (b *batch) send(r Result) {
	select {
	case b.results <- r:
	case <-b.broken:
	}
}

// trigger takes requests from the queue until that is closed, and follows the reloads.
func (b *batch) trigger(ctx context.Context, q *queue) {
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
			b.options.change(req, r)
			err = r.Err()
		case late && !errors.Is(err, ErrOutcomeUnknown):
			err = fmt.Errorf("%w: %w", ErrNotStarted, err)
		}
		b.report(Result{Request: req, Reload: r, Err: err})
	}
}

// queue gives out requests in order, of each app one at a time.
type queue struct {
	reqs  []Request
	ready chan int // requests whose app is free; closed when all have their result

	mu      sync.Mutex
	waiting map[string][]int // by app that is not free: the requests that come after
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

// done says that the request under way for the app has its result.
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
