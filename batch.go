package reloads

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
)

// Run triggers a reload and waits until it has finished. It is [Client.RunAll] with one request. With an error, the reload
// is its most recent state, as in [Client.Wait]. It is nil if none was triggered or attached to. A reload whose trigger
// ended with [ErrOutcomeUnknown] is not returned, but with [Rerun], the one of the run before is.
func (c *Client) Run(ctx context.Context, req Request, opts ...RunOption) (r *Reload, err error) {
	for result := range c.RunAll(ctx, []Request{req}, opts...) {
		r, err = result.Reload, result.Err
	}
	return r, err
}

// RunAll runs many reloads that do not depend on each other. It is [Client.RunPlan] with a plan of reqs, in this order.
func (c *Client) RunAll(ctx context.Context, reqs []Request, opts ...RunOption) iter.Seq[Result] {
	var p Plan
	for _, req := range reqs {
		p.Add(req)
	}
	return c.RunPlan(ctx, &p, opts...)
}

// RunPlan runs the reloads of a plan, each after those it depends on have succeeded. It starts the steps in the order of
// the plan, up to 64 at a time, triggers their reloads as fast as the rate limit allows, tracks all of them, and yields
// the result of each step when it is known. Steps with the same app run one after another. If a step does not succeed,
// the steps that depend on it get their results at once. Their errors match [ErrSkipped] and the error of that step. All
// other steps go on, also if a request is invalid.
//
// When ctx ends, nothing more is triggered, and every step without a result gets one, which matches [ErrNotStarted] if
// that is why the step had no effect. Breaking out of the loop stops all work, except cancels after ctx has ended
// ([CancelOnAbort]). No goroutine remains after the loop. A reload goes on in the service, unless [CancelOnAbort] is given
// and ctx ended. A slow loop body delays only the results. Nothing is sent until the iterator is ranged over. Ranging
// again runs the plan again, as it was when RunPlan was called.
//
// If the plan or an option is invalid, nothing is sent, and the errors of all steps match [ErrBadRequest].
//
// Tracking many reloads takes few requests if the token may list the tenant's reloads, like that of a TenantAdmin. With
// another token, each reload is polled individually, and the intervals grow with the number of reloads.
func (c *Client) RunPlan(ctx context.Context, p *Plan, opts ...RunOption) iter.Seq[Result] {
	plan, o := p.clone(), newRunOptions(opts)
	return func(yield func(Result) bool) {
		if plan == nil {
			yield(Result{Err: invalid("Plan", "nil", "must not be nil")})
			return
		}
		if err := cmp.Or(plan.validate(), o.validate()); err != nil {
			refuseAll(plan, err, yield)
			return
		}
		b := newBatch(c, plan, o)
		if o.once != nil {
			identify(b.schedule.steps, *o.once)
		}
		b.run(ctx, yield, b.startAll)
	}
}

// WaitAll waits for existing reloads and yields the result of each when it has finished. Those that have already finished
// come first. Of the options, only [OnChange] and [StepTimeout] have an effect. Otherwise it is like [Client.RunAll].
func (c *Client) WaitAll(ctx context.Context, rs []*Reload, opts ...RunOption) iter.Seq[Result] {
	rs = slices.Clone(rs)
	all := newRunOptions(opts)
	o := runOptions{onChange: all.onChange, stepTimeout: all.stepTimeout}
	return func(yield func(Result) bool) {
		var plan Plan
		for _, r := range rs {
			var req Request
			if r != nil {
				req.AppID = r.AppID
			}
			plan.Add(req)
		}
		if err := o.validate(); err != nil {
			refuseAll(&plan, err, yield)
			return
		}
		b := newBatch(c, &plan, o)
		for i, st := range b.schedule.steps {
			st.reload = rs[i]
		}
		b.run(ctx, yield, func(context.Context) {
			for _, finished := range []bool{true, false} {
				for _, st := range b.schedule.steps {
					switch r := st.reload; {
					case finished != (r != nil && r.Ended()):
					case r == nil || r.ID == "":
						b.finishStep(st, r, invalid("rs", fmt.Sprintf("[%d]", st.index), "must be a reload with an ID"))
					default:
						b.track(st, given, r)
					}
				}
			}
		})
	}
}

// refuseAll yields the same error for every step.
func refuseAll(p *Plan, err error, yield func(Result) bool) {
	for i, s := range p.steps {
		if !yield(Result{Step: Step(i), Request: s.request(), Err: err}) {
			return
		}
	}
}

// newBatch returns the batch of a valid plan.
func newBatch(c *Client, p *Plan, o runOptions) *batch {
	b := &batch{
		tracker: newTracker(c), options: o,
		schedule: newSchedule(p, o.maxActive, o.once != nil), timeouts: newEventQueue[timeout](),
		admitting: make(chan struct{}, 1), lookUps: make(chan struct{}, concurrentLookUps),
	}
	b.received, b.ended = b.checkKept, b.endRun
	return b
}
