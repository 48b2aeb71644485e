package redislimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/reloads-go/reloads"
)

// LocalShare lets a process continue on its own while Redis is unavailable, at its share of the limit: requests divided
// by processes, rounded down, in any period. processes is the number of processes that share the limit, from 1 to the
// number of requests; [New] returns an error for other values. Without LocalShare, Wait fails while Redis is
// unavailable.
//
// Local starts begin one window after Redis was first found to be unavailable, because what Redis granted before then
// counts until the end of that window. They end with the first response of Redis. Redis then grants no start for
// another window.
//
// The limit therefore holds during an outage that all processes notice. It can be exceeded in two cases:
//
//   - Only some processes cannot reach Redis. They use their shares in addition to the full limit of the others.
//   - A process was idle during the whole outage. It can start requests before the others have reported their local
//     starts to Redis.
func LocalShare(processes int) Option {
	return func(l *Limiter) error {
		if processes < 1 || processes > l.requests {
			return fmt.Errorf("redislimit: LocalShare: processes must be from 1 to %d, the number of requests, got %d", l.requests, processes)
		}
		l.share = reloads.NewLimiter(l.requests/processes, l.per)
		return nil
	}
}

// waitOrShare waits for a slot of Redis or, while Redis is unavailable, for a slot of the local share. If the local
// slot took recheckInterval or longer, it tries Redis once more before the start. Local starts therefore end soon after
// Redis is available again.
func (l *Limiter) waitOrShare(ctx context.Context) error {
	for hasLocalSlot := false; ; hasLocalSlot = true {
		err := l.wait(ctx)
		if !errors.Is(err, ErrUnavailable) || contextError(ctx) != nil {
			return err
		}
		if hasLocalSlot {
			return nil
		}
		tried := time.Now()
		l.share.Pause(l.outageStart(tried).Add(l.window))
		if err := l.share.Wait(ctx); err != nil {
			return err
		}
		if time.Since(tried) < recheckInterval {
			return nil
		}
	}
}

// outageStart returns since when Redis has been unavailable. If the outage is new, it starts now.
func (l *Limiter) outageStart(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unavailableSince.IsZero() {
		l.unavailableSince = now
	}
	return l.unavailableSince
}
