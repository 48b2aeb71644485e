package main

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/handoff"
)

// live displays the progress of reloads. It writes a line for each change. On a terminal, it also keeps a line with the
// elapsed time at the bottom: the status line. It writes nothing after an error. It is safe for concurrent use.
type live struct {
	out      *output
	w        *bufio.Writer // keeps the first error
	terminal bool
	began    time.Time
	stopOnce func()

	mu     sync.Mutex
	status cell // the text in the status line; no status line if it is empty
}

// newLive starts a display. The caller must stop it. With --quiet, it displays nothing.
func (o *output) newLive(w io.Writer, terminal bool) *live {
	if o.quiet {
		w, terminal = io.Discard, false
	}
	l := &live{out: o, w: bufio.NewWriter(w), terminal: terminal, began: time.Now()}
	before := o.log.to(l)
	stopped := make(chan struct{})
	var ticking sync.WaitGroup
	if terminal {
		ticking.Go(func() { l.tick(stopped) })
	}
	l.stopOnce = sync.OnceFunc(func() {
		o.log.to(before)
		close(stopped)
		ticking.Wait()
		l.erase()
		_ = l.flush()
	})
	return l
}

// tick updates the elapsed time in the status line until stopped is closed.
func (l *live) tick(stopped chan struct{}) {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if stderr, ok := l.out.stderr.(*handoff.Writer); !ok || !stderr.Busy() { // otherwise, the reader is slow
				_ = l.write(func() {})
			}
		case <-stopped:
			return
		}
	}
}

// write erases the status line, calls do, and writes the status line again. do may write lines, to any writer. write
// returns the first error of the display.
func (l *live) write(do func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	_ = l.flush() // the last flush returns the error
	do()
	if l.terminal && l.status.text != "" {
		fmt.Fprintf(l.w, "%s …", l.line())
	}
	return l.flush()
}

// flush waits until everything is written, so that standard output and standard error of a terminal are in order. It returns
// the first error of the display.
func (l *live) flush() error {
	err := l.w.Flush()
	if stderr, ok := l.out.stderr.(*handoff.Writer); ok {
		_ = stderr.Flush() // the display goes on when the reader does
	}
	return err
}

// Write writes whole lines to standard error, above the status line.
func (l *live) Write(lines []byte) (n int, err error) {
	_ = l.write(func() { n, err = l.out.stderr.Write(lines) })
	return n, err
}

// erase erases the status line. The caller must hold the lock, unless no other goroutine uses l.
func (l *live) erase() {
	if l.terminal {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
}

// line returns the status with the elapsed time.
func (l *live) line() string {
	elapsed := time.Since(l.began)
	text := fmt.Sprintf("%.1fs", elapsed.Seconds())
	if elapsed > time.Minute {
		text = elapsed.Round(time.Second).String()
	}
	return fmt.Sprintf("%8s  %s", text, l.out.paint(l.status, l.terminal))
}

// change writes a line for the new status of a reload. It returns the first error of the display.
func (l *live) change(r *reloads.Reload) error {
	return l.write(func() {
		l.status = statusCell(r.Status)
		fmt.Fprintln(l.w, l.line())
		if r.Ended() {
			l.status = cell{}
		}
	})
}

// setStatus sets the text in the status line, which only a terminal has.
func (l *live) setStatus(text string) { _ = l.write(func() { l.status = cell{text: text} }) }

// stop stops the display and erases the status line. Further calls do nothing.
func (l *live) stop() { l.stopOnce() }
