package batch

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

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

// A step that waits for a slot or for its app waits for the step that has it.
func TestTheCriticalPathThroughHeldSteps(t *testing.T) {
	t.Parallel()
	ok := reloads.StatusSucceeded
	for _, test := range []struct {
		name      string
		maxActive int
		apps      [3]string
		second    [3]float64 // when it was created, started and ended
		third     [3]float64
		path      []int
		slowest   int
		took      time.Duration // of the last one on the path
	}{
		{"one at a time", 1, [3]string{"a", "b", "c"}, [3]float64{101.2, 102, 120}, [3]float64{121.1, 122, 124}, []int{0, 1, 2}, 0, 4 * time.Second},
		{"a clock that is behind", 1, [3]string{"a", "b", "c"}, [3]float64{100.6, 102, 120}, [3]float64{120.6, 122, 124}, []int{0, 1, 2}, 0, 4 * time.Second},
		{"two at a time", 2, [3]string{"a", "b", "c"}, [3]float64{0.2, 2, 110}, [3]float64{101.3, 102, 124}, []int{0, 2}, 0, 24 * time.Second},
		{"two end at once", 2, [3]string{"a", "b", "c"}, [3]float64{0.2, 2, 100.001}, [3]float64{101.3, 102, 124}, []int{1, 2}, 1, 23999 * time.Millisecond},
		{"the limit is not reached", 3, [3]string{"a", "b", "c"}, [3]float64{0.2, 2, 110}, [3]float64{101.3, 102, 124}, []int{2}, 2, 125 * time.Second},
		{"no limit", 0, [3]string{"a", "b", "c"}, [3]float64{0.2, 2, 110}, [3]float64{101.3, 102, 124}, []int{2}, 2, 125 * time.Second},
		{"the same app", 0, [3]string{"a", "b", "A"}, [3]float64{0.2, 2, 110}, [3]float64{101.3, 102, 124}, []int{0, 2}, 0, 24 * time.Second},
		{"the same app, and the limit is not reached", 9, [3]string{"a", "b", "a"}, [3]float64{0.2, 2, 100.2}, [3]float64{101.3, 102, 124}, []int{0, 2}, 0, 24 * time.Second},
		{"no noticeable wait", 1, [3]string{"a", "a", "a"}, [3]float64{0.2, 0.3, 0.4}, [3]float64{0.6, 2, 124}, []int{2}, 2, 125 * time.Second},
	} {
		b := New("", began, []Step{{Name: "first", App: test.apps[0]}, {Name: "second", App: test.apps[1]}, {Name: "third", App: test.apps[2]}})
		b.MaxActive = test.maxActive
		for i, times := range [][3]float64{{0.1, 1, 100}, test.second, test.third} {
			b.Finish(result(i, reload(test.name+b.Steps[i].Name, ok, times[0], times[1], times[2])), at(times[2]+1))
		}
		if diff := cmp.Diff(test.path, b.CriticalPath()); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		if got := b.Slowest(); got != test.slowest {
			t.Errorf("%s: the slowest step is %d, want %d", test.name, got, test.slowest)
		}
		if got := b.Took(2); got != test.took {
			t.Errorf("%s: the last step took %v, want %v", test.name, got, test.took)
		}
	}
}

// A step that was held after its predecessors had succeeded waited for the step that held it, not for them.
func TestAHeldStepWithPredecessors(t *testing.T) {
	t.Parallel()
	b := New("", began, []Step{{App: "a"}, {App: "b"}, {App: "c", After: []int{0}}})
	b.MaxActive = 2
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 9)), at(10))
	b.Change(1, reload("1", reloads.StatusReloading, 0, 1, -1))
	b.Finish(result(2, reload("2", reloads.StatusSucceeded, 10.4, 12, 70)), at(71))
	b.Finish(result(1, reload("1", reloads.StatusSucceeded, 0, 1, 20)), at(21))
	if diff := cmp.Diff([]int{0, 2}, b.CriticalPath()); diff != "" {
		t.Error("triggered at once: " + diff)
	}
	b.Steps[2].Reloads[0].CreationTime, b.MaxActive = at(21.3), 1
	if diff := cmp.Diff([]int{1, 2}, b.CriticalPath()); diff != "" {
		t.Error("held: " + diff)
	}
}

// A slot is taken before the reload is created.
func TestASlotOfASlowTrigger(t *testing.T) {
	t.Parallel()
	b := New("", began, []Step{{App: "a"}, {App: "b"}, {App: "c"}, {App: "d"}})
	b.MaxActive = 2
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 99)), at(100))
	b.Finish(result(1, reload("1", reloads.StatusSucceeded, 0, 1, 101)), at(101.7))
	b.Finish(result(2, reload("2", reloads.StatusSucceeded, 102, 103, 110)), at(111))
	b.Finish(result(3, reload("3", reloads.StatusSucceeded, 102.2, 103, 120)), at(121))
	if diff := cmp.Diff([]int{1, 3}, b.CriticalPath()); diff != "" {
		t.Error(diff)
	}
}

// Times of two clocks can contradict each other.
func TestTheCriticalPathHasNoLoop(t *testing.T) {
	t.Parallel()
	b := New("", began, []Step{{App: "a"}, {App: "b"}})
	b.MaxActive = 1
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 5, 5.1, 5.5)), at(5.6))
	b.Finish(result(1, reload("1", reloads.StatusSucceeded, 5.2, 5.3, 5.8)), at(5.9))
	if diff := cmp.Diff([]int{0, 1}, b.CriticalPath()); diff != "" {
		t.Error(diff)
	}
}
