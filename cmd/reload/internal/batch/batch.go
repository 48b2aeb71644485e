// Package batch records what happens to the steps of a batch: their states, reloads and times.
package batch

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// State is the state of a step.
type State string

// The states of a step.
const (
	Waiting    State = "waiting" // for its predecessors, to be triggered, or for its next run
	Queued     State = "queued"
	Running    State = "running"
	Succeeded  State = "succeeded"
	Failed     State = "failed"      // its reload finished, but did not succeed
	Aborted    State = "aborted"     // the wait for its reload ended before the reload had finished
	Refused    State = "refused"     // the service or the client refused its request
	Errored    State = "errored"     // it has another error, such as that the service is unreachable
	Skipped    State = "skipped"     // a predecessor did not succeed
	NotStarted State = "not started" // the batch ended before its turn
)

// States are all states, in the order in which they are shown.
var States = []State{Waiting, Queued, Running, Succeeded, Failed, Aborted, Refused, Errored, Skipped, NotStarted}

// Label returns what people read.
func (s State) Label() string {
	if s == Aborted {
		return "stopped waiting" // the reload goes on
	}
	return string(s)
}

// Step is a step of a batch.
type Step struct {
	Name, App string
	After     []int // the positions of its predecessors, which are less than its own

	State   State
	Reloads []*reloads.Reload // the most recent state of each run, in order
	Runs    int
	Err     error
	Log     []string  // the last lines of the log of its failed reload
	Ready   time.Time // when its predecessors had succeeded; zero if they have not
	Ended   time.Time // when its result was known; zero if it is not; see also [Batch.Close]
}

// Reload returns the most recent reload, or nil if the step has none.
func (s *Step) Reload() *reloads.Reload {
	if len(s.Reloads) == 0 {
		return nil
	}
	return s.Reloads[len(s.Reloads)-1]
}

// Finished reports whether the result of the step is known.
func (s *Step) Finished() bool { return !s.Ended.IsZero() }

// Before reports whether the step has succeeded in an earlier batch with the same key (see [reloads.Once]).
func (s *Step) Before() bool { return s.State == Succeeded && s.Runs == 0 && len(s.Reloads) > 0 }

// Label returns the state of the step for people or, if it says more, the status of its reload.
func (s *Step) Label() string {
	switch r := s.Reload(); {
	case s.Before():
		return "succeeded before"
	case s.State == Failed && r != nil:
		return strings.ToLower(strings.ReplaceAll(show.Line(string(r.Status)), "_", " "))
	}
	return s.State.Label()
}

// Batch is a batch in progress, or a finished one. It is not safe for concurrent use.
type Batch struct {
	Tenant       string
	MaxActive    int       // how many reloads are active at once; 0 means no limit
	Rerun        int       // how many times a failed reload is triggered again
	Began, Ended time.Time // Ended is zero while the batch is in progress
	Start        time.Time // of the timeline: Began or, after [Batch.Close], when a reload of an earlier batch was created
	Steps        []Step
	Offset       time.Duration // what to add to a time of the service to get a time of this machine's clock
}

// New returns a batch of waiting steps. Of each step, the name, the app and the predecessors count.
func New(tenant string, began time.Time, steps []Step) *Batch {
	began = began.Round(0) // without the monotonic clock, which the times of the service do not have either
	b := &Batch{Tenant: tenant, Began: began, Start: began, Steps: slices.Clone(steps)}
	for i := range b.Steps {
		b.Steps[i].State = Waiting
		if len(b.Steps[i].After) == 0 {
			b.Steps[i].Ready = began
		}
	}
	return b
}

// Change records the most recent state of a reload of step i. If the reload has finished, the state of the step changes
// only if it waits for its next run. Otherwise its result follows at once.
func (b *Batch) Change(i int, r *reloads.Reload) {
	s := &b.Steps[i]
	s.add(r)
	switch {
	case s.Finished():
	case b.RunsAgain(i):
		s.State = Waiting
	case r.Ended():
	case r.Status == reloads.StatusQueued:
		s.State = Queued
	default:
		s.State = Running
	}
}

// RunsAgain reports whether another run of step i follows, because its reload has failed. It does not if the batch ends
// before.
func (b *Batch) RunsAgain(i int) bool {
	s := &b.Steps[i]
	r := s.Reload()
	return r != nil && r.Status == reloads.StatusFailed && !s.Finished() && len(s.Reloads) <= b.Rerun
}

// add records r as the most recent reload, or as its most recent state.
func (s *Step) add(r *reloads.Reload) {
	for i, known := range s.Reloads {
		if known.ID == r.ID {
			s.Reloads[i] = r
			return
		}
	}
	s.Reloads = append(s.Reloads, r)
}

// Finish records the result of a step, which became known now.
func (b *Batch) Finish(result reloads.Result, now time.Time) {
	now = now.Round(0) // as in New
	s := &b.Steps[result.Step]
	if result.Reload != nil {
		s.add(result.Reload)
	}
	s.Runs, s.Err, s.Ended, s.State = result.Runs, result.Err, now, stateOf(result)
	if s.State == Succeeded {
		b.makeReady(int(result.Step), now)
	}
}

// makeReady records for the steps that depend on i whether all their predecessors have succeeded.
func (b *Batch) makeReady(i int, now time.Time) {
	for j := range b.Steps {
		s := &b.Steps[j]
		missing := func(p int) bool { return b.Steps[p].State != Succeeded }
		if slices.Contains(s.After, i) && !slices.ContainsFunc(s.After, missing) {
			s.Ready = now
		}
	}
}

// stateOf returns the state of a step with the given result.
func stateOf(result reloads.Result) State {
	err, r := result.Err, result.Reload
	var failed *reloads.ReloadError
	switch {
	case err == nil:
		return Succeeded
	case errors.Is(err, reloads.ErrSkipped): // also matches the error of the predecessor
		return Skipped
	case errors.As(err, &failed), r != nil && r.Err() != nil: // the error of a timeout may be all that err has
		return Failed
	case errors.Is(err, reloads.ErrNotStarted):
		return NotStarted
	case r != nil && !r.Ended():
		return Aborted
	case refused(err):
		return Refused
	}
	return Errored
}

// refused reports whether an error means that a request had no effect, because of what it asks for or who sent it.
func refused(err error) bool {
	var response *reloads.Error
	switch {
	case errors.Is(err, reloads.ErrOutcomeUnknown):
		return false
	case errors.As(err, &response):
		return response.StatusCode >= http.StatusBadRequest && response.StatusCode < http.StatusInternalServerError
	}
	return errors.Is(err, reloads.ErrBadRequest)
}

// Counts returns the number of steps in each state.
func (b *Batch) Counts() map[State]int {
	counts := map[State]int{}
	for i := range b.Steps {
		counts[b.Steps[i].State]++
	}
	return counts
}

// Count is how many steps have a state.
type Count struct {
	State State
	N     int
}

// String returns the number and the label of the state.
func (c Count) String() string { return fmt.Sprintf("%d %s", c.N, c.State.Label()) }

// Tally returns the number of steps in each state that occurs, in the order of [States].
func (b *Batch) Tally() (tally []Count) {
	counts := b.Counts()
	for _, state := range States {
		if n := counts[state]; n > 0 {
			tally = append(tally, Count{state, n})
		}
	}
	return tally
}
