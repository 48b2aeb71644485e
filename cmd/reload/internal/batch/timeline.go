package batch

import (
	"time"

	"github.com/reloads-go/reloads"
)

// Phase is what a step does during a span of time.
type Phase string

// The phases of a step.
const (
	Blocked  Phase = "waiting for its predecessors"
	Held     Phase = "waiting to be triggered" // for its app, a limit, or the look-ups of [reloads.Once]
	Paused   Phase = "waiting for its next run"
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

// Close records that the batch ends now, and how far the clock of the service is behind. Steps with a reload from before
// the batch get the times of an earlier batch, which the records tell: they were ready when their predecessors had ended,
// and those that have succeeded ended when their reloads did.
func (b *Batch) Close(now time.Time, offset time.Duration) {
	b.Ended, b.Offset = now.Round(0), offset
	for i := range b.Steps {
		if s := &b.Steps[i]; b.isEarlier(s) {
			if created := b.created(s); created.Before(b.Start) {
				b.Start = created.In(b.Began.Location())
			}
		}
	}
	for i := range b.Steps {
		s := &b.Steps[i]
		if !b.isEarlier(s) {
			continue
		}
		s.Ready = b.Start
		for _, p := range s.After {
			if ended := b.Steps[p].Ended; ended.After(s.Ready) {
				s.Ready = ended
			}
		}
		if s.Before() {
			s.Ended = b.local(s.Reload().EndTime, b.Began).In(b.Began.Location())
		}
	}
}

// isEarlier reports whether the step has a reload from before the batch. The clocks may differ a little.
func (b *Batch) isEarlier(s *Step) bool {
	const most = 3 * time.Second
	return s.Before() || len(s.Reloads) > 0 && b.created(s).Before(b.Began.Add(-most))
}

// created returns when the first reload of a step was created.
func (b *Batch) created(s *Step) time.Time { return b.local(s.Reloads[0].CreationTime, b.Began) }

// Spans returns what step i did, in order of time, from when the batch began or, if a reload is from before, from the
// start of the timeline. If its result is not known, the last span ends now. Between the end of a reload and the time when
// the batch noticed it, there is a gap.
func (b *Batch) Spans(i int, now time.Time) []Span {
	s := &b.Steps[i]
	end := now
	if s.Finished() {
		end = s.Ended
	}
	var spans []Span
	at := b.Began
	if b.isEarlier(s) {
		at = b.Start
	}
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
	wait := Held
	for run, r := range s.Reloads {
		add(wait, b.local(r.CreationTime, at), 0, "")
		wait = Paused
		add(InQueue, b.local(r.StartTime, b.local(r.EndTime, end)), run+1, r.Status)
		if !r.StartTime.IsZero() {
			add(InEngine, b.local(r.EndTime, end), run+1, r.Status)
		}
	}
	switch s.State {
	case Waiting, NotStarted, Refused, Errored:
		add(wait, end, 0, "")
	default: // the last span is one of the reload
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
