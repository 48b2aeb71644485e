package batch

import (
	"time"

	"github.com/reloads-go/reloads"
)

// Remaining estimates when the batch will have ended. It assumes that each reload takes the mean time of the finished ones,
// and that as many run at once as may. ok is false while no reload has finished.
func (b *Batch) Remaining(now time.Time) (remaining time.Duration, ok bool) {
	mean, ok := b.meanTime()
	if !ok {
		return 0, false
	}
	var work time.Duration // of all unfinished steps
	untriggered := 0
	chain := make([]time.Duration, len(b.Steps)) // how long the step and its predecessors still take
	for i := range b.Steps {
		s := &b.Steps[i]
		if s.Finished() {
			continue
		}
		own := mean
		if s.State == Waiting {
			untriggered++
		} else {
			own = max(0, mean-now.Sub(b.local(s.Reload().CreationTime, now)))
		}
		work += own
		for _, p := range s.After {
			chain[i] = max(chain[i], chain[p])
		}
		chain[i] += own
		remaining = max(remaining, chain[i])
	}
	if b.MaxActive > 0 {
		remaining = max(remaining, work/time.Duration(b.MaxActive))
	}
	if minutes := untriggered / reloads.SpecialPerMinute; minutes > 0 {
		remaining = max(remaining, time.Duration(minutes)*time.Minute+mean)
	}
	return remaining, true
}

// meanTime returns the mean time that the steps which the batch ran took, from the creation of their last reload until
// their result was known. ok is false if there are none.
func (b *Batch) meanTime() (mean time.Duration, ok bool) {
	var total time.Duration
	finished := 0
	for i := range b.Steps {
		s := &b.Steps[i]
		if r := s.Reload(); r != nil && s.Finished() && s.Runs > 0 {
			total += s.Ended.Sub(b.local(r.CreationTime, s.Ready))
			finished++
		}
	}
	if finished == 0 {
		return 0, false
	}
	return total / time.Duration(finished), true
}
