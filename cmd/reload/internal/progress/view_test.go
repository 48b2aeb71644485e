package progress

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"github.com/hinshun/vt10x"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
)

// emulator is a terminal.
type emulator struct {
	mu             sync.Mutex
	changed        *sync.Cond // after a write
	vt             vt10x.Terminal
	columns, lines int
	received       int // bytes
}

func newEmulator(columns, lines int) *emulator {
	e := &emulator{vt: vt10x.New(vt10x.WithSize(columns, lines)), columns: columns, lines: lines}
	e.changed = sync.NewCond(&e.mu)
	return e
}

// Write shows what a program writes to the terminal.
func (e *emulator) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.vt.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
	e.received += len(p)
	e.changed.Broadcast()
	return len(p), err
}

func (e *emulator) size() (columns, lines int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.columns, e.lines
}

// screen returns the lines down to the cursor.
func (e *emulator) screen() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text()
}

func (e *emulator) text() string {
	lines := strings.Split(e.vt.String(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \x00")
	}
	below := strings.Join(lines[e.vt.Cursor().Y:], "")
	return strings.Join(append(lines[:e.vt.Cursor().Y], below), "\n")
}

// resize changes the width. Lines that do not fit wrap, as most terminals do it.
func (e *emulator) resize(columns int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	content := strings.ReplaceAll(e.text(), "\n", "\r\n")
	e.vt, e.columns = vt10x.New(vt10x.WithSize(columns, e.lines)), columns
	_, _ = e.vt.Write([]byte(content))
}

// The screen at the end of each scene, and after it was resized.
func TestTheLiveView(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{80, 40} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEmulator(columns, 24)
				fmt.Fprintln(e, "$ reload run -f night.yaml")
				b := newBatch()
				d := New(e, b, Options{Size: e.size})
				time.Sleep(interval / 2) // so that no update coincides with what follows
				var screens strings.Builder
				for i, scene := range scenes() {
					scene(d, b.Began)
					time.Sleep(64 * time.Second)
					fmt.Fprintf(&screens, "-- scene %d\n%s\n", i, e.screen())
					other := 120 - columns
					for _, columns := range []int{other, columns} {
						e.resize(columns)
						time.Sleep(interval)
						fmt.Fprintf(&screens, "-- at %d columns\n%s\n", columns, e.screen())
					}
				}
				_, _ = io.WriteString(e, "^C") // the terminal echoes it
				if err := d.Stop(); err != nil {
					t.Error(err)
				}
				fmt.Fprintf(&screens, "-- at the end\n%s\n", e.screen())
				golden(t, fmt.Sprintf("view-%d.golden", columns), screens.String())
			})
		})
	}
}

func TestColors(t *testing.T) {
	t.Parallel()
	for _, color := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			if err := play(t, &out, Options{Size: func() (columns, lines int) { return 80, 24 }, Color: color}); err != nil {
				t.Error(err)
			}
			for _, code := range []string{red, green, cyan} {
				if strings.Contains(out.String(), "\x1b["+code+"m") != color {
					t.Errorf("with color %t: %q", color, out.String())
				}
			}
		})
	}
}

// The view leaves a line for the cursor, however small the terminal is, and says how many steps it does not show.
func TestTheHeightOfTheView(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		steps := make([]batch.Step, 30)
		for i := range steps {
			steps[i].Name = fmt.Sprintf("step %d", i)
		}
		b := batch.New("", time.Now(), steps)
		b.Offset = -30 * time.Minute // the clock of the service is fast
		d := New(io.Discard, b, Options{Mode: None})
		defer d.Stop()
		for i := range 13 {
			d.Change(i, record(i, 1, reloads.StatusReloading, time.Now().Add(-time.Hour*time.Duration(i%7))))
		}
		for lines, want := range map[int]int{1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 12: 11, 13: 12, 14: 13, 15: 13, 50: 13} {
			view := d.view(time.Now(), 80, lines)
			if len(view) != want {
				t.Errorf("%d lines of %d:\n%s", len(view), lines, strings.Join(view, "\n"))
			}
			if last := ""; lines > 3 {
				last = view[len(view)-1]
				if more := fmt.Sprintf("and %d more", 13-(len(view)-3)); !strings.HasSuffix(last, more) {
					t.Errorf("of %d lines, the last is %q, want %q", lines, last, more)
				}
			}
		}
		if got, want := d.view(time.Now(), 80, 24)[2], "   6h29m  running  step 6"; got != want {
			t.Errorf("the first step is %q, want %q", got, want)
		}
		want := []string{"17 waiting,", "13 running"}
		if diff := cmp.Diff(want, d.view(time.Now(), 22, 24)[1:3]); diff != "" {
			t.Errorf("on 22 columns (-want +got):\n%s", diff)
		}
	})
}

func TestEstimates(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		59 * time.Second: "under 1m left", 89 * time.Second: "about 1m left", 59 * time.Minute: "about 59m left", 125 * time.Minute: "about 2h05m left",
	} {
		if got := estimate(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

// Wide and combining characters count as the columns that they take. A color ends where a line is cut.
func TestCutting(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := screen{w: &out}
	if err := s.update([]string{"売上売上 売上"}, []string{"売上売上売上", "cafe\u0301 cafe\u0301", "\x1b[31mredredredred\x1b[0m"}, 10); err != nil {
		t.Fatal(err)
	}
	want := "\r\x1b[K売上売上\n売上\n売上売上…\ncafe\u0301 cafe\u0301\n\x1b[31mredredre\x1b[0m…\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if got := s.height(3); got != 4+3+3 { // a wide character does not start in the last column
		t.Errorf("the height is %d", got)
	}
}

// countingWriter counts what a terminal shows of the bytes written to it.
type countingWriter struct {
	io.Writer
	sent atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.sent.Add(int64(len(p) + bytes.Count(p, []byte("\n")))) // the terminal makes \r\n of it
	return w.Writer.Write(p)
}

// drain blocks until everything is written.
func (d *Display) drain() {
	for d.out.Busy() {
		runtime.Gosched()
	}
}

// On a real pseudo terminal, the view follows the window, and leaves nothing but the failures.
func TestAPseudoTerminal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to uint16 }{{80, 40}, {40, 80}} {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		setSize := func(columns uint16) {
			if err := pty.Setsize(master, &pty.Winsize{Cols: columns, Rows: 24}); err != nil {
				t.Error(err)
			}
		}
		setSize(c.from)
		e := newEmulator(int(c.from), 24)
		var reading sync.WaitGroup
		reading.Go(func() { _, _ = io.Copy(e, master) }) // on Linux, the end is an EIO error
		w := &countingWriter{Writer: slave}
		b := newBatch()
		d := New(w, b, Options{Size: Size(slave), Color: true})
		scenes := scenes()
		scenes[1](d, b.Began)
		e.await(func(screen string) bool { return strings.Contains(screen, "2 running") })
		// The display cannot write while hold runs, so that the emulator has the new size before the next write.
		d.hold(func() {
			d.drain()
			e.await(func(string) bool { return e.received == int(w.sent.Load()) })
			setSize(c.to)
			e.resize(int(c.to))
		})
		scenes[2](d, b.Began)
		scenes[3](d, b.Began)
		e.await(func(screen string) bool { return strings.Contains(screen, "1 skipped") })
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		_ = slave.Close()
		reading.Wait()
		_ = master.Close()
		if screen := e.screen(); strings.Count(screen, "CANCELED stock") != 1 || strings.Count(screen, "ERRORED app-3: the tenant is gone\n") != 1 ||
			!strings.HasSuffix(screen, "\n") || strings.Contains(screen, "running") || strings.Contains(screen, "█") || strings.Contains(screen, "░") {
			t.Errorf("from %d to %d columns, the screen is at the end:\n%s", c.from, c.to, screen)
		}
	}
}

// await blocks until the screen is as wanted.
func (e *emulator) await(wanted func(screen string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !wanted(e.text()) {
		e.changed.Wait()
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if Size(w) != nil {
		t.Error("a pipe has a size")
	}
}
