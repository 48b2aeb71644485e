// Package progress shows a batch in progress: as a live view on a terminal, as lines of text, or as JSON.
package progress

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/handoff"
)

// Mode is how the progress is shown. It is the value of a flag.
type Mode string

// The modes.
const (
	Auto  Mode = "auto"  // Live on a terminal, Plain on a dumb one; elsewhere only a line for each failed step
	Live  Mode = "live"  // a view at the bottom of the terminal; without a terminal like Plain
	Plain Mode = "plain" // a line for each change
	JSON  Mode = "json"  // an [Event] for each change, one in a line
	None  Mode = "none"  // nothing

	failures Mode = "failures" // a line for each failed step
)

// String returns the name of the mode.
func (m *Mode) String() string { return string(*m) }

// Type returns what the help text calls the value of the flag.
func (m *Mode) Type() string { return "mode" }

// Set sets the mode to the one with the given name.
func (m *Mode) Set(name string) error {
	switch mode := Mode(name); mode {
	case Auto, Live, Plain, JSON, None:
		*m = mode
		return nil
	default:
		return fmt.Errorf("must be %s, %s, %s, %s or %s", Auto, Live, Plain, JSON, None)
	}
}

// Options are the options of [New]. The zero value is that of an output that is not a terminal.
type Options struct {
	Mode  Mode
	Size  func() (columns, lines int) // the size of the terminal; nil if the output is not a terminal
	Dumb  bool                        // the terminal cannot move its cursor
	Color bool                        // the live view is in color
}

// Size returns the function for [Options] that returns the size of the terminal f. It returns nil if f is not a terminal.
func Size(f *os.File) func() (columns, lines int) {
	if !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func() (columns, lines int) {
		columns, lines, err := term.GetSize(int(f.Fd()))
		if err != nil || columns < 1 || lines < 1 {
			return 80, 24
		}
		return columns, lines
	}
}

// mode returns the mode that the options lead to.
func (o Options) mode() Mode {
	terminal, live := o.Size != nil, o.Size != nil && !o.Dumb
	switch o.Mode {
	case Auto, "":
		switch {
		case live:
			return Live
		case terminal:
			return Plain
		}
		return failures
	case Live:
		if !live {
			return Plain
		}
	default: // needs no terminal
	}
	return o.Mode
}

// Display shows the progress of a batch. It is safe for concurrent use. Until it is stopped, the batch must be read and
// changed only by its methods.
type Display struct {
	options Options
	mode    Mode
	out     *handoff.Writer // so that the batch does not wait for the reader
	screen  screen          // in mode Live
	stop    func()

	mu      sync.Mutex
	batch   *batch.Batch
	stopped bool
	printed []string // lines to write above the live view
	err     error    // the first error of writing; nothing is written after it
}

// interval is the time between two updates of the live view.
const interval = 200 * time.Millisecond

// New starts a display of b, which writes to w. The caller must stop it.
func New(w io.Writer, b *batch.Batch, o Options) *Display {
	out := handoff.NewWriter(w)
	d := &Display{options: o, mode: o.mode(), out: out, batch: b, screen: screen{w: out}}
	ended := make(chan struct{})
	var ticking sync.WaitGroup
	if d.mode == Live {
		ticking.Go(func() { d.tick(ended) })
	}
	d.stop = sync.OnceFunc(func() {
		close(ended)
		ticking.Wait()
	})
	return d
}

// tick updates the live view until ended is closed.
func (d *Display) tick(ended <-chan struct{}) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		d.mu.Lock()
		columns, lines := d.options.Size()
		if !d.out.Busy() { // otherwise, the reader is slow
			d.update(d.view(time.Now(), columns, lines), columns)
		}
		d.mu.Unlock()
		select {
		case <-ticker.C:
		case <-ended:
			return
		}
	}
}

// update replaces the live view. The caller must hold the lock.
func (d *Display) update(view []string, columns int) {
	if d.err == nil {
		d.err = d.screen.update(d.printed, view, columns)
	}
	d.printed = nil
}

// SetOffset records how far the clock of the service is behind.
func (d *Display) SetOffset(offset time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.batch.Offset = offset
}

// Change records the most recent state of a reload of a step, and shows it. A reload that has finished is shown only if
// another run follows, because otherwise the result does.
func (d *Display) Change(step int, r *reloads.Reload) {
	d.mu.Lock()
	defer d.mu.Unlock()
	kind := EventStarted
	for _, known := range d.batch.Steps[step].Reloads {
		if known.ID == r.ID {
			kind = EventChanged
			if known.Status == r.Status {
				kind = ""
			}
		}
	}
	d.batch.Change(step, r)
	switch {
	case kind == "":
		return
	case d.batch.RunsAgain(step):
		kind = EventRerun
	case r.Ended():
		return
	}
	d.show(d.event(kind, step, time.Now()))
}

// Finish records the result of a step, and shows it.
func (d *Display) Finish(result reloads.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.batch.Finish(result, now)
	d.show(d.event(EventFinished, int(result.Step), now))
}

// Write writes whole lines, above the live view if there is one.
func (d *Display) Write(lines []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.err != nil:
		return 0, d.err
	case d.mode == Live:
		d.printed = append(d.printed, strings.TrimSuffix(string(lines), "\n"))
		return len(lines), nil
	}
	return d.out.Write(lines)
}

// Stop ends the display and erases the live view. It waits until everything is written, but not long: see [handoff.Writer].
// It returns the first error of writing. After it, the other methods only record.
func (d *Display) Stop() error {
	d.stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mode == Live && !d.stopped {
		columns, _ := d.options.Size()
		d.update(nil, columns)
	}
	d.stopped = true
	return cmp.Or(d.err, d.out.Close())
}
