package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/reloads-go/reloads"
)

// live shows how far something is: a line for each change and, on a terminal, a last line that is written over while
// the time passes.
type live struct {
	out      *output
	w        io.Writer
	terminal bool
	began    time.Time
	stopping func()

	mu   sync.Mutex
	last cell // of the line that is written over
}

// live starts a display, which must be stopped. With --quiet it shows nothing.
func (o *output) live(w io.Writer, terminal bool) *live {
	if o.quiet {
		w, terminal = io.Discard, false
	}
	l := &live{out: o, w: w, terminal: terminal, began: time.Now()}
	stopped := make(chan struct{})
	var ticking sync.WaitGroup
	if terminal {
		ticking.Go(func() { l.tick(stopped) })
	}
	l.stopping = sync.OnceFunc(func() {
		close(stopped)
		ticking.Wait()
		l.erase()
	})
	return l
}

func (l *live) tick(stopped chan struct{}) {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.hold(func() {})
		case <-stopped:
			return
		}
	}
}

// hold lets do write without the last line in its way.
func (l *live) hold(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	do()
	if l.terminal && l.last.text != "" {
		fmt.Fprintf(l.w, "%s …", l.line())
	}
}

// erase takes the last line away.
func (l *live) erase() {
	if l.terminal {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
}

func (l *live) line() string {
	passed := time.Since(l.began)
	text := fmt.Sprintf("%.1fs", passed.Seconds())
	if passed > time.Minute {
		text = passed.Round(time.Second).String()
	}
	return fmt.Sprintf("%8s  %s", text, l.out.paint(l.last, l.terminal))
}

// change shows a status that a reload has come to.
func (l *live) change(r *reloads.Reload) {
	l.hold(func() {
		l.last = statusCell(r.Status)
		fmt.Fprintln(l.w, l.line())
		if r.Ended() {
			l.last = cell{}
		}
	})
}

// say shows a text in the last line; only on a terminal.
func (l *live) say(text string) { l.hold(func() { l.last = cell{text: text} }) }

// stop ends the display.
func (l *live) stop() { l.stopping() }
