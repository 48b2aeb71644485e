package reloads

import "context"

// RunOption configures [Client.Run], [Client.RunAll] and [Client.WaitAll]. The order of options does not matter. A nil
// RunOption is ignored.
type RunOption func(*runOptions)

type runOptions struct {
	attach, cancel bool
	onChange       func(Request, *Reload) // nil if OnChange is not given
}

func newRunOptions(opts []RunOption) runOptions {
	var o runOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// AttachToPending makes a run wait for the pending reload of the app, if there is one, instead of failing with
// [ErrReloadPending]. Two processes that run the same app at the same time then wait for the same reload. The pending
// reload may have been triggered with options other than those of the request. If it is not listed yet, the client
// lists the app's reloads and retries the trigger for up to half a minute.
func AttachToPending() RunOption { return func(o *runOptions) { o.attach = true } }

// CancelOnAbort cancels the reload in the service if ctx ends before the reload has finished. A trigger in flight is
// not interrupted then, so that its reload can be canceled, too. Canceling takes at most 10 s, for all reloads of a
// batch together. Breaking out of the loop over a batch waits for that. The rate limit allows 50 cancels in that time. The errors of the other reloads say that they were not
// canceled. A reload that was attached to is not canceled.
func CancelOnAbort() RunOption { return func(o *runOptions) { o.cancel = true } }

// OnChange calls f with each reload after it was triggered or attached to, and after changes of its status, up to a
// terminal one. f is called by the goroutine that called [Client.Run] or ranges over the batch, one call at a time. A
// slow f delays the polls of Run, but not the polls and triggers of a batch. If a reload of a batch changes several
// times meanwhile, f receives only its most recent state. f must not modify the Reload. A nil f is ignored. A later
// OnChange replaces an earlier one.
func OnChange(f func(Request, *Reload)) RunOption {
	return func(o *runOptions) {
		if f != nil {
			o.onChange = f
		}
	}
}

func (o runOptions) change(req Request, r *Reload) {
	if o.onChange != nil {
		o.onChange(req, r)
	}
}

// grace returns the time in which the reloads are canceled after ctx has ended, or nil if they are not.
func (o runOptions) grace(ctx context.Context) *graceTime {
	if !o.cancel {
		return nil
	}
	return newGraceTime(ctx)
}
