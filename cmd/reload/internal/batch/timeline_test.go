package batch

import (
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
		{"waits to be triggered", Step{State: Waiting, Ready: at(3)}, []string{
			"0–3 waiting for its predecessors", "3–50 waiting to be triggered"}},
		{"queued", Step{State: Queued, Ready: at(0), Reloads: []*reloads.Reload{reload("1", reloads.StatusQueued, 5, -1, -1)}}, []string{
			"0–5 waiting to be triggered", "5–50 queued 1 QUEUED"}},
		{"running", Step{State: Running, Ready: at(0), Reloads: []*reloads.Reload{reload("1", reloads.StatusReloading, 5, 8, -1)}}, []string{
			"0–5 waiting to be triggered", "5–8 queued 1 RELOADING", "8–50 running 1 RELOADING"}},
		{"waits for its second run", Step{State: Waiting, Ready: at(0), Reloads: []*reloads.Reload{failed}}, []string{
			"0–5 waiting to be triggered", "5–8 queued 1 FAILED", "8–12 running 1 FAILED", "12–50 waiting for its next run"}},
		{"succeeded in its second run", Step{State: Succeeded, Ready: at(3), Ended: at(42), Reloads: []*reloads.Reload{failed, succeeded}}, []string{
			"0–3 waiting for its predecessors", "3–5 waiting to be triggered", "5–8 queued 1 FAILED", "8–12 running 1 FAILED",
			"12–25 waiting for its next run", "25–28 queued 2 SUCCEEDED", "28–40 running 2 SUCCEEDED"}},
		{"canceled in the queue", Step{State: Failed, Ready: at(0), Ended: at(12), Reloads: []*reloads.Reload{reload("1", reloads.StatusCanceled, 5, -1, 10)}}, []string{
			"0–5 waiting to be triggered", "5–10 queued 1 CANCELED"}},
		{"aborted", Step{State: Aborted, Ready: at(0), Ended: at(20), Reloads: []*reloads.Reload{reload("1", reloads.StatusReloading, 5, 8, -1)}}, []string{
			"0–5 waiting to be triggered", "5–8 queued 1 RELOADING", "8–20 running 1 RELOADING"}},
		{"ends later by the clock of the service", Step{State: Succeeded, Ready: at(0), Ended: at(10), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, 0, 1, 11)}}, []string{
			"0–1 queued 1 SUCCEEDED", "1–10 running 1 SUCCEEDED"}},
		{"created earlier by the clock of the service", Step{State: Succeeded, Ready: at(5), Ended: at(10), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, 4, 6, 9)}}, []string{
			"0–5 waiting for its predecessors", "5–6 queued 1 SUCCEEDED", "6–9 running 1 SUCCEEDED"}},
		{"the end is not known", Step{State: Succeeded, Ready: at(0), Ended: at(10), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, 0, 2, -1)}}, []string{
			"0–2 queued 1 SUCCEEDED", "2–10 running 1 SUCCEEDED"}},
		{"no times", Step{State: Succeeded, Ready: at(0), Ended: at(10), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, -1, -1, -1)}}, []string{
			"0–10 queued 1 SUCCEEDED"}},
		{"refused", Step{State: Refused, Ready: at(0), Ended: at(4)}, []string{"0–4 waiting to be triggered"}},
		{"skipped", Step{State: Skipped, Ended: at(4)}, []string{"0–4 waiting for its predecessors"}},
		{"in error", Step{State: Errored, Ready: at(0), Ended: at(4)}, []string{"0–4 waiting to be triggered"}},
		{"not started", Step{State: NotStarted, Ready: at(2), Ended: at(4)}, []string{
			"0–2 waiting for its predecessors", "2–4 waiting to be triggered"}},
	}
	for _, test := range tests {
		b := &Batch{Began: began, Start: began, Steps: []Step{test.step}}
		if diff := cmp.Diff(test.want, describe(b.Spans(0, at(50)))); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// resumed is a batch of which a first process ran the steps 0 and 1, and had triggered step 2 when it was killed, 100 s
// before the second one began.
func resumed() *Batch {
	b := diamond()
	b.Finish(reloads.Result{Reload: reloadFrom(-300, "0", 0, 1, 50)}, at(0.2))
	b.Finish(reloads.Result{Step: 1, Reload: reloadFrom(-300, "1", 52, 53, 60)}, at(0.3))
	attached := reloadFrom(-300, "2", 53, 60, 310)
	b.Finish(reloads.Result{Step: 2, Reload: attached, Runs: 1}, at(11))
	b.Finish(result(3, reload("3", reloads.StatusSucceeded, 11.5, 12, 14)), at(15))
	b.Close(at(16), 0)
	return b
}

// reloadFrom is like reload, with times in seconds since an offset to the beginning of the batch. None may be missing.
func reloadFrom(offset float64, id string, created, started, ended float64) *reloads.Reload {
	r := &reloads.Reload{ID: id, Status: reloads.StatusSucceeded}
	for field, seconds := range map[*time.Time]float64{&r.CreationTime: created, &r.StartTime: started, &r.EndTime: ended} {
		*field = began.Add(time.Duration((offset + seconds) * float64(time.Second)))
	}
	return r
}

func TestAResumedBatchShowsWhatTheEarlierOneDid(t *testing.T) {
	t.Parallel()
	b := resumed()
	if b.Ended != at(16) || b.Began != at(0) || b.Start != began.Add(-300*time.Second) {
		t.Errorf("the timeline is from %v to %v, and the batch began at %v", b.Start, b.Ended, b.Began)
	}
	for i, want := range [][]string{
		{"-300–-299 queued 1 SUCCEEDED", "-299–-250 running 1 SUCCEEDED"},
		{"-300–-250 waiting for its predecessors", "-250–-248 waiting to be triggered", "-248–-247 queued 1 SUCCEEDED", "-247–-240 running 1 SUCCEEDED"},
		{"-300–-250 waiting for its predecessors", "-250–-247 waiting to be triggered", "-247–-240 queued 1 SUCCEEDED", "-240–10 running 1 SUCCEEDED"},
		{"0–11 waiting for its predecessors", "11–11.5 waiting to be triggered", "11.5–12 queued 1 SUCCEEDED", "12–14 running 1 SUCCEEDED"},
	} {
		if diff := cmp.Diff(want, describe(b.Spans(i, b.Ended))); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
	if diff := cmp.Diff([]int{0, 2, 3}, b.CriticalPath()); diff != "" {
		t.Error(diff)
	}
	if slowest, took := b.Slowest(), b.Took(2); slowest != 2 || took != 261*time.Second {
		t.Errorf("the slowest step is %d, and step 2 took %v, want 4m21s", slowest, took)
	}
}

// The time in which no process ran does not count for the step that comes next.
func TestTheTimeBetweenTwoProcesses(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Finish(reloads.Result{Reload: reloadFrom(-300, "0", 0, 1, 50)}, at(0.2))
	b.Finish(result(1, reload("1", reloads.StatusSucceeded, 3, 4, 8)), at(9))
	b.Close(at(16), 0)
	want := []string{"0–0.2 waiting for its predecessors", "0.2–3 waiting to be triggered", "3–4 queued 1 SUCCEEDED", "4–8 running 1 SUCCEEDED"}
	if diff := cmp.Diff(want, describe(b.Spans(1, b.Ended))); diff != "" {
		t.Error(diff)
	}
	if got := b.Took(1); got != 8800*time.Millisecond {
		t.Errorf("step 1 took %v, want 8.8s", got)
	}
	if b.Slowest() != 0 || b.Took(0) != 50*time.Second {
		t.Errorf("the slowest step is %d, want the one of 50 s in the first process, which took %v", b.Slowest(), b.Took(0))
	}
}

func TestCloseWithAnOffset(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("CET", 3600)
	b := New("", began.In(zone), []Step{{}, {}, {}})
	b.Finish(reloads.Result{Reload: reloadFrom(-90, "0", 0, 1, 20)}, at(1))
	b.Finish(reloads.Result{Step: 1, Reload: &reloads.Reload{ID: "1", Status: reloads.StatusSucceeded, CreationTime: began.Add(-50 * time.Second)}}, at(1))
	attached := reload("2", reloads.StatusSucceeded, 0, 1, 2)
	attached.CreationTime = began.Add(-32 * time.Second) // clocks may differ by 2 s without an offset
	b.Finish(result(2, attached), at(3))
	b.Close(at(4), 30*time.Second)
	if want := began.Add(-time.Minute).In(zone); b.Start != want || b.Steps[0].Ended != began.Add(-40*time.Second).In(zone) {
		t.Errorf("the timeline starts at %v, and the first step ended at %v", b.Start, b.Steps[0].Ended)
	}
	if got := b.Steps[1].Ended; !got.Equal(began) {
		t.Errorf("a reload without an end from before the batch ended at %v, want when the batch began", got)
	}
	if got := b.Steps[2]; got.Ready != b.Began || got.Ended != at(3) {
		t.Errorf("a step of the batch was ready at %v and ended at %v", got.Ready, got.Ended)
	}
}

func TestOffset(t *testing.T) {
	t.Parallel()
	b := &Batch{Began: began, Start: began, Offset: -90 * time.Second, Steps: []Step{{
		State: Succeeded, Ready: at(0), Ended: at(13), Reloads: []*reloads.Reload{reload("1", reloads.StatusSucceeded, 91, 94, 102)},
	}}}
	want := []string{"0–1 waiting to be triggered", "1–4 queued 1 SUCCEEDED", "4–12 running 1 SUCCEEDED"}
	if diff := cmp.Diff(want, describe(b.Spans(0, at(50)))); diff != "" {
		t.Error(diff)
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
