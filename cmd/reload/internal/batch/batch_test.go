package batch

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
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

// result returns the result of a step whose reload has finished.
func result(step int, r *reloads.Reload) reloads.Result {
	return reloads.Result{Step: reloads.Step(step), Reload: r, Runs: 1, Err: r.Err()}
}

// diamond returns a batch of four steps: 0 before 1 and 2, both before 3.
func diamond() *Batch {
	return New("https://tenant", began, []Step{
		{Name: "a", App: "A"},
		{Name: "b", App: "B", After: []int{0}},
		{Name: "c", App: "C", After: []int{0}},
		{Name: "d", App: "D", After: []int{1, 2}},
	})
}

func (b *Batch) states() (states []State) {
	for i := range b.Steps {
		states = append(states, b.Steps[i].State)
	}
	return states
}

func TestNew(t *testing.T) {
	t.Parallel()
	steps := []Step{{Name: "a"}, {Name: "b", After: []int{0}}}
	b := New("https://tenant", time.Now(), steps)
	if diff := cmp.Diff([]State{Waiting, Waiting}, b.states()); diff != "" {
		t.Error(diff)
	}
	if b.Steps[0].Ready != b.Began || !b.Steps[1].Ready.IsZero() {
		t.Errorf("ready at %v and %v, want %v and never", b.Steps[0].Ready, b.Steps[1].Ready, b.Began)
	}
	if b.Began != b.Began.Round(0) {
		t.Error("the beginning has a monotonic clock, which the times of the service do not have")
	}
	b.Finish(result(0, reload("1", reloads.StatusSucceeded, 1, 2, 3)), time.Now())
	if ended := b.Steps[0].Ended; ended != ended.Round(0) || b.Steps[1].Ready != ended {
		t.Errorf("a step ended at %v, and the next was ready at %v, want no monotonic clock", ended, b.Steps[1].Ready)
	}
	if steps[0].State != "" {
		t.Error("New changed the steps of its caller")
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Rerun = 1
	for _, change := range []struct {
		reload  *reloads.Reload
		state   State
		reloads int
	}{
		{reload("1", reloads.StatusQueued, 1, -1, -1), Queued, 1},
		{reload("1", reloads.StatusReloading, 1, 2, -1), Running, 1},
		{reload("1", "NEW_STATUS", 1, 2, -1), Running, 1},
		{reload("1", reloads.StatusFailed, 1, 2, 3), Waiting, 1},
		{reload("2", reloads.StatusQueued, 13, -1, -1), Queued, 2},
		{reload("2", reloads.StatusCanceling, 13, -1, -1), Running, 2},
		{reload("2", reloads.StatusFailed, 13, 14, 15), Running, 2}, // the result follows
	} {
		b.Change(0, change.reload)
		s := &b.Steps[0]
		if s.State != change.state || len(s.Reloads) != change.reloads || s.Reload() != change.reload {
			t.Errorf("after %s: %s with %d reloads, want %s with %d", change.reload.Status, s.State, len(s.Reloads), change.state, change.reloads)
		}
	}
	b.Finish(result(0, reload("2", reloads.StatusSucceeded, 13, 14, 15)), at(16))
	b.Change(0, reload("2", reloads.StatusReloading, 13, 14, -1))
	if s := &b.Steps[0]; s.State != Succeeded || len(s.Reloads) != 2 {
		t.Errorf("a change after the result: %s with %d reloads", s.State, len(s.Reloads))
	}
}

func TestStatesOfResults(t *testing.T) {
	t.Parallel()
	succeeded, failed := reload("1", reloads.StatusSucceeded, 1, 2, 3), reload("1", reloads.StatusFailed, 1, 2, 3)
	canceled, active := reload("1", reloads.StatusCanceled, 1, 2, 3), reload("1", reloads.StatusReloading, 1, 2, -1)
	aborted := fmt.Errorf("waiting: %w", context.Canceled)
	for _, test := range []struct {
		name   string
		reload *reloads.Reload
		err    error
		want   State
	}{
		{"succeeded", succeeded, nil, Succeeded},
		{"failed", failed, failed.Err(), Failed},
		{"canceled", canceled, canceled.Err(), Failed},
		{"canceled because of the step's timeout", canceled, context.DeadlineExceeded, Failed},
		{"aborted, and canceled", canceled, fmt.Errorf("%w; the reload was canceled: %w", aborted, canceled.Err()), Failed},
		{"aborted", active, aborted, Aborted},
		{"failed, and its next run refused", failed, reloads.ErrReloadPending, Failed},
		{"refused", nil, fmt.Errorf("trigger: %w", &reloads.Error{StatusCode: 403}), Refused},
		{"invalid", nil, reloads.ErrBadRequest, Refused},
		{"pending, but perhaps its own", nil, fmt.Errorf("%w: %w", reloads.ErrOutcomeUnknown, &reloads.Error{StatusCode: 429}), Errored},
		{"an error of the service", nil, &reloads.Error{StatusCode: 503}, Errored},
		{"unreachable", nil, errors.New("connection refused"), Errored},
		{"succeeded, but Once does not work", succeeded, errors.New("the service does not keep the resource ID"), Errored},
		{"after a failed step", nil, fmt.Errorf("%w: %w", reloads.ErrSkipped, failed.Err()), Skipped},
		{"after a refused step", nil, fmt.Errorf("%w: %w", reloads.ErrSkipped, reloads.ErrReloadPending), Skipped},
		{"not started", nil, fmt.Errorf("%w: %w", reloads.ErrNotStarted, context.Canceled), NotStarted},
	} {
		b := diamond()
		b.Finish(reloads.Result{Reload: test.reload, Runs: 3, Err: test.err}, at(4))
		s := &b.Steps[0]
		if s.State != test.want {
			t.Errorf("%s: %s, want %s", test.name, s.State, test.want)
		}
		if s.Runs != 3 || s.Err != test.err || s.Ended != at(4) || !s.Finished() || s.Reload() != test.reload {
			t.Errorf("%s: the result is not recorded: %+v", test.name, s)
		}
	}
}

func TestAStepIsReadyWhenAllPredecessorsHaveSucceeded(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 2)), at(3))
	b.Finish(result(2, reload("2", reloads.StatusSucceeded, 3, 4, 5)), at(6))
	if got := b.Steps[3].Ready; !got.IsZero() {
		t.Errorf("the last step was ready at %v, before one of its predecessors", got)
	}
	b.Finish(result(1, reload("1", reloads.StatusSucceeded, 3, 4, 8)), at(9))
	for i, want := range []time.Time{at(0), at(3), at(3), at(9)} {
		if got := b.Steps[i].Ready; got != want {
			t.Errorf("step %d was ready at %v, want %v", i, got, want)
		}
	}
	b = diamond()
	b.Finish(result(0, reload("0", reloads.StatusFailed, 0, 1, 2)), at(3))
	if got := b.Steps[1].Ready; !got.IsZero() {
		t.Errorf("the successor of a failed step was ready at %v", got)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Change(0, reload("0", reloads.StatusQueued, 0, -1, -1))
	b.Finish(reloads.Result{Step: 3, Err: reloads.ErrNotStarted}, at(1))
	want := map[State]int{Queued: 1, Waiting: 2, NotStarted: 1}
	if diff := cmp.Diff(want, b.Counts()); diff != "" {
		t.Error(diff)
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	b := &Batch{Steps: []Step{{State: Skipped}, {State: Aborted}, {State: Errored}, {State: Skipped}}}
	if got, want := fmt.Sprint(b.Tally()), "[1 stopped waiting 1 errored 2 skipped]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, state := range States {
		b := &Batch{Steps: []Step{{State: state}}}
		if diff := cmp.Diff([]Count{{state, 1}}, b.Tally()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	with := func(status reloads.Status) []*reloads.Reload { return []*reloads.Reload{{Status: status}} }
	for want, s := range map[string]Step{
		"succeeded before": {State: Succeeded, Reloads: with(reloads.StatusSucceeded)},
		"succeeded":        {State: Succeeded, Reloads: with(reloads.StatusSucceeded), Runs: 1},
		"failed":           {State: Failed, Reloads: with(reloads.StatusFailed), Runs: 1},
		"exceeded limit":   {State: Failed, Reloads: with(reloads.StatusExceededLimit), Runs: 1},
		"stopped waiting":  {State: Aborted, Reloads: with(reloads.StatusReloading), Runs: 1},
		"not started":      {State: NotStarted},
	} {
		if got := s.Label(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
