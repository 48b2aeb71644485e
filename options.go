package reloads

import (
	"context"
	"strconv"
	"time"
)

// RunOption configures [Client.Run], [Client.RunAll], [Client.RunPlan] and [Client.WaitAll]. The order of options does
// not matter. If an option is given twice, the later one applies. A nil RunOption is ignored. If an option that has an
// effect is invalid, nothing is sent, and the error of every step matches [ErrBadRequest].
type RunOption func(*runOptions)

type runOptions struct {
	attach, after, cancel bool
	maxActive, reruns     int // 0 means no limit, and none
	stepTimeout           time.Duration
	once                  *string                // the key; nil without Once
	onChange              func(Request, *Reload) // nil without OnChange
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

func (o runOptions) validate() error {
	switch {
	case o.maxActive < 0:
		return invalid("MaxActive", strconv.Itoa(o.maxActive), mustNotBeNegative)
	case o.reruns < 0:
		return invalid("Rerun", strconv.Itoa(o.reruns), mustNotBeNegative)
	case o.stepTimeout < 0:
		return invalid("StepTimeout", o.stepTimeout.String(), mustNotBeNegative)
	case o.once != nil && *o.once == "":
		return invalid("Once", `""`, "the key must not be empty")
	case o.attach && o.after:
		return invalid("AttachToPending", "with AfterPending", "only one of them may be given")
	}
	return nil
}

// AttachToPending makes a step wait for the pending reload of its app, if there is one, instead of failing with
// [ErrReloadPending]. Two processes that run the same app at the same time then wait for the same reload. The pending reload may
// have been triggered with options other than those of the request. If it is not listed yet, the client lists the app's reloads
// and retries the trigger for up to half a minute, unless Retry-After is longer. It cannot be combined with [AfterPending].
func AttachToPending() RunOption { return func(o *runOptions) { o.attach = true } }

// AfterPending makes a step wait until the pending reload of its app has finished, if there is one, and then trigger its
// own, instead of failing with [ErrReloadPending]. It does not matter how the pending reload ends. [OnChange] does not
// receive it. If it is not listed, or not any more, the client lists the app's reloads and retries the trigger for up to half
// a minute, unless Retry-After is longer. It cannot be combined with [AttachToPending].
func AfterPending() RunOption { return func(o *runOptions) { o.after = true } }

// CancelOnAbort cancels the reloads in the service that are still waited for when ctx ends. A trigger in flight then has 5 s
// for its response, so that its reload can be canceled, too. If its response is lost, the client looks for the reload, but
// in the remaining time it may not be able to tell it from others, particularly if it has triggered nothing before, or if
// creation times are whole seconds. The error then matches [ErrOutcomeUnknown].
//
// Canceling takes at most 10 s, for all reloads of a batch together. Breaking out of the loop over a batch waits for
// that. The rate limit allows 50 cancels in that time. The errors of the other reloads say that they were not canceled.
// A reload that was attached to is not canceled, also if it was attached to because of [Once].
func CancelOnAbort() RunOption { return func(o *runOptions) { o.cancel = true } }

// MaxActive limits how many steps of a batch have a reload that is queued or running, for data sources and tenants
// that cannot take more at once. 0 means no limit. A negative n is refused. A reload that a step attaches to counts, and
// so does one that it waits for with [AfterPending]. Those that [Once] finds may exceed the limit. Then, nothing is
// triggered until fewer are active. A reload that may still run no longer counts when its step has ended, because of
// [StepTimeout] or with [ErrOutcomeUnknown].
func MaxActive(n int) RunOption { return func(o *runOptions) { o.maxActive = n } }

// Rerun triggers a reload that FAILED again, up to the given number of times. That includes one that the step attached to, but not
// one that ran into its [StepTimeout]. The wait before that doubles from 10 s to 5 minutes, reduced at random by up to a half.
// Meanwhile no other step of the batch reloads the app. A reload that was CANCELED or EXCEEDED_LIMIT is not triggered again, and a
// refused trigger is not retried. 0 means never. A negative number is refused. [Result].Runs is the number of runs.
func Rerun(times int) RunOption { return func(o *runOptions) { o.reruns = times } }

// Once makes sure that each step succeeds at most once under the key, even if the program is killed at any moment and started
// again, or runs on two machines. A key names one occasion, such as "nightly 2026-11-24". An empty key is refused.
//
// The service itself is the journal. Each run of a step has a [Request].ResourceID of its own: a hash of the key, the
// request, its position among identical requests of the batch, and the number of the run. A request must not have a
// ResourceID of its own. Before anything is triggered, the client lists the newest 200 reloads of each app, and right
// before each trigger those since then. If one of them belongs to the step and SUCCEEDED, it is the result. If it is
// active, the step attaches to it. Otherwise, the next run is triggered. So a key applies for as long as its reloads are
// among the newest 200 of their app. Steps may change their order between processes. Runs of earlier processes do not
// count for [Rerun]. A step waits for the active reload of another step with the same app, even without [AfterPending].
// A reload adopted by [AttachToPending] does not belong to the key.
//
// The token must be allowed to list the reloads of each app. If that fails, or the list comes from a cache, nothing is
// triggered for the app, and the step fails. The first lists take about 75 ms for each app, twice as long for apps with many reloads. Nothing is
// triggered in the first 3 s of a batch, so that the reloads of a program that was killed just before are listed.
//
// A step can still be triggered twice in two cases. A trigger takes effect only after another process has listed the
// app's reloads. Or the last list before a trigger does not contain the reload of another process yet, and that reload
// has finished when the trigger arrives: it took less time than the service takes to list it, or it was triggered after
// that list. The list is usually less than a second older than the trigger, but more if lists are slow. As long as a
// reload is active, the service refuses another one of its app.
//
// The OpenAPI document of the service says that it keeps a ResourceID, but that is not confirmed for a caller's own.
// Therefore, only one trigger at a time is in progress until the first reload is listed with its ResourceID. If it is
// not listed within half a minute, or any record comes back without it, that step and all steps that are not triggered
// yet have an error that says so. The reloads that were triggered are still waited for. If the [StepTimeout] of the first
// reload is shorter than that, the next one decides.
func Once(key string) RunOption { return func(o *runOptions) { o.once = &key } }

// StepTimeout limits how long a step waits for a reload, counted from the last attempt to trigger it or, if the step did not
// trigger it, from the beginning of the wait. Then the reload is canceled, and the error of the step matches
// [context.DeadlineExceeded], unless the reload has SUCCEEDED meanwhile. If the outcome of the trigger is unknown at that
// time, the reload is canceled when it is found. The step ends when the canceled reload has finished, or a minute after the
// response to the cancel. A cancel that waits for the rate limit is not sent if the reload finishes first. A pending reload
// of somebody else ([AttachToPending], [AfterPending]) is not canceled. 0 means no limit. A negative duration is refused.
func StepTimeout(d time.Duration) RunOption { return func(o *runOptions) { o.stepTimeout = d } }

// OnChange calls f with each reload after it was triggered or attached to, and after changes of its status, up to a
// terminal one. f is called by the goroutine that called [Client.Run] or ranges over the batch, one call at a time. A
// slow f does not delay polls and triggers. If a reload changes several times meanwhile, f receives only its most recent
// state. f must not modify the Reload. The Request is the caller's, with the same map of variables. A nil f is ignored.
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
