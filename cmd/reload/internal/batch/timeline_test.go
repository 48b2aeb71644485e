package batch

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

// describe returns spans as text, with times in seconds since the batch began.
func describe(spans []Span) (texts []string) {
	for _, s := range spans {
		text := fmt.Sprintf("%v–%v %s", s.From.Sub(began).Seconds(), s.To.Sub(began).Seconds(), s.Phase)
		if s.Run > 0 {
			text += fmt.Sprintf(" %d %s", s.Run, s.Status)
		}
		texts = append(texts, text)
	}
	return texts
}

func TestSpans(t *testing.T) {
	t.Parallel()
	succeeded := reload("2", reloads.StatusSucceeded, 25, 28, 40)
	failed := reload("1", reloads.StatusFailed, 5, 8, 12)
	tests := []struct {
		name string
		step Step
		want []string
	}{
		{"waits for its predecessors", Step{State: Waiting}, []string{"0–50 waiting for its predecessors"}},
		{"waits for its app or a limit", Step{State: Waiting, Ready: at(3)}, []string{
			"0–3 waiting for its predecessors", "3–50 waiting for its app or a limit"}},
		{"queued", Step{State: Queued, Ready: at(0), Reloads: []*reloads.Reload{reload("1", reloads.StatusQueued, 5, -1, -1)}}, []string{
			"0–5 waiting for its app or a limit", "5–50 queued 1 QUEUED"}},
		{"running", Step{State: Running, Ready: at(0), Reloads: []*reloads.Reload{reload("1", reloads.StatusReloading, 5, 8, -1)}}, []string{
			"0–5 waiting for its app or a limit", "5–8 queued 1 RELOADING", "8–50 running 1 RELOADING"}},
		{"waits for its second run", Step{State: Waiting, Ready: at(0), Reloads: []*reloads.Reload{failed}}, []string{
			"0–5 waiting for its app or a limit", "5–8 queued 1 FAILED", "8–12 running 1 FAILED", "12–50 waiting for its app or a limit"}},
		{"succeeded in its second run", Step{State: Succeeded, Ready: at(3), Ended: at(42), Reloads: []*reloads.Reload{failed, succeeded}}, []string{
			"0–3 waiting for its predecessors", "3–5 waiting for its app or a limit", "5–8 queued 1 FAILED", "8–12 running 1 FAILED",
			"12–25 waiting for its app or a limit", "25–28 queued 2 SUCCEEDED", "28–40 running 2 SUCCEEDED"}},
		{"canceled in the queue", Step{State: Failed, Ready: at(0), Ended: at(12), Reloads: []*reloads.Reload{reload("1", reloads.StatusCanceled, 5, -1, 10)}}, []string{
			"0–5 waiting for its app or a limit", "5–10 queued 1 CANCELED"}},
		{"aborted", Step{State: Aborted, Ready: at(0), Ended: at(20), Reloads: []*reloads.Reload{reload("1", reloads.StatusReloading, 5, 8, -1)}}, []string{
			"0–5 waiting for its app or a limit", "5–8 queued 1 RELOADING", "8–20 running 1 RELOADING"}},
		{"ends later by the clock of the service", Step{State: Succeeded, Ready: at(0), Ended: at(10), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, 0, 1, 11)}}, []string{
			"0–1 queued 1 SUCCEEDED", "1–10 running 1 SUCCEEDED"}},
		{"created earlier by the clock of the service", Step{State: Succeeded, Ready: at(5), Ended: at(10), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, 4, 6, 9)}}, []string{
			"0–5 waiting for its predecessors", "5–6 queued 1 SUCCEEDED", "6–9 running 1 SUCCEEDED"}},
		{"the end is not known", Step{State: Succeeded, Ready: at(0), Ended: at(10), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, 0, 2, -1)}}, []string{
			"0–2 queued 1 SUCCEEDED", "2–10 running 1 SUCCEEDED"}},
		{"no times", Step{State: Succeeded, Ready: at(0), Ended: at(10), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, -1, -1, -1)}}, []string{
			"0–10 queued 1 SUCCEEDED"}},
		{"refused", Step{State: Refused, Ready: at(2), Ended: at(4)}, []string{
			"0–2 waiting for its predecessors", "2–4 waiting for its app or a limit"}},
		{"skipped", Step{State: Skipped, Ended: at(4)}, []string{"0–4 waiting for its predecessors"}},
		{"not started", Step{State: NotStarted, Ready: at(2), Ended: at(4)}, []string{
			"0–2 waiting for its predecessors", "2–4 waiting for its app or a limit"}},
	}
	for _, test := range tests {
		b := &Batch{Began: began, Steps: []Step{test.step}}
		if diff := cmp.Diff(test.want, describe(b.Spans(0, at(50)))); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestSpansOfReloadsFromBeforeTheBatch(t *testing.T) {
	t.Parallel()
	ago := func(r *reloads.Reload) *reloads.Reload {
		r.CreationTime, r.StartTime = r.CreationTime.Add(-time.Hour), r.StartTime.Add(-time.Hour)
		return r
	}
	found := ago(reload("1", reloads.StatusSucceeded, 0, 10, -1))
	found.EndTime = began.Add(-time.Minute)
	b := diamond()
	b.Finish(reloads.Result{Reload: found}, at(3))
	b.Finish(reloads.Result{Step: 1, Reload: found}, at(4))
	attached := ago(reload("2", reloads.StatusSucceeded, 0, 10, 20))
	b.Finish(result(2, attached), at(21))

	for i, want := range [][]string{
		nil, // found by Once
		{"0–3 waiting for its predecessors"},
		{"0–3 waiting for its predecessors", "3–20 running 1 SUCCEEDED"},
	} {
		if diff := cmp.Diff(want, describe(b.Spans(i, at(30)))); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
}

func TestOffset(t *testing.T) {
	t.Parallel()
	b := &Batch{Began: began, Offset: -90 * time.Second, Steps: []Step{{
		State: Succeeded, Ready: at(0), Ended: at(13), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, 91, 94, 102)},
	}}}
	want := []string{"0–1 waiting for its app or a limit", "1–4 queued 1 SUCCEEDED", "4–12 running 1 SUCCEEDED"}
	if diff := cmp.Diff(want, describe(b.Spans(0, at(50)))); diff != "" {
		t.Error(diff)
	}
}

func TestCriticalPath(t *testing.T) {
	t.Parallel()
	b := diamond()
	if path, slowest := b.CriticalPath(), b.Slowest(); path != nil || slowest != -1 {
		t.Errorf("without results: %v, slowest %d", path, slowest)
	}
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 2)), at(3))
	b.Finish(result(2, reload("2", reloads.StatusSucceeded, 3, 4, 5)), at(6))
	if diff := cmp.Diff([]int{0, 2}, b.CriticalPath()); diff != "" {
		t.Error("in progress: " + diff)
	}
	b.Finish(result(1, reload("1", reloads.StatusSucceeded, 3, 4, 8)), at(9))
	b.Finish(result(3, reload("3", reloads.StatusFailed, 9, 10, 12)), at(13))
	if diff := cmp.Diff([]int{0, 1, 3}, b.CriticalPath()); diff != "" {
		t.Error("finished: " + diff)
	}
	if got := b.Slowest(); got != 1 {
		t.Errorf("the slowest step is %d, want 1", got)
	}
	if got := b.Took(1); got != 6*time.Second {
		t.Errorf("step 1 took %v, want 6s", got)
	}
}

func TestTheCriticalPathHasNoStepsWithoutReloads(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 2)), at(3))
	b.Finish(result(1, reload("1", reloads.StatusFailed, 3, 4, 8)), at(9))
	b.Finish(reloads.Result{Step: 3, Err: reloads.ErrSkipped}, at(9))
	b.Finish(reloads.Result{Step: 2, Err: reloads.ErrReloadPending}, at(10))
	if diff := cmp.Diff([]int{0, 1}, b.CriticalPath()); diff != "" {
		t.Error(diff)
	}
	if got := b.Took(3); got != 0 {
		t.Errorf("a skipped step took %v", got)
	}
}

func TestTheCriticalPathOfAnAbortedBatch(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 2)), at(3))
	b.Finish(reloads.Result{Step: 1, Reload: reload("1", reloads.StatusReloading, 3, 4, -1), Runs: 1, Err: context.Canceled}, at(9))
	b.Finish(reloads.Result{Step: 3, Err: reloads.ErrNotStarted}, at(9))
	if diff := cmp.Diff([]int{0, 1}, b.CriticalPath()); diff != "" {
		t.Error(diff)
	}
}

func TestRemaining(t *testing.T) {
	t.Parallel()
	check := func(what string, b *Batch, now float64, maxActive int, want time.Duration, wantOK bool) {
		t.Helper()
		if got, ok := b.Remaining(at(now), maxActive); got != want || ok != wantOK {
			t.Errorf("%s: %v, %t, want %v, %t", what, got, ok, want, wantOK)
		}
	}
	b := diamond()
	check("nothing has finished", b, 5, 0, 0, false)
	b.Change(0, reload("0", reloads.StatusReloading, 0, 1, -1))
	check("the first one runs", b, 5, 0, 0, false)
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 9)), at(10))
	check("two layers of 10 s are left", b, 10, 0, 20*time.Second, true)
	check("three reloads, one after another", b, 10, 1, 30*time.Second, true)
	b.Change(1, reload("1", reloads.StatusQueued, 10, -1, -1))
	b.Change(2, reload("2", reloads.StatusReloading, 10, 11, -1))
	check("two have run for 4 s", b, 14, 0, 16*time.Second, true)
	check("two have run for 4 s, two at once", b, 14, 2, 16*time.Second, true)
	check("two take longer than the mean", b, 40, 0, 10*time.Second, true)
	b.Finish(result(1, reload("1", reloads.StatusFailed, 10, 20, 39)), at(40))
	b.Finish(reloads.Result{Step: 3, Err: reloads.ErrSkipped}, at(40))
	check("the rest has been running for longer than the mean of 20 s", b, 40, 0, 0, true)
	b.Finish(result(2, reload("2", reloads.StatusSucceeded, 10, 11, 41)), at(42))
	check("all have finished", b, 42, 0, 0, true)
}

func TestRemainingByTheRateLimit(t *testing.T) {
	t.Parallel()
	b := New("https://tenant", began, make([]Step, 131))
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 9)), at(10))
	if got, _ := b.Remaining(at(10), 0); got != 2*time.Minute+10*time.Second {
		t.Errorf("%v, want 2m10s: the last of 130 triggers waits two minutes, and its reload takes the mean time", got)
	}
}

func TestAnOverdueReloadDoesNotShortenTheEstimate(t *testing.T) {
	t.Parallel()
	b := New("https://tenant", began, make([]Step, 5))
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 9)), at(10))
	b.Change(1, reload("1", reloads.StatusReloading, 10, 11, -1))
	if got, _ := b.Remaining(at(40), 1); got != 30*time.Second {
		t.Errorf("%v, want 30s: three reloads of 10 s, one after another", got)
	}
}

func TestStepsFoundByOnceDoNotCountForTheEstimate(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Finish(reloads.Result{Reload: reload("0", reloads.StatusSucceeded, 0, 0, 0)}, at(10))
	if got, ok := b.Remaining(at(10), 0); ok {
		t.Errorf("%v is estimated from a step that ran nothing", got)
	}
}

func TestRemainingAfterAFailedRun(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 9)), at(10))
	b.Finish(result(1, reload("1", reloads.StatusSucceeded, 10, 11, 19)), at(20))
	b.Change(2, reload("2", reloads.StatusFailed, 10, 11, 19))
	if got, _ := b.Remaining(at(20), 0); got != 20*time.Second {
		t.Errorf("%v, want 20s: the step runs once more, and its successor follows", got)
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ after, want [][]int }{
		{nil, nil},
		{[][]int{nil}, [][]int{{0}}},
		{[][]int{nil, nil, nil}, [][]int{{0, 1, 2}}},
		{[][]int{nil, {0}, {1}}, [][]int{{0}, {1}, {2}}},
		{[][]int{nil, {0}, nil, {1, 2}, {2}, {0, 3}}, [][]int{{0, 2}, {1, 4}, {3}, {5}}},
	} {
		if diff := cmp.Diff(test.want, Layers(test.after)); diff != "" {
			t.Errorf("%v: %s", test.after, diff)
		}
	}
}
