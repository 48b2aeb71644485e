package batch

import (
	"testing"
	"time"

	"github.com/reloads-go/reloads"
)

func TestRemaining(t *testing.T) {
	t.Parallel()
	check := func(what string, b *Batch, now float64, maxActive int, want time.Duration, wantOK bool) {
		t.Helper()
		b.MaxActive = maxActive
		if got, ok := b.Remaining(at(now)); got != want || ok != wantOK {
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
	if got, _ := b.Remaining(at(10)); got != 2*time.Minute+10*time.Second {
		t.Errorf("%v, want 2m10s: the last of 130 triggers waits two minutes, and its reload takes the mean time", got)
	}
}

func TestAnOverdueReloadDoesNotShortenTheEstimate(t *testing.T) {
	t.Parallel()
	b := New("https://tenant", began, make([]Step, 5))
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 9)), at(10))
	b.Change(1, reload("1", reloads.StatusReloading, 10, 11, -1))
	b.MaxActive = 1
	if got, _ := b.Remaining(at(40)); got != 30*time.Second {
		t.Errorf("%v, want 30s: three reloads of 10 s, one after another", got)
	}
}

func TestStepsFoundByOnceDoNotCountForTheEstimate(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Finish(reloads.Result{Reload: reload("0", reloads.StatusSucceeded, 0, 0, 0)}, at(10))
	if got, ok := b.Remaining(at(10)); ok {
		t.Errorf("%v is estimated from a step that ran nothing", got)
	}
}

func TestRemainingAfterAFailedRun(t *testing.T) {
	t.Parallel()
	b := diamond()
	b.Finish(result(0, reload("0", reloads.StatusSucceeded, 0, 1, 9)), at(10))
	b.Finish(result(1, reload("1", reloads.StatusSucceeded, 10, 11, 19)), at(20))
	b.Rerun = 1
	b.Change(2, reload("2", reloads.StatusFailed, 10, 11, 19))
	if got, _ := b.Remaining(at(20)); got != 20*time.Second {
		t.Errorf("%v, want 20s: the step runs once more, and its successor follows", got)
	}
}
