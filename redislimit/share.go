package redislimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/reloads-go/reloads"
)

// LocalShare lets the process go on by itself while Redis cannot be asked, with the share of one of so many processes:
// requests/processes in any period. Fewer than one process is refused, and more than there are requests.
//
// It begins one window after Redis was first found unavailable, so that what Redis granted before has left the window,
// and ends with the first answer of Redis, which then lets nobody start for another window. Thus the limit holds over
// an outage that all the processes notice. If Redis is only out of reach for some of them, those have their shares
// beside the whole limit that the others have; and a process that was idle all through the outage may begin
// before those that were not have told Redis of theirs.
func LocalShare(processes int) Option {
	return func(l *Limiter) error {
		if processes < 1 || processes > l.requests {
			return fmt.Errorf("redislimit: LocalShare %d: it must be 1 to %d, the number of requests", processes, l.requests)
		}
		l.local = reloads.NewLimiter(l.requests/processes, l.per)
		return nil
	}
}

// waitOrShare waits for a slot of Redis or, while it cannot be asked, for one of the local share. Before a local start
// Redis is asked again, if that is more than recheck ago: when it is back, nobody is on his own for longer.
func (l *Limiter) waitOrShare(ctx context.Context) error {
	for held := false; ; held = true {
		err := l.wait(ctx)
		if !errors.Is(err, ErrUnavailable) || ended(ctx) != nil {
			return err
		}
		if held {
			return nil
		}
		asked := time.Now()
		l.local.Pause(l.alone(asked).Add(l.window))
		if err := l.local.Wait(ctx); err != nil {
			return err
		}
		if time.Since(asked) < recheck {
			return nil
		}
	}
}

// alone returns since when Redis cannot be asked, which is now at the latest.
func (l *Limiter) alone(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.aloneSince.IsZero() {
		l.aloneSince = now
	}
	return l.aloneSince
}
