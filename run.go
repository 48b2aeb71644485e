package reloads

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// RunOption changes what [Client.Run] and [Client.RunAll] do.
type RunOption func(*runOptions)

type runOptions struct {
	attach, cancel bool
	change         func(Request, *Reload)
}

func newRunOptions(opts []RunOption) runOptions {
	o := runOptions{change: func(Request, *Reload) {}}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// AttachToPending waits for the reload that is pending, where the app has one already, instead of failing with
// [ErrReloadPending]: two processes that run the same app at the same time end with the same reload. It may have been
// triggered with other options than those of the request.
func AttachToPending() RunOption { return func(o *runOptions) { o.attach = true } }

// CancelOnAbort cancels the reload in the service when ctx ends before it. It takes up to 10 s more. A reload that was
// attached to is somebody else's and goes on. Of a batch, as many are cancelled as the rate limit lets start in that
// time, 50 at the most; the results of the others say that they were not.
func CancelOnAbort() RunOption { return func(o *runOptions) { o.cancel = true } }

// OnChange calls f with each reload when it has been triggered or attached to, and whenever its status has changed since,
// the last time ended. The calls come one at a time, and what they take delays the run. The Reload must not be modified.
// Nil is no f.
func OnChange(f func(Request, *Reload)) RunOption {
	return func(o *runOptions) {
		if f == nil {
			return
		}
		var mu sync.Mutex
		o.change = func(req Request, r *Reload) {
			mu.Lock()
			defer mu.Unlock()
			f(req, r)
		}
	}
}

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

var activeOnly = StatusIs(StatusQueued, StatusReloading, StatusCanceling)

// abortTimeout is the time that a reload may take to be cancelled after ctx has ended.
const abortTimeout = 10 * time.Second

// abort cancels a reload whose caller has given up for the reason err. It returns the reload as it is then, and what
// went wrong with the cancel, too. A reload that was over already has its own end.
func (c *Client) abort(ctx context.Context, r *Reload, err error) (*Reload, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	status, cancelErr := c.Cancel(ctx, r.ID)
	switch {
	case cancelErr == nil:
		canceled := *r
		canceled.Status = status
		return &canceled, fmt.Errorf("%w; the reload is cancelled", err)
	case errors.Is(cancelErr, ErrNotCancelable):
		if ended, getErr := c.Get(ctx, r.ID); getErr == nil {
			return ended, fmt.Errorf("%w; cancelling it: %w", err, cancelErr)
		}
	}
	return r, fmt.Errorf("%w; cancelling it: %w", err, cancelErr)
}
