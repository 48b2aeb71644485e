package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
)

var began = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)

// at returns the time that many seconds after the batch began; zero if seconds is negative.
func at(seconds float64) time.Time {
	if seconds < 0 {
		return time.Time{}
	}
	return began.Add(time.Duration(seconds * float64(time.Second)))
}

// reload returns a reload with the given times; a negative one is missing.
func reload(id string, status reloads.Status, created, started, ended float64) *reloads.Reload {
	return &reloads.Reload{ID: id, Status: status, CreationTime: at(created), StartTime: at(started), EndTime: at(ended)}
}

// sample is a batch that is recorded step by step.
type sample struct{ *batch.Batch }

func newSample(steps ...batch.Step) sample {
	return sample{batch.New("https://acme.eu.qlikcloud.com", began, steps)}
}

// step returns a step with the given predecessors.
func step(name string, after ...int) batch.Step {
	return batch.Step{Name: name, App: fmt.Sprintf("116dbfae-7fb9-4983-8e23-%012x", len(name)*79190001), After: after}
}

// finish records the result of a step whose reloads have finished, a second after the end of the last one.
func (s sample) finish(step int, rs ...*reloads.Reload) {
	for _, r := range rs {
		r.AppID = s.Steps[step].App
		s.Change(step, r)
	}
	last := rs[len(rs)-1]
	s.Finish(reloads.Result{Step: reloads.Step(step), Reload: last, Runs: len(rs), Err: last.Err()}, last.EndTime.Add(time.Second))
}

// fail records that a step had no reload.
func (s sample) fail(step int, seconds float64, err error) {
	s.Finish(reloads.Result{Step: reloads.Step(step), Err: err}, at(seconds))
}

// night is a finished batch of twelve steps in four layers. One step needs two runs, one fails, and three are skipped.
func night() *batch.Batch {
	s := newSample(
		step("extract crm"), step("extract erp"), step("extract web"), step("exchange rates"),
		step("customers", 0), step("orders", 1, 3), step("sessions", 2), step("products", 1),
		step("sales", 4, 5), step("marketing", 4, 6),
		step("board report", 8, 9), step("campaign report", 9),
	)
	ok, failed := reloads.StatusSucceeded, reloads.StatusFailed
	s.finish(3, reload("r3", ok, 1.2, 3, 14))
	s.finish(0, reload("r0", ok, 0.3, 2, 95))
	s.finish(2, reload("r2a", failed, 0.9, 2.5, 61), reload("r2b", ok, 72, 80, 158))
	s.finish(1, reload("r1", ok, 0.6, 2.2, 182))
	s.finish(4, reload("r4", ok, 96.4, 110, 201))
	s.finish(7, reload("r7", ok, 183.5, 186, 240))
	s.finish(5, reload("r5", ok, 183.3, 188, 241))
	broken := reload("r6", failed, 159.4, 171, 289)
	broken.ErrorCode, broken.ErrorMessage = "EngineConnectionError", "failed to complete reload: unexpected EOF"
	s.Steps[6].Log = []string{"2026-11-24 02:04:48 sessions << web_events 1,204,331 lines fetched", "2026-11-24 02:04:49 Error: Connector reply error: timeout", "2026-11-24 02:04:49 Execution Failed"}
	s.finish(6, broken)
	s.fail(9, 290, fmt.Errorf("%w: %w", reloads.ErrSkipped, broken.Err()))
	s.fail(10, 290, fmt.Errorf("%w: %w", reloads.ErrSkipped, broken.Err()))
	s.fail(11, 290, fmt.Errorf("%w: %w", reloads.ErrSkipped, broken.Err()))
	s.finish(8, reload("r8", ok, 242.4, 322, 722))
	s.Close(at(723), 0)
	return s.Batch
}

// interruptedNight ends while two reloads are active. One step had succeeded before, one was refused, one was not started.
func interruptedNight() *batch.Batch {
	s := newSample(step("found"), step("running"), step("queued"), step("refused"), step("canceled"), step("later", 0, 1))
	before := reload("f0", reloads.StatusSucceeded, 0, 0, 0)
	before.CreationTime, before.StartTime, before.EndTime = at(0).Add(-time.Hour), at(0).Add(-50*time.Minute), at(0).Add(-40*time.Minute)
	s.Finish(reloads.Result{Reload: before}, at(3))
	s.fail(3, 3.5, fmt.Errorf("trigger: %w", &reloads.Error{StatusCode: 404, Method: "POST", Path: "/api/v1/reloads"}))
	aborted := func(i int, r *reloads.Reload) {
		s.Change(i, r)
		s.Finish(reloads.Result{Step: reloads.Step(i), Reload: r, Runs: 1, Err: fmt.Errorf("reloads: waiting for reload %s: %w", r.ID, context.Canceled)}, at(60))
	}
	aborted(1, reload("f1", reloads.StatusReloading, 3.2, 5, -1))
	aborted(2, reload("f2", reloads.StatusQueued, 3.4, -1, -1))
	s.finish(4, reload("f4", reloads.StatusCanceled, 3.3, 8, 30))
	s.fail(5, 60, fmt.Errorf("%w: %w", reloads.ErrNotStarted, context.Canceled))
	s.Close(at(60.5), 0)
	return s.Batch
}

// resumedNight continues a night that was killed while a reload was running, five minutes after its beginning.
func resumedNight() *batch.Batch {
	s := newSample(step("extract"), step("rates"), step("sales", 0, 1), step("stock", 0), step("margin", 2, 3), step("board", 4))
	before := func(seconds float64) time.Time { return began.Add(time.Duration(-seconds * float64(time.Second))) }
	earlier := func(i int, created, started, ended float64) *reloads.Reload {
		r := reload(fmt.Sprint("e", i), reloads.StatusSucceeded, 0, 0, 0)
		r.CreationTime, r.StartTime, r.EndTime = before(300-created), before(300-started), before(300-ended)
		return r
	}
	s.Finish(reloads.Result{Reload: earlier(0, 0, 2, 180)}, at(0.3))
	s.Finish(reloads.Result{Step: 1, Reload: earlier(1, 0.2, 1, 30)}, at(0.4))
	s.Finish(reloads.Result{Step: 3, Reload: earlier(3, 181, 185, 230)}, at(0.5))
	s.Finish(reloads.Result{Step: 2, Reload: earlier(2, 181, 190, 340), Runs: 1}, at(41))
	s.finish(4, reload("m0", reloads.StatusFailed, 41.5, 43, 60), reload("m1", reloads.StatusSucceeded, 69, 70, 90))
	s.fail(5, 92, errors.New("dial tcp 203.0.113.5:443: connect: connection refused"))
	s.Close(at(92), 0)
	return s.Batch
}

// heldNight has a limit of one active reload.
func heldNight() *batch.Batch {
	s := newSample(step("first"), step("second"), step("third"))
	s.MaxActive = 1
	s.finish(0, reload("h0", reloads.StatusSucceeded, 0.2, 1, 60))
	s.finish(1, reload("h1", reloads.StatusSucceeded, 61.2, 62, 270))
	s.finish(2, reload("h2", reloads.StatusSucceeded, 271.2, 272, 290))
	s.Close(at(291.5), 0)
	return s.Batch
}

// inProgress ends without results.
func inProgress() *batch.Batch {
	s := newSample(step("waiting"), step("queued"), step("running"), step("blocked", 0, 2))
	s.Change(1, reload("p1", reloads.StatusQueued, 1, -1, -1))
	s.Change(2, reload("p2", reloads.StatusReloading, 1, 2, -1))
	return s.Batch
}

// hostile has texts that try to leave their place.
func hostile() *batch.Batch {
	text := "<script>alert(1)</script>\x1b[2J\x00\u202egnp.exe\u2028\xff\"'></svg></style>]]>"
	s := newSample(batch.Step{Name: "a" + text, App: text}, batch.Step{Name: strings.Repeat("long ", 100), App: text, After: []int{0}})
	s.Tenant = "https://" + text
	broken := reload(text, reloads.StatusFailed, 1, 2, 3)
	broken.ErrorCode, broken.ErrorMessage = text, strings.Repeat(text, 200)
	s.Steps[0].Log = []string{text, strings.Repeat("W", 10_000)}
	s.finish(0, broken)
	s.fail(1, 4, reloads.ErrSkipped)
	s.Close(at(5), 0)
	return s.Batch
}

// short is a batch of one step that took less than a second.
func short() *batch.Batch {
	s := newSample(step("only"))
	s.Finish(reloads.Result{Reload: reload("s0", reloads.StatusSucceeded, 0.1, 0.2, 0.6), Runs: 1}, at(0.7))
	s.Close(at(0.75), 0)
	return s.Batch
}

// empty is a batch without steps.
func empty() *batch.Batch {
	s := newSample()
	s.Close(began, 0)
	return s.Batch
}

// many is a batch of n steps, eight at a time, each after one of the previous eight. Every 40th fails.
func many(n int) *batch.Batch {
	var steps []batch.Step
	for i := range n {
		s := step(fmt.Sprintf("application %03d of the nightly batch", i))
		if i >= 8 && i%5 != 0 {
			s.After = []int{i - 8}
		}
		steps = append(steps, s)
	}
	s := newSample(steps...)
	lane := make([]float64, 8) // when the previous reload of the lane ended
	for i := range n {
		if len(s.Steps[i].After) > 0 && s.Steps[i].Ready.IsZero() {
			s.fail(i, lane[i%8], reloads.ErrSkipped)
			continue
		}
		created := lane[i%8] + 0.5
		started := created + float64(i*7%23)
		lane[i%8] = started + 20 + float64(i*i%97)
		r := reload(fmt.Sprint("m", i), reloads.StatusSucceeded, created, started, lane[i%8])
		if i%40 == 39 {
			r.Status, r.ErrorCode = reloads.StatusFailed, "EngineConnectionError"
			s.Steps[i].Log = []string{"Connector reply error", "Execution Failed"}
		}
		lane[i%8]++
		s.finish(i, r)
	}
	s.Close(at(slices.Max(lane)), 0)
	return s.Batch
}
