package reloads

import "sync"

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
