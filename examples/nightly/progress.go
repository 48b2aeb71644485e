package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/reloads-go/reloads"
)

// progress shows how far the batch is: on a terminal in one line that is written over, elsewhere a line for each change.
type progress struct {
	w        io.Writer
	terminal bool
	began    time.Time
	stopped  chan struct{}
	ticking  sync.WaitGroup

	mu     sync.Mutex
	total  int
	states map[string]reloads.Status // by app, of those that are in flight
	ended  int
	failed int
	ran    time.Duration // all that ended, together
}

func newProgress(w io.Writer, terminal bool, total int) *progress {
	p := &progress{w: w, terminal: terminal, began: time.Now(), stopped: make(chan struct{}), total: total, states: map[string]reloads.Status{}}
	if terminal {
		p.ticking.Go(p.tick)
	}
	return p
}

// tick writes the line over while the batch runs.
func (p *progress) tick() {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.mu.Lock()
			fmt.Fprintf(p.w, "\r\x1b[K%s", p.line())
			p.mu.Unlock()
		case <-p.stopped:
			return
		}
	}
}

// line is the state of the batch. Called with the lock.
func (p *progress) line() string {
	queued, running := 0, 0
	for _, status := range p.states {
		if status == reloads.StatusQueued {
			queued++
		} else {
			running++
		}
	}
	triggered := p.ended + len(p.states)
	waiting := p.total - triggered
	s := fmt.Sprintf("%d of %d triggered, %d queued, %d running, %d ended, %d failed", triggered, p.total, queued, running, p.ended, p.failed)
	if waiting > 0 {
		s += fmt.Sprintf(", %d waiting for the limit", waiting)
	}
	if p.ended > 0 && p.ended < p.total {
		// What waits is triggered at the rate of the limit, and the last one then takes as long as the others did.
		left := time.Duration(waiting)*time.Minute/reloads.SpecialPerMinute + p.ran/time.Duration(p.ended)
		s += fmt.Sprintf(", about %v left", left.Round(time.Second))
	}
	return s
}

// change is told of every status that a reload comes to.
func (p *progress) change(req reloads.Request, r *reloads.Reload) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.Ended() {
		p.states[req.AppID] = r.Status
		p.say(req.AppID, string(r.Status))
	}
}

// result is told of every result.
func (p *progress) result(r reloads.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.states, r.Request.AppID)
	p.ended++
	text := string(reloads.StatusSucceeded)
	if r.Err != nil {
		p.failed++
		text = r.Err.Error()
	}
	if r.Reload != nil {
		p.ran += r.Reload.QueueTime() + r.Reload.RunTime()
	}
	p.say(r.Request.AppID, text)
}

// say writes the line of a change where there is no terminal. Called with the lock.
func (p *progress) say(app, text string) {
	if !p.terminal {
		fmt.Fprintf(p.w, "%7.1fs  %s  %s  (%s)\n", time.Since(p.began).Seconds(), app, text, p.line())
	}
}

// stop ends the display.
func (p *progress) stop() {
	close(p.stopped)
	p.ticking.Wait()
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s\n", p.line())
	}
}
