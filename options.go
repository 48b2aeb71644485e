package reloads

import "sync"

// RunOption configures [Client.Run] and [Client.RunAll].
type RunOption func(*runOptions)

type runOptions struct {
	attach, cancel bool
	onChange       func(Request, *Reload)
}

func newRunOptions(opts []RunOption) runOptions {
	o := runOptions{onChange: func(Request, *Reload) {}}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// AttachToPending waits for the pending reload of the app, if there is one, instead of failing with
// [ErrReloadPending]. Two processes that run the same app at the same time then wait for the same reload. The pending
// reload may have been triggered with options other than those of the request.
func AttachToPending() RunOption { return func(o *runOptions) { o.attach = true } }

// CancelOnAbort cancels the reload in the service if ctx ends before the reload has finished. This takes up to 10 s
// more. A reload that was attached to is not canceled. In a batch, as many reloads are canceled as the rate limit allows
// in that time, at most 50. The results of the others say that they were not canceled.
func CancelOnAbort() RunOption { return func(o *runOptions) { o.cancel = true } }

// OnChange calls f with each reload after it was triggered or attached to, and after each change of its status, up to a
// terminal one. There is one call at a time, and the run waits for it. f must not modify the Reload. A nil f is ignored.
func OnChange(f func(Request, *Reload)) RunOption {
	return func(o *runOptions) {
		if f == nil {
			return
		}
		var mu sync.Mutex
		o.onChange = func(req Request, r *Reload) {
			mu.Lock()
			defer mu.Unlock()
			f(req, r)
		}
	}
}
