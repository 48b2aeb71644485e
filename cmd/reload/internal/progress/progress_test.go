package progress

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares a text with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got; go test -update accepts it):\n%s", diff)
	}
}

// newBatch returns a batch of seven steps that begins now.
func newBatch() *batch.Batch {
	b := batch.New("https://tenant.example.com", time.Now(), []batch.Step{
		{Name: "extract", App: "app-0"},
		{Name: "sales", App: "app-1", After: []int{0}},
		{Name: "stock of all warehouses in all regions, by day", App: "app-2", After: []int{0}},
		{Name: "app-3", App: "app-3"},
		{Name: "売上", App: "app-4"},
		{Name: "report", App: "app-5", After: []int{1, 2}},
		{Name: "budget", App: "app-6"},
	})
	b.MaxActive, b.Rerun = 1, 1
	return b
}

// hold calls f while the display shows and records nothing.
func (d *Display) hold(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// record returns a record of the reload of a step that was created now, and is running or finished for the other statuses.
func record(step, run int, status reloads.Status, created time.Time) *reloads.Reload {
	r := &reloads.Reload{ID: fmt.Sprintf("reload-%d-%d", step, run), AppID: fmt.Sprintf("app-%d", step), Status: status, CreationTime: created}
	if status != reloads.StatusQueued {
		r.StartTime = created.Add(time.Second)
	}
	if r.Ended() {
		r.EndTime = time.Now()
	}
	return r
}

// scene is what happens in a batch at one time.
type scene func(d *Display, began time.Time)

// scenes are a batch with a rerun, a failure, an error, a skipped step, and one that had succeeded before.
func scenes() []scene {
	finish := func(d *Display, step, runs int, r *reloads.Reload) {
		result := reloads.Result{Step: reloads.Step(step), Reload: r, Runs: runs}
		if r.Status != reloads.StatusSucceeded {
			result.Err = &reloads.ReloadError{Reload: r}
		}
		d.Finish(result)
	}
	return []scene{
		func(*Display, time.Time) {},
		func(d *Display, began time.Time) {
			found := record(6, 1, reloads.StatusSucceeded, began)
			d.Change(6, found)
			finish(d, 6, 0, found)
			d.Change(0, record(0, 1, reloads.StatusQueued, began))
			d.Change(3, record(3, 1, reloads.StatusReloading, began))
			d.Change(4, record(4, 1, reloads.StatusReloading, began.Add(time.Second)))
		},
		func(d *Display, began time.Time) {
			r := record(4, 1, reloads.StatusFailed, began)
			r.ErrorCode = "EngineConnectionError"
			d.Change(4, r)
			d.Change(4, r) // the same status again
			d.Change(4, record(4, 2, reloads.StatusReloading, time.Now()))
			finish(d, 0, 1, record(0, 1, reloads.StatusSucceeded, began))
			d.Change(1, record(1, 1, reloads.StatusQueued, time.Now()))
			d.Change(2, record(2, 1, reloads.StatusReloading, time.Now()))
		},
		func(d *Display, began time.Time) {
			r := record(2, 1, reloads.StatusFailed, began)
			r.ErrorCode, r.ErrorMessage = "EngineConnectionError", "the table\r\n\x1b[31mSTOCK\u009b0m\x9b1m does not exist"
			r.Status = reloads.StatusCanceled
			d.Change(2, r) // not shown, because the result follows
			finish(d, 2, 1, r)
			d.Finish(reloads.Result{Step: 5, Err: fmt.Errorf("%w: %w", reloads.ErrSkipped, &reloads.ReloadError{Reload: r})})
			d.Finish(reloads.Result{Step: 3, Runs: 1, Err: errors.New("reloads: the tenant is gone")})
		},
		func(d *Display, began time.Time) {
			finish(d, 1, 1, record(1, 1, reloads.StatusSucceeded, began))
			finish(d, 4, 2, record(4, 2, reloads.StatusSucceeded, began))
		},
	}
}

// play shows the scenes, a minute and a bit apart.
func play(t *testing.T, w io.Writer, o Options) error {
	t.Helper()
	b := newBatch()
	d := New(w, b, o)
	for _, scene := range scenes() {
		scene(d, b.Began)
		time.Sleep(64 * time.Second)
	}
	err := d.Stop()
	d.Change(0, record(0, 9, reloads.StatusQueued, b.Began)) // shows nothing
	return err
}

func TestLines(t *testing.T) {
	t.Parallel()
	size := func() (columns, lines int) { return 80, 24 }
	for name, c := range map[string]struct {
		o    Options
		file string
	}{
		"plain":                   {Options{Mode: Plain}, "plain.golden"},
		"auto on a dumb terminal": {Options{Mode: Auto, Size: size, Dumb: true}, "plain.golden"},
		"live without a terminal": {Options{Mode: Live}, "plain.golden"},
		"json":                    {Options{Mode: JSON, Size: size}, "json.golden"},
		"auto without a terminal": {Options{}, "failures.golden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				if err := play(t, &out, c.o); err != nil {
					t.Error(err)
				}
				golden(t, c.file, out.String())
			})
		})
	}
}

func TestNothingIsShown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := play(t, &out, Options{Mode: None}); err != nil || out.Len() > 0 {
			t.Errorf("%v, %q", err, out.String())
		}
	})
}

func TestModes(t *testing.T) {
	t.Parallel()
	var mode Mode
	for _, name := range []string{"auto", "live", "plain", "json", "none"} {
		if err := mode.Set(name); err != nil || mode.String() != name {
			t.Errorf("%s: %v, %s", name, err, mode)
		}
	}
	for _, name := range []string{"", "failures", "JSON"} {
		if mode.Set(name) == nil || mode != None {
			t.Errorf("%q is accepted", name)
		}
	}
}

// Several goroutines may use a display, and it may be stopped at any time. The race detector and synctest watch this test.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatch()
		d := New(io.Discard, b, Options{Size: func() (columns, lines int) { return 40, 5 }})
		var using sync.WaitGroup
		for step := range b.Steps {
			using.Go(func() {
				for range 100 {
					d.Change(step, record(step, 1, reloads.StatusQueued, time.Now()))
					d.hold(func() { b.Offset++ })
					time.Sleep(interval / 7)
					d.Change(step, record(step, 1, reloads.StatusReloading, time.Now()))
				}
				d.Finish(reloads.Result{Step: reloads.Step(step), Runs: 1, Reload: record(step, 1, reloads.StatusSucceeded, time.Now())})
			})
		}
		using.Go(func() {
			time.Sleep(interval * 5)
			if err := d.Stop(); err != nil {
				t.Error(err)
			}
		})
		using.Wait()
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(map[batch.State]int{batch.Succeeded: len(b.Steps)}, b.Counts()); diff != "" {
			t.Error(diff)
		}
	})
}
