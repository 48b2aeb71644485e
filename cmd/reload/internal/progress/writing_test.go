package progress

import (
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/handoff"
)

var errFull = errors.New("full")

// limitedWriter fails after some bytes.
type limitedWriter struct {
	left   int
	errors int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	if n < len(p) {
		w.errors++
		return n, errFull
	}
	return n, nil
}

// An error of writing comes back, whenever it occurs. The batch is recorded nevertheless.
func TestErrorsOfWriting(t *testing.T) {
	t.Parallel()
	size := func() (columns, lines int) { return 80, 24 }
	for _, mode := range []Mode{Live, Plain, JSON, failures} {
		for _, left := range []int{0, 1, 150} {
			synctest.Test(t, func(t *testing.T) {
				b := newBatch()
				w := &limitedWriter{left: left}
				d := New(w, b, Options{Mode: mode, Size: size})
				for _, scene := range scenes() {
					scene(d, b.Began)
					time.Sleep(time.Second)
				}
				if err := d.Stop(); !errors.Is(err, errFull) || w.errors != 1 {
					t.Errorf("%s: after %d bytes: %v, %d writes failed", mode, left, err, w.errors)
				}
				if got := b.Counts()[batch.Succeeded]; got != 4 {
					t.Errorf("%s: %d steps succeeded", mode, got)
				}
			})
		}
	}
	if runtime.GOOS != "linux" {
		t.Skip("/dev/full is a device of Linux")
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, mode := range []Mode{Live, Plain, JSON, failures} {
		synctest.Test(t, func(t *testing.T) {
			if err := play(t, full, Options{Mode: mode, Size: size}); err == nil || !strings.Contains(err.Error(), "no space left") {
				t.Errorf("%s: %v", mode, err)
			}
		})
	}
}

// A reader that stops reading delays neither the batch nor, for long, the end.
func TestAReaderThatHasStopped(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Live, Plain, JSON, failures} {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			b := newBatch()
			d := New(w, b, Options{Mode: mode, Size: func() (columns, lines int) { return 80, 24 }})
			for _, scene := range scenes() {
				scene(d, b.Began)
				time.Sleep(time.Second)
			}
			stopped := time.Now()
			if err := d.Stop(); !errors.Is(err, handoff.ErrStuck) || time.Since(stopped) != handoff.Patience || time.Since(b.Began) >= 10*time.Second {
				t.Errorf("%s: %v after %v", mode, err, time.Since(b.Began))
			}
			if got := b.Counts()[batch.Succeeded]; got != 4 {
				t.Errorf("%s: %d steps succeeded", mode, got)
			}
			_ = r.Close()
		})
	}
}
