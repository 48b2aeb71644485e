package batch

import (
	"slices"
	"time"

	"github.com/reloads-go/reloads"
)

// Phase is what a step does during a span of time.
type Phase string

// The phases of a step.
const (
	Blocked  Phase = "waiting for its predecessors"
	Held     Phase = "waiting for its app or a limit" // or for its next run
	InQueue  Phase = "queued"
	InEngine Phase = "running"
)

// Span is a span of time of a step, by this machine's clock.
type Span struct {
	Phase    Phase
	From, To time.Time
	Run      int            // which of the step's reloads it belongs to, from 1; 0 in a phase without one
	Status   reloads.Status // of that reload
}

// Spans returns what step i did, in order of time, within the time of the batch. If its result is not known, the last
// span ends now. A reload that finished before the batch began has no spans. Between the end of a reload and the time
// when the batch noticed it, there is a gap.
func (b *Batch) Spans(i int, now time.Time) []Span {
	s := &b.Steps[i]
	end := now
	if s.Finished() {
		end = s.Ended
	}
	var spans []Span
	at := b.Began
	add := func(phase Phase, to time.Time, run int, status reloads.Status) {
		if to.After(end) {
			to = end
		}
		if to.After(at) {
			spans = append(spans, Span{phase, at, to, run, status})
			at = to
		}
	}
	if s.Ready.IsZero() {
		add(Blocked, end, 0, "")
		return spans
	}
	add(Blocked, s.Ready, 0, "")
	for run, r := range s.Reloads {
		add(Held, b.local(r.CreationTime, at), 0, "")
		add(InQueue, b.local(r.StartTime, b.local(r.EndTime, end)), run+1, r.Status)
		if !r.StartTime.IsZero() {
			add(InEngine, b.local(r.EndTime, end), run+1, r.Status)
		}
	}
	if s.State == Waiting || s.State == NotStarted || s.State == Refused {
		add(Held, end, 0, "")
	}
	return spans
}

// local returns a time of the service by this machine's clock, or missing if it is zero.
func (b *Batch) local(t, missing time.Time) time.Time {
	if t.IsZero() {
		return missing
	}
	return t.Add(b.Offset)
}

// CriticalPath returns the chain of steps that determined when the batch ended, in order of time: the step that ended
// last, before it the predecessor that ended last, and so on. Steps that had no reload are not part of it.
func (b *Batch) CriticalPath() []int {
	all := make([]int, len(b.Steps))
	for i := range all {
		all[i] = i
	}
	var path []int
	for last := b.latest(all); last >= 0; last = b.latest(b.Steps[last].After) {
		path = append(path, last)
	}
	slices.Reverse(path)
	return path
}

// latest returns the step with a reload that ended last, or -1 if there is none.
func (b *Batch) latest(steps []int) int {
	latest := -1
	for _, i := range steps {
		if s := &b.Steps[i]; s.Finished() && len(s.Reloads) > 0 && (latest < 0 || s.Ended.After(b.Steps[latest].Ended)) {
			latest = i
		}
	}
	return latest
}

// Took returns the time from when step i was ready until its result was known; 0 if it is not.
func (b *Batch) Took(i int) time.Duration {
	s := &b.Steps[i]
	if s.Ready.IsZero() || !s.Finished() {
		return 0
	}
	return s.Ended.Sub(s.Ready)
}

// Slowest returns the step of the critical path that took longest, or -1 if the path is empty.
func (b *Batch) Slowest() int {
	slowest := -1
	for _, i := range b.CriticalPath() {
		if slowest < 0 || b.Took(i) > b.Took(slowest) {
			slowest = i
		}
	}
	return slowest
}

// Remaining estimates when the batch will have ended. It assumes that each reload takes the mean time of the finished ones,
// and that maxActive reloads run at once; 0 means no limit. ok is false while no reload has finished.
func (b *Batch) Remaining(now time.Time, maxActive int) (remaining time.Duration, ok bool) {
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
	if maxActive > 0 {
		remaining = max(remaining, work/time.Duration(maxActive))
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

// Layers returns the steps in layers: a step is in the first layer after all its predecessors.
func Layers(after [][]int) [][]int {
	layer := make([]int, len(after))
	var layers [][]int
	for i, predecessors := range after {
		for _, p := range predecessors {
			layer[i] = max(layer[i], layer[p]+1)
		}
		if layer[i] == len(layers) {
			layers = append(layers, nil)
		}
		layers[layer[i]] = append(layers[layer[i]], i)
	}
	return layers
}
