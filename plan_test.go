package reloads_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/reloads-go/reloads"
)

// results ranges over a batch and returns the results by step. It checks that every step has one.
func results(t *testing.T, n int, batch func(func(reloads.Result) bool)) []reloads.Result {
	t.Helper()
	byStep := map[reloads.Step]reloads.Result{}
	for r := range batch {
		if _, twice := byStep[r.Step]; twice {
			t.Errorf("step %d has two results", r.Step)
		}
		byStep[r.Step] = r
	}
	all := make([]reloads.Result, n)
	for i := range all {
		r, ok := byStep[reloads.Step(i)]
		if !ok || len(byStep) != n {
			t.Fatalf("%d results, step %d has one: %v; want %d", len(byStep), i, ok, n)
		}
		all[i] = r
	}
	return all
}

// outcomes describes results: the status of the reload, or the class of the error, and the number of runs.
func outcomes(rs []reloads.Result) (texts []string) {
	for _, r := range rs {
		text := "no reload"
		if r.Reload != nil {
			text = string(r.Reload.Status)
		}
		for _, class := range []error{
			reloads.ErrSkipped, reloads.ErrNotStarted, reloads.ErrReloadPending, reloads.ErrQuotaExceeded, reloads.ErrBadRequest,
			reloads.ErrReloadFailed, context.DeadlineExceeded, context.Canceled,
		} {
			if errors.Is(r.Err, class) {
				text += ", " + strings.TrimPrefix(class.Error(), "reloads: ")
			}
		}
		texts = append(texts, fmt.Sprintf("%s, %d runs", text, r.Runs))
	}
	return texts
}

func checkOutcomes(t *testing.T, rs []reloads.Result, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, outcomes(rs)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// inBubble runs a test with a world and its client in a synctest bubble.
func inBubble(t *testing.T, w *world, test func(t *testing.T, client *reloads.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, scriptedClient(t, w)) })
}

func TestPlanRunsChain(t *testing.T) {
	t.Parallel()
	w := &world{runFor: 20 * time.Second, latency: 50 * time.Millisecond}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		var plan reloads.Plan
		extract := plan.Add(reloads.Request{AppID: "extract"})
		left := plan.Add(reloads.Request{AppID: "left"}, extract)
		right := plan.Add(reloads.Request{AppID: "right"}, extract)
		plan.Add(reloads.Request{AppID: "report"}, left, right, left)
		if plan.Len() != 4 {
			t.Errorf("Len: got %d, want 4", plan.Len())
		}
		succeeded := "SUCCEEDED, 1 runs"
		checkOutcomes(t, results(t, 4, client.RunPlan(t.Context(), &plan)), succeeded, succeeded, succeeded, succeeded)
		made := map[string]*worldRecord{}
		for _, r := range w.own() {
			made[r.app] = r
		}
		for _, edge := range [][2]string{{"extract", "left"}, {"extract", "right"}, {"left", "report"}, {"right", "report"}} {
			if wait := made[edge[1]].created.Sub(made[edge[0]].ended); wait < 0 || wait > 5*time.Second {
				t.Errorf("%s was triggered %v after the end of %s", edge[1], wait, edge[0])
			}
		}
	})
}

// failing returns the outcomes of a world in which all reloads of some apps end with status, and all others succeed.
func failing(status reloads.Status, apps ...string) func(*worldRecord) reloads.Status {
	return func(r *worldRecord) reloads.Status {
		if slices.Contains(apps, r.app) {
			return status
		}
		return reloads.StatusSucceeded
	}
}

func TestFailedStepSkipsItsDescendants(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond, ends: failing(reloads.StatusFailed, "bad")}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		var plan reloads.Plan
		bad := plan.Add(reloads.Request{AppID: "bad"})
		good := plan.Add(reloads.Request{AppID: "good"})
		child := plan.Add(reloads.Request{AppID: "child"}, bad, good)
		plan.Add(reloads.Request{AppID: "grandchild"}, child)
		plan.Add(reloads.Request{AppID: "other"}, good)
		rs := results(t, 5, client.RunPlan(t.Context(), &plan))
		checkOutcomes(t, rs, "FAILED, reload failed, 1 runs", "SUCCEEDED, 1 runs",
			"no reload, skipped, reload failed, 0 runs", "no reload, skipped, reload failed, 0 runs", "SUCCEEDED, 1 runs")
		var cause *reloads.ReloadError
		if !errors.As(rs[3].Err, &cause) || cause.Reload.AppID != "bad" {
			t.Errorf("the error of the grandchild is %v, want the one of the step that failed", rs[3].Err)
		}
		if text := rs[3].Err.Error(); strings.Count(text, "skipped") != 1 || !strings.Contains(text, "step 0") {
			t.Errorf("the error of the grandchild is %q, want only the root cause", text)
		}
	})
}

// The results of skipped steps come when the step fails, not when the plan ends.
func TestSkippedStepsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond, ends: failing(reloads.StatusExceededLimit, "bad")}
	w.lasts = func(app string) time.Duration { return map[string]time.Duration{"slow": time.Hour}[app] }
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		var plan reloads.Plan
		plan.Add(reloads.Request{AppID: "slow"})
		plan.Add(reloads.Request{AppID: "skipped"}, plan.Add(reloads.Request{AppID: "bad"}))
		began := time.Now()
		for r := range client.RunPlan(t.Context(), &plan) {
			if errors.Is(r.Err, reloads.ErrSkipped) && time.Since(began) > 2*time.Minute {
				t.Errorf("the step was skipped after %v", time.Since(began))
			}
		}
	})
}

func TestInvalidBatchIsRefused(t *testing.T) {
	t.Parallel()
	requests := requestsFor("a", "b")
	for _, test := range []struct {
		name string
		run  func(*reloads.Client, context.Context) func(func(reloads.Result) bool)
		n    int
		text string
	}{
		{"step after itself", func(c *reloads.Client, ctx context.Context) func(func(reloads.Result) bool) {
			var plan reloads.Plan
			plan.Add(requests[0])
			plan.Add(requests[1], 1)
			return c.RunPlan(ctx, &plan)
		}, 2, "Plan step 1: must start after earlier steps of this plan, got step 1"},
		{"step after a negative one", func(c *reloads.Client, ctx context.Context) func(func(reloads.Result) bool) {
			var plan reloads.Plan
			plan.Add(requests[0], -1)
			return c.RunPlan(ctx, &plan)
		}, 1, "step 0: must start after earlier steps of this plan, got step -1"},
		{"nil plan", func(c *reloads.Client, ctx context.Context) func(func(reloads.Result) bool) {
			return c.RunPlan(ctx, nil)
		}, 1, "Plan nil: must not be nil"},
		{"MaxActive", func(c *reloads.Client, ctx context.Context) func(func(reloads.Result) bool) {
			return c.RunAll(ctx, requests, reloads.MaxActive(-1))
		}, 2, "MaxActive -1: must not be negative"},
		{"Rerun", func(c *reloads.Client, ctx context.Context) func(func(reloads.Result) bool) {
			return c.RunAll(ctx, requests, reloads.Rerun(-2))
		}, 2, "Rerun -2: must not be negative"},
		{"StepTimeout", func(c *reloads.Client, ctx context.Context) func(func(reloads.Result) bool) {
			return c.RunAll(ctx, requests, reloads.StepTimeout(-time.Second))
		}, 2, "StepTimeout -1s: must not be negative"},
		{"StepTimeout of WaitAll", func(c *reloads.Client, ctx context.Context) func(func(reloads.Result) bool) {
			return c.WaitAll(ctx, []*reloads.Reload{{ID: "1"}}, reloads.StepTimeout(-time.Second))
		}, 1, "StepTimeout -1s: must not be negative"},
		{"Once", func(c *reloads.Client, ctx context.Context) func(func(reloads.Result) bool) {
			return c.RunAll(ctx, requests, reloads.Once(""))
		}, 2, `Once "": the key must not be empty`},
		{"two ways to treat a pending reload", func(c *reloads.Client, ctx context.Context) func(func(reloads.Result) bool) {
			return c.RunAll(ctx, requests, reloads.AttachToPending(), reloads.AfterPending())
		}, 2, "AttachToPending with AfterPending: only one of them may be given"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := &world{}
			client := scriptedClient(t, w)
			for _, r := range results(t, test.n, test.run(client, t.Context())) {
				if !errors.Is(r.Err, reloads.ErrBadRequest) || !strings.Contains(r.Err.Error(), test.text) {
					t.Errorf("got %v, want an error with %q", r.Err, test.text)
				}
			}
			for range test.run(client, t.Context()) {
				break // must not call yield again
			}
			if n := len(w.sent()); n > 0 {
				t.Errorf("%d requests were sent, want none", n)
			}
		})
	}
}

func TestPlanIsCopied(t *testing.T) {
	t.Parallel()
	inBubble(t, &world{}, func(t *testing.T, client *reloads.Client) {
		var plan reloads.Plan
		first := plan.Add(reloads.Request{AppID: "a"})
		after := []reloads.Step{first}
		plan.Add(reloads.Request{AppID: "b"}, after...)
		after[0] = 7
		batch := client.RunPlan(t.Context(), &plan)
		plan.Add(reloads.Request{AppID: "c"})
		for range 2 { // ranging again runs again
			checkOutcomes(t, results(t, 2, batch), "SUCCEEDED, 1 runs", "SUCCEEDED, 1 runs")
		}
	})
}

func TestPlanWhenContextEnds(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Hour, latency: 50 * time.Millisecond, ends: failing(reloads.StatusFailed, "bad")}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		var plan reloads.Plan
		slow := plan.Add(reloads.Request{AppID: "slow"})
		child := plan.Add(reloads.Request{AppID: "child"}, slow)
		plan.Add(reloads.Request{AppID: "grandchild"}, child)
		plan.Add(reloads.Request{AppID: "SLOW"}) // the same app
		checkOutcomes(t, results(t, 4, client.RunPlan(ctx, &plan, reloads.CancelOnAbort())),
			"CANCELING, context deadline exceeded, 1 runs", "no reload, not started, context deadline exceeded, 0 runs",
			"no reload, not started, context deadline exceeded, 0 runs", "no reload, not started, context deadline exceeded, 0 runs")
	})
}

func TestMaxActive(t *testing.T) {
	t.Parallel()
	w := &world{runFor: 10 * time.Minute, latency: 100 * time.Millisecond}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		foreign := w.triggerForeign(worldRecord{app: "app 3"}, time.Hour)
		var reqs []reloads.Request
		for i := range 12 {
			reqs = append(reqs, reloads.Request{AppID: fmt.Sprint("app ", i)})
		}
		rs := results(t, 12, client.RunAll(t.Context(), reqs, reloads.MaxActive(3), reloads.AttachToPending()))
		if rs[3].Reload.ID != foreign.id || rs[3].Runs != 1 {
			t.Errorf("step 3 has %v and %d runs, want the foreign reload", rs[3].Reload, rs[3].Runs)
		}
		checkMaxActive(t, w, 3, map[string]bool{"app 3": true})
		for i := 1; i < len(rs); i++ {
			if previous := rs[i-1].Reload; i != 3 && i != 4 && rs[i].Reload.CreationTime.Before(previous.CreationTime) {
				t.Errorf("step %d was triggered before the previous one", i)
			}
		}
	})
}

// checkMaxActive checks how many reloads were active at once, and that they use the limit.
func checkMaxActive(t *testing.T, w *world, limit int, withForeign map[string]bool) {
	t.Helper()
	most := 0
	for _, at := range w.all {
		n := 0
		for _, r := range w.all {
			if r.foreign && !withForeign[r.app] {
				continue
			}
			if !at.created.Before(r.created) && at.created.Before(r.ended) {
				n++
			}
		}
		if !at.foreign {
			most = max(most, n)
		}
	}
	// A foreign reload is not known to the batch until it attaches to it.
	if most < limit || most > limit+len(withForeign) {
		t.Errorf("at most %d reloads were active at once, want %d", most, limit)
	}
}

func TestRerun(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Second, latency: 50 * time.Millisecond}
	w.ends = func(r *worldRecord) reloads.Status {
		switch {
		case r.app == "twice" && r.number < 2, r.app == "always":
			return reloads.StatusFailed
		case r.app == "canceled":
			return reloads.StatusCanceled
		case r.app == "exceeded":
			return reloads.StatusExceededLimit
		}
		return reloads.StatusSucceeded
	}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		changes := map[string]int{}
		rs := results(t, 5, client.RunAll(t.Context(), requestsFor("twice", "always", "canceled", "exceeded", "twice"), reloads.Rerun(2),
			reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
				if r.Ended() {
					changes[r.ID]++
				}
			})))
		checkOutcomes(t, rs, "SUCCEEDED, 3 runs", "FAILED, reload failed, 3 runs", "CANCELED, 1 runs", "EXCEEDED_LIMIT, 1 runs",
			"SUCCEEDED, 1 runs")
		runs := map[string][]*worldRecord{}
		for _, r := range w.own() {
			runs[r.app] = append(runs[r.app], r)
			if changes[r.id] != 1 {
				t.Errorf("OnChange received the end of reload %s of %s %d times", r.id, r.app, changes[r.id])
			}
		}
		for i, wait := range []time.Duration{10 * time.Second, 20 * time.Second} {
			for _, app := range []string{"twice", "always"} {
				if d := runs[app][i+1].created.Sub(runs[app][i].ended); d < wait/2 || d > wait+2*time.Second {
					t.Errorf("run %d of %s was triggered %v after the end of the previous one, want %v", i+2, app, d, wait)
				}
			}
		}
		if r := rs[0]; r.Reload.ID != runs["twice"][2].id {
			t.Errorf("the result has reload %s, want the last one", r.Reload.ID)
		}
	})
}

// A failed step that waits for its next run does not count as active, and its result is its reload when ctx ends.
func TestContextEndsBeforeRerun(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond, ends: failing(reloads.StatusFailed, "a", "b")}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		rs := results(t, 2, client.RunAll(ctx, requestsFor("a", "b"), reloads.Rerun(100), reloads.MaxActive(1),
			reloads.OnChange(func(req reloads.Request, r *reloads.Reload) {
				if r.Ended() && req.AppID == "b" {
					cancel()
				}
			})))
		checkOutcomes(t, rs, "FAILED, reload failed, context canceled, 1 runs", "FAILED, reload failed, context canceled, 1 runs")
	})
}

func TestRerunThatIsRefused(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond, ends: failing(reloads.StatusFailed, "a", "b")}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		posts := 0
		w.instead = func(r *http.Request) outcome {
			if isTrigger(r) {
				if posts++; posts == 2 {
					return respond(403, `{"errors":[{"code":"RELOADS-013","title":"quota"}]}`)
				}
			}
			return nil
		}
		rs := results(t, 1, client.RunAll(t.Context(), requestsFor("a"), reloads.Rerun(5)))
		checkOutcomes(t, rs, "FAILED, reload quota exceeded, reload failed, 1 runs")
	})
}

// If the outcome of a second run is unknown, the result still has the reload of the first one.
func TestRerunWhoseOutcomeIsUnknown(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond, ends: failing(reloads.StatusFailed, "a")}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		ctx, _ := newCall(t.Context(), postPlan{}, lostBefore)
		w.instead = func(r *http.Request) outcome {
			if isList(r) && len(w.postTimes()) > 1 && r.URL.Query().Get("appId") != "" {
				return respond(403, "")
			}
			return nil
		}
		r, err := client.Run(ctx, reloads.Request{AppID: "a"}, reloads.Rerun(1))
		if own := w.own(); len(own) != 1 || r == nil || r.ID != own[0].id || !errors.Is(err, reloads.ErrOutcomeUnknown) || !errors.Is(err, reloads.ErrReloadFailed) {
			t.Errorf("got %v, %v, and %d reloads, want the reload of the first run and ErrOutcomeUnknown", r, err, len(own))
		}
	})
}

func TestAfterPending(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond, listLag: 2 * time.Second, ends: func(r *worldRecord) reloads.Status {
		return []reloads.Status{reloads.StatusFailed, reloads.StatusSucceeded, reloads.StatusSucceeded}[r.number]
	}}
	failed := false
	w.instead = func(r *http.Request) outcome { // the first poll of the pending reload fails
		if !isGet(r) || failed {
			return nil
		}
		failed = true
		return respond(http.StatusInternalServerError, "")
	}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		foreign := w.triggerForeign(worldRecord{app: "a"}, 20*time.Minute)
		var states []string
		rs := results(t, 2, client.RunAll(t.Context(), requestsFor("a", "a"), reloads.AfterPending(),
			reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
				states = append(states, r.ID)
			})))
		checkOutcomes(t, rs, "SUCCEEDED, 1 runs", "SUCCEEDED, 1 runs")
		own := w.own()
		if d := own[0].created.Sub(foreign.ended); d < 0 || d > 20*time.Second {
			t.Errorf("the step triggered its reload %v after the end of the pending one", d)
		}
		if slices.Contains(states, foreign.id) {
			t.Error("OnChange received the reload of somebody else")
		}
	})
}

// A pending reload that is deleted has ended.
func TestAfterPendingThatIsDeleted(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		foreign := w.triggerForeign(worldRecord{app: "a"}, 20*time.Minute)
		deleted := false
		time.AfterFunc(10*time.Minute, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			deleted, foreign.ended = true, time.Now()
			delete(w.byID, foreign.id)
		})
		w.unlisted = func(r *worldRecord) bool { return deleted && r == foreign }
		checkOutcomes(t, results(t, 1, client.RunAll(t.Context(), requestsFor("a"), reloads.AfterPending())), "SUCCEEDED, 1 runs")
	})
}

func TestContextEndsWhileWaitingForPendingReload(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		foreign := w.triggerForeign(worldRecord{app: "a"}, 20*time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		rs := results(t, 1, client.RunAll(ctx, requestsFor("a"), reloads.AfterPending(), reloads.CancelOnAbort()))
		checkOutcomes(t, rs, "no reload, not started, context deadline exceeded, 0 runs")
		if !strings.Contains(rs[0].Err.Error(), "waiting for the pending reload of app a: ") {
			t.Errorf("got %v", rs[0].Err)
		}
		rs = results(t, 1, client.RunAll(t.Context(), requestsFor("a"), reloads.AfterPending(), reloads.StepTimeout(time.Minute)))
		checkOutcomes(t, rs, "no reload, context deadline exceeded, 0 runs")
		if !foreign.canceled.IsZero() {
			t.Error("the reload of somebody else was canceled")
		}
	})
}

// The context ends while a step waits for the end of a reload that its timeout has canceled.
func TestContextEndsAfterStepTimeout(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Hour, latency: 50 * time.Millisecond, instead: func(r *http.Request) outcome {
		if isCancel(r) {
			return respond(http.StatusForbidden, "")
		}
		return nil
	}}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(65*time.Second, cancel)
		rs := results(t, 1, client.RunAll(ctx, requestsFor("a"), reloads.StepTimeout(time.Minute), reloads.CancelOnAbort()))
		checkOutcomes(t, rs, "RELOADING, context deadline exceeded, context canceled, 1 runs")
	})
}

// Before its rerun, a step waits for the reload of somebody else. Its result is that of the run before.
func TestContextEndsWhileRerunWaitsForPendingReload(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Second, latency: 50 * time.Millisecond, ends: failing(reloads.StatusFailed, "a")}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		time.AfterFunc(4*time.Second, func() { w.triggerForeign(worldRecord{app: "a"}, time.Hour) })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		rs := results(t, 1, client.RunAll(ctx, requestsFor("a"), reloads.AfterPending(), reloads.Rerun(1)))
		checkOutcomes(t, rs, "FAILED, reload failed, context deadline exceeded, 1 runs")
		if !strings.Contains(rs[0].Err.Error(), "running it again: reloads: waiting for the pending reload of app a") {
			t.Errorf("got %v", rs[0].Err)
		}
	})
}

// The search for the pending reload ends with ctx, so the step has had no effect.
func TestContextEndsWhileListingPendingReloads(t *testing.T) {
	t.Parallel()
	w := &world{instead: func(r *http.Request) outcome {
		if isList(r) {
			return hangs
		}
		return nil
	}}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		w.triggerForeign(worldRecord{app: "a"}, time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		checkOutcomes(t, results(t, 1, client.RunAll(ctx, requestsFor("a"), reloads.AttachToPending())),
			"no reload, not started, a reload of the app is already pending, context deadline exceeded, 0 runs")
	})
}

// The list that would show the pending reload has no end.
func TestCursorLoopWhileListingPendingReloads(t *testing.T) {
	t.Parallel()
	w := &world{instead: func(r *http.Request) outcome {
		if isList(r) {
			return respond(http.StatusOK, `{"data":[],"links":{"next":{"href":"?next=1"}}}`)
		}
		return nil
	}}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		w.triggerForeign(worldRecord{app: "a"}, time.Hour)
		_, err := client.Run(t.Context(), reloads.Request{AppID: "a"}, reloads.AttachToPending())
		if !errors.Is(err, reloads.ErrReloadPending) || !errors.Is(err, reloads.ErrCursorLoop) {
			t.Errorf("got %v", err)
		}
	})
}

func TestStepTimeout(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond}
	w.lasts = func(app string) time.Duration { return map[string]time.Duration{"stuck": 9 * time.Hour}[app] }
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		began := time.Now()
		var plan reloads.Plan
		plan.Add(reloads.Request{AppID: "child"}, plan.Add(reloads.Request{AppID: "stuck"}))
		plan.Add(reloads.Request{AppID: "quick"})
		plan.Add(reloads.Request{AppID: "stuck"})
		rs := results(t, 4, client.RunPlan(t.Context(), &plan, reloads.StepTimeout(10*time.Minute), reloads.Rerun(3)))
		checkOutcomes(t, rs, "CANCELED, context deadline exceeded, 1 runs", "no reload, skipped, context deadline exceeded, 0 runs",
			"SUCCEEDED, 1 runs", "CANCELED, context deadline exceeded, 1 runs")
		if !errors.Is(rs[0].Err, reloads.ErrReloadCanceled) {
			t.Errorf("got %v, want an error that also says that the reload was canceled", rs[0].Err)
		}
		if d := time.Since(began); d > 21*time.Minute {
			t.Errorf("the plan took %v", d)
		}
		if rs := results(t, 1, client.RunAll(t.Context(), requestsFor("stuck"), reloads.StepTimeout(500*time.Millisecond))); !errors.Is(rs[0].Err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end after 500 ms", rs[0].Err)
		}
	})
}

// The time counts from the trigger, also if its reload is found or tracked later.
func TestStepTimeoutCountsFromTheTrigger(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lag   time.Duration
		plan  postPlan // of the first trigger
		limit time.Duration
		opts  []reloads.RunOption
		late  time.Duration // how much later than the limit a reload may be canceled
	}{
		"lost, found before the limit": {lag: 6 * time.Second, plan: lostAfter, limit: 10 * time.Second},
		"lost, found after the limit":  {lag: 20 * time.Second, plan: lostAfter, limit: 5 * time.Second, late: 26 * time.Second},
		"a slow response":              {plan: postPlan{hold: 4 * time.Second}, limit: 5 * time.Second},
		"retried":                      {plan: lostBefore, limit: 5 * time.Second},
		"Once":                         {lag: 25 * time.Second, limit: 5 * time.Second, opts: []reloads.RunOption{reloads.Once("key")}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{runFor: time.Hour, latency: 20 * time.Millisecond, listLag: c.lag}
				ctx, _ := newCall(t.Context(), c.plan)
				client := scriptedClient(t, w, reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(1, 5*time.Second)}))
				opts := append(c.opts, reloads.StepTimeout(c.limit))
				rs := results(t, 2, client.RunAll(ctx, requestsFor("a", "b"), opts...))
				checkOutcomes(t, rs, "CANCELED, context deadline exceeded, 1 runs", "CANCELED, context deadline exceeded, 1 runs")
				if own := w.own(); name == "Once" && own[1].created.Sub(own[0].created) > 5200*time.Millisecond {
					t.Errorf("the second trigger was sent %v after the first one, want 5 s", own[1].created.Sub(own[0].created))
				}
				for _, r := range w.own() {
					if d := r.canceled.Sub(r.created); d < c.limit-100*time.Millisecond || d > c.limit+c.late+100*time.Millisecond {
						t.Errorf("a reload was canceled %v after its trigger, want %v", d, c.limit)
					}
				}
			})
		})
	}
}

// A cancel that is refused, or without an effect, does not hold up the step for long.
func TestStepTimeoutWhenCancelFails(t *testing.T) {
	t.Parallel()
	for name, cancel := range map[string]outcome{
		"refused":   respond(403, `{"errors":[{"code":"RELOADS-003"}]}`),
		"no effect": respond(202, `{"status":"CANCELING"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{queueFor: 90 * time.Second, runFor: time.Hour, latency: 50 * time.Millisecond}
			w.instead = func(r *http.Request) outcome {
				if isCancel(r) {
					return cancel
				}
				return nil
			}
			inBubble(t, w, func(t *testing.T, client *reloads.Client) {
				began := time.Now()
				r, err := client.Run(t.Context(), reloads.Request{AppID: "a"}, reloads.StepTimeout(time.Minute))
				if r == nil || r.Status != reloads.StatusReloading || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 130*time.Second {
					t.Errorf("got %v and %v after %v", r, err, time.Since(began))
				}
				if failed := strings.Contains(fmt.Sprint(err), "; canceling it: "); failed != (name == "refused") {
					t.Errorf("the error %v says that the cancel failed: %t", err, failed)
				}
			})
		})
	}
}

// A reload that succeeds although it was canceled because of the timeout is a success.
func TestStepTimeoutTooLateToCancel(t *testing.T) {
	t.Parallel()
	w := &world{runFor: 65 * time.Second, latency: 50 * time.Millisecond}
	w.instead = func(r *http.Request) outcome {
		if isCancel(r) {
			return respond(202, `{"status":"CANCELING"}`)
		}
		return nil
	}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		if r, err := client.Run(t.Context(), reloads.Request{AppID: "a"}, reloads.StepTimeout(time.Minute)); err != nil {
			t.Errorf("got %v and %v", r, err)
		}
	})
}

// Each step has its own timeout. A reload that has finished before is not canceled.
func TestStepTimeoutOfStepsThatStartOneByOne(t *testing.T) {
	t.Parallel()
	w := &world{latency: 50 * time.Millisecond, lasts: func(app string) time.Duration {
		return map[string]time.Duration{"a": time.Hour, "b": 10 * time.Second, "c": time.Hour}[app]
	}}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		var plan reloads.Plan
		plan.Add(reloads.Request{AppID: "a"})
		plan.Add(reloads.Request{AppID: "c"}, plan.Add(reloads.Request{AppID: "b"}))
		rs := results(t, 3, client.RunPlan(t.Context(), &plan, reloads.StepTimeout(time.Minute)))
		checkOutcomes(t, rs, "CANCELED, context deadline exceeded, 1 runs", "SUCCEEDED, 1 runs", "CANCELED, context deadline exceeded, 1 runs")
		cancels := 0
		for _, r := range w.sent() {
			if strings.HasSuffix(r.path, "/actions/cancel") {
				cancels++
			}
		}
		for _, r := range w.own() {
			if d := r.canceled.Sub(r.created); cancels != 2 || d > time.Minute+time.Second {
				t.Errorf("%d cancels, that of %s after %v, want 2 after a minute", cancels, r.app, d)
			}
		}
	})
}

// The loop waits for a cancel in flight, even if the transport ignores its end.
func TestNoCancelIsLeft(t *testing.T) {
	t.Parallel()
	ended := false
	w := &world{latency: 50 * time.Millisecond, runFor: 62 * time.Second, instead: func(r *http.Request) outcome {
		if !isCancel(r) {
			return nil
		}
		time.Sleep(30 * time.Second)
		ended = true
		return fails(errReset)
	}}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		checkOutcomes(t, results(t, 1, client.RunAll(t.Context(), requestsFor("a"), reloads.StepTimeout(time.Minute))), "SUCCEEDED, 1 runs")
		if !ended {
			t.Error("a cancel is left")
		}
	})
}

// A cancel that waits for the rate limit is not sent if its reload finishes first, so that it delays no other.
func TestStepTimeoutOfManyCancelsOnlyActive(t *testing.T) {
	t.Parallel()
	w := &world{latency: 50 * time.Millisecond}
	w.lasts = func(app string) time.Duration {
		if strings.HasPrefix(app, "stuck") {
			return 9 * time.Hour
		}
		return 70 * time.Second
	}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		var apps []string
		for i := range 500 {
			apps = append(apps, fmt.Sprint("app", i))
		}
		apps = append(apps, "stuck1", "stuck2")
		began, succeeded := time.Now(), 0
		for r := range client.WaitAll(t.Context(), w.foreignReloads(apps), reloads.StepTimeout(time.Minute)) {
			if r.Err == nil {
				succeeded++
			}
		}
		cancels := 0
		for _, r := range w.sent() {
			if strings.HasSuffix(r.path, "/actions/cancel") {
				cancels++
			}
		}
		// A minute after the first 50 cancels, the next ones may be sent.
		if took := time.Since(began); cancels > 55 || succeeded != 502-cancels || took > 130*time.Second {
			t.Errorf("%d cancels and %d successes of 502 reloads after %v, want 50 to 55 cancels within 130s", cancels, succeeded, took)
		}
	})
}

func TestStepTimeoutOfWaitAll(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Hour, latency: 50 * time.Millisecond}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		r, err := client.Trigger(t.Context(), reloads.Request{AppID: "a"})
		if err != nil {
			t.Fatal(err)
		}
		rs := results(t, 1, client.WaitAll(t.Context(), []*reloads.Reload{r}, reloads.StepTimeout(time.Minute)))
		checkOutcomes(t, rs, "CANCELED, context deadline exceeded, 0 runs")
		attached := w.triggerForeign(worldRecord{app: "b"}, 2*time.Hour)
		rs = results(t, 1, client.RunAll(t.Context(), requestsFor("b"), reloads.AttachToPending(), reloads.StepTimeout(time.Minute)))
		checkOutcomes(t, rs, "RELOADING, context deadline exceeded, 1 runs")
		if !attached.canceled.IsZero() {
			t.Error("the reload of somebody else was canceled")
		}
	})
}

// A plan of 500 steps in 20 layers, in which some reloads fail.
func TestPlanOf500Steps(t *testing.T) {
	t.Parallel()
	layers := size(20, 4)
	for seed := range uint64(size(5, 1)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const width, apps = 25, 400
			random := rand.New(rand.NewPCG(seed, 0))
			var bad []string
			for i := range apps {
				if random.IntN(50) == 0 {
					bad = append(bad, fmt.Sprint("app ", i))
				}
			}
			w := &world{seed: seed, queueFor: 2 * time.Second, runFor: time.Second, latency: 100 * time.Millisecond, spread: true}
			w.lasts = func(string) time.Duration { return time.Duration(random.Int64N(int64(3 * time.Minute))) }
			w.ends = failing(reloads.StatusFailed, bad...)
			var plan reloads.Plan
			after := map[reloads.Step][]reloads.Step{}
			for layer := range layers {
				for range width {
					var predecessors []reloads.Step
					for range min(layer, 1+random.IntN(2)) {
						predecessors = append(predecessors, reloads.Step((layer-1)*width+random.IntN(width)))
					}
					// Some apps are in several steps.
					step := plan.Add(reloads.Request{AppID: fmt.Sprint("app ", random.IntN(apps))}, predecessors...)
					after[step] = predecessors
				}
			}
			synctest.Test(t, func(t *testing.T) {
				client := scriptedClient(t, w)
				rs := results(t, layers*width, client.RunPlan(t.Context(), &plan, reloads.MaxActive(20)))
				checkPlan(t, w, rs, after)
				checkMaxActive(t, w, 20, nil)
			})
		})
	}
}

// checkPlan checks that each step ran after its predecessors, and that exactly the descendants of failed ones were skipped.
func checkPlan(t *testing.T, w *world, rs []reloads.Result, after map[reloads.Step][]reloads.Step) {
	t.Helper()
	count := map[string]int{}
	for _, r := range rs {
		skip := false
		for _, predecessor := range after[r.Step] {
			skip = skip || rs[predecessor].Err != nil
			if earlier := rs[predecessor].Reload; r.Reload != nil && r.Reload.CreationTime.Before(earlier.EndTime) {
				t.Errorf("step %d was triggered before the end of step %d", r.Step, predecessor)
			}
		}
		class := "succeeded"
		switch {
		case errors.Is(r.Err, reloads.ErrSkipped):
			class = "skipped"
		case errors.Is(r.Err, reloads.ErrReloadFailed):
			class = "failed"
		case r.Err != nil:
			t.Errorf("step %d: %v", r.Step, r.Err)
		}
		if skip != (class == "skipped") || skip != (r.Reload == nil) {
			t.Errorf("step %d %s, a predecessor did not succeed: %v", r.Step, class, skip)
		}
		count[class]++
	}
	if len(w.postTimes()) != count["succeeded"]+count["failed"] { // a 429 would need another trigger
		t.Errorf("%d triggers for %v", len(w.postTimes()), count)
	}
	if len(slices.Collect(maps.Keys(count))) != 3 {
		t.Errorf("the plan has only %v", count)
	}
}

// A step that becomes ready later comes before those behind it in the plan.
func TestReadyStepsGoInOrderOfThePlan(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		var plan reloads.Plan
		first := plan.Add(reloads.Request{AppID: "0"})
		plan.Add(reloads.Request{AppID: "1"}, first)
		plan.Add(reloads.Request{AppID: "2"})
		plan.Add(reloads.Request{AppID: "3"})
		results(t, 4, client.RunPlan(t.Context(), &plan, reloads.MaxActive(1)))
		var order []string
		for _, r := range w.own() {
			order = append(order, r.app)
		}
		if diff := cmp.Diff([]string{"0", "1", "2", "3"}, order); diff != "" {
			t.Errorf("order of the triggers (-want +got):\n%s", diff)
		}
	})
}

// A reload that FAILED after its timeout is not triggered again.
func TestStepTimeoutIsNotRerun(t *testing.T) {
	t.Parallel()
	w := &world{runFor: 65 * time.Second, latency: 50 * time.Millisecond, ends: failing(reloads.StatusFailed, "a")}
	w.instead = func(r *http.Request) outcome {
		if isCancel(r) {
			return respond(202, `{"status":"CANCELING"}`)
		}
		return nil
	}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		rs := results(t, 1, client.RunAll(t.Context(), requestsFor("a"), reloads.StepTimeout(time.Minute), reloads.Rerun(3)))
		checkOutcomes(t, rs, "FAILED, reload failed, context deadline exceeded, 1 runs")
	})
}

// Steps that depend on one that was not started because of the deadline were not started for the same reason.
func TestDependentsOfStepThatWasNotStarted(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Minute, latency: 50 * time.Millisecond}
	synctest.Test(t, func(t *testing.T) {
		client := scriptedClient(t, w, reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(1, 10*time.Minute)}))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var plan reloads.Plan
		plan.Add(reloads.Request{AppID: "a"})
		plan.Add(reloads.Request{AppID: "c"}, plan.Add(reloads.Request{AppID: "b"}))
		checkOutcomes(t, results(t, 3, client.RunPlan(ctx, &plan, reloads.MaxActive(1))), "SUCCEEDED, 1 runs",
			"no reload, not started, context deadline exceeded, 0 runs", "no reload, not started, context deadline exceeded, 0 runs")
	})
}

// The same holds for a step whose reload is canceled because the context ended, also while no other step can be started, because
// as many triggers as possible are in flight.
func TestDependentsOfStepThatWasCanceled(t *testing.T) {
	t.Parallel()
	posts := 0
	w := &world{latency: 50 * time.Millisecond, planPost: func() postPlan {
		if posts++; posts <= 2 {
			return postPlan{}
		}
		return postPlan{hold: time.Hour}
	}}
	w.lasts = func(app string) time.Duration { return map[string]time.Duration{"a": time.Hour}[app] }
	synctest.Test(t, func(t *testing.T) {
		client := scriptedClient(t, w, unmetered)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		var plan reloads.Plan
		plan.Add(reloads.Request{AppID: "b"}, plan.Add(reloads.Request{AppID: "a"}))
		first := plan.Add(reloads.Request{AppID: "c"})
		for i := range 65 {
			plan.Add(reloads.Request{AppID: fmt.Sprint(i)}, first)
		}
		checkOutcomes(t, results(t, 68, client.RunPlan(ctx, &plan, reloads.CancelOnAbort()))[:2],
			"CANCELING, context canceled, 1 runs", "no reload, not started, context canceled, 0 runs")
	})
}

// A reload that is too new for its cancel is canceled a little later.
func TestStepTimeoutOfNewReload(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Hour, latency: 50 * time.Millisecond}
	w.instead = func(r *http.Request) outcome {
		if posts := w.postTimes(); isCancel(r) && time.Since(posts[0]) < 8*time.Second {
			return respond(http.StatusNotFound, `{"errors":[{"code":"HTTP-404"}]}`)
		}
		return nil
	}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		rs := results(t, 1, client.RunAll(t.Context(), requestsFor("a"), reloads.StepTimeout(2*time.Second)))
		checkOutcomes(t, rs, "CANCELED, context deadline exceeded, 1 runs")
	})
}
