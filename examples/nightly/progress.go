package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/reloads-go/reloads"
)

// progress shows the progress of a batch. On a terminal, it keeps one line up to date; otherwise it writes a line for each
// change of a status.
type progress struct {
	w        io.Writer
	terminal bool
	began    time.Time
	stopped  chan struct{}
	ticking  sync.WaitGroup

	mu       sync.Mutex
	total    int
	active   map[string]reloads.Status // status by app ID, of reloads that are not finished
	finished int                       // includes the failed ones
	failed   int
	duration time.Duration // total queue and run time of the finished reloads
}

func newProgress(w io.Writer, terminal bool, total int) *progress {
	p := &progress{w: w, terminal: terminal, began: time.Now(), stopped: make(chan struct{}), total: total, active: map[string]reloads.Status{}}
	if terminal {
		p.ticking.Go(p.tick)
	}
	return p
}

// tick updates the line on the terminal until stop is called.
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

// line returns a description of the progress. The caller must hold the lock.
func (p *progress) line() string {
	queued, running := 0, 0
	for _, status := range p.active {
		if status == reloads.StatusQueued {
			queued++
		} else {
			running++
		}
	}
	triggered := p.finished + len(p.active)
	waiting := p.total - triggered
	s := fmt.Sprintf("%d of %d triggered, %d queued, %d running, %d finished, %d failed", triggered, p.total, queued, running, p.finished, p.failed)
	if waiting > 0 {
		s += fmt.Sprintf(", %d waiting for the rate limit", waiting)
	}
	if p.finished > 0 && p.finished < p.total {
		// The estimate: the rate limit determines when the last app is triggered. Its reload takes the average time.
		left := time.Duration(waiting)*time.Minute/reloads.SpecialPerMinute + p.duration/time.Duration(p.finished)
		s += fmt.Sprintf(", about %v left", left.Round(time.Second))
	}
	return s
}

// change is called for each change of a reload's status.
func (p *progress) change(req reloads.Request, r *reloads.Reload) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.Ended() {
		p.active[req.AppID] = r.Status
		p.writeLine(req.AppID, string(r.Status))
	}
}

// result is called for each result.
func (p *progress) result(r reloads.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.active, r.Request.AppID)
	p.finished++
	text := string(reloads.StatusSucceeded)
	if r.Err != nil {
		p.failed++
		text = r.Err.Error()
	}
	if r.Reload != nil {
		p.duration += r.Reload.QueueTime() + r.Reload.RunTime()
	}
	p.writeLine(r.Request.AppID, text)
}

// writeLine writes a line for a change, unless the output is a terminal. The caller must hold the lock.
func (p *progress) writeLine(app, text string) {
	if !p.terminal {
		fmt.Fprintf(p.w, "%7.1fs  %s  %s  (%s)\n", time.Since(p.began).Seconds(), app, text, p.line())
	}
}

// stop ends the updates and writes the final line. It must be called once.
func (p *progress) stop() {
	close(p.stopped)
	p.ticking.Wait()
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s\n", p.line())
	}
}
