// Package report writes reports of a finished or interrupted batch: a page for people, JUnit XML for CI servers, and JSON
// for programs.
//
// None of them contains a token or the value of a variable. Texts of the service are escaped. In the page and in the JUnit
// XML, characters that cannot be seen, or that change the direction of the text around them, are replaced by U+FFFD.
//
// # JSON
//
// [JSON] writes one object. Later versions may add members. If the meaning of a member changes, version does, too. A text
// that is empty and a time that is not known are left out. A list without elements is []. Times are RFC 3339. Durations are
// in seconds, with milliseconds.
//
//	version             1
//	tenant              URL of the tenant
//	began, ended        when the batch began and ended, by the clock of the machine that ran it
//	seconds             how long that took
//	start               when the timeline starts: began or, if a reload was created before, when that was
//	clockOffsetSeconds  what to add to a time of a reload to get a time of that machine
//	counts              number of steps by status
//	criticalPath        names of the steps that determined when the batch ended, in order of time
//	slowestStep         name of the step of the critical path that took longest
//	steps               in the order of the plan
//
// A step has the members:
//
//	name, app, after  as in the plan
//	status            succeeded, failed, aborted, refused, errored, skipped or "not started"; if it has no result, waiting,
//	                  queued or running
//	before            whether it had succeeded before, under the same key
//	critical          whether it is on the critical path
//	runs              number of reloads that the batch triggered or attached to
//	ready             when its predecessors had succeeded
//	ended             when its result was known or, if it had succeeded before, when its reload ended
//	blockedSeconds    how long it waited for its predecessors
//	heldSeconds       how long it waited to be triggered: for its app, a limit, or the look-ups of once
//	pausedSeconds     how long it waited for its next run
//	queuedSeconds     how long its reloads were queued, and
//	ranSeconds        how long they ran, since start
//	error             why it did not succeed
//	log               last lines of the log of its failed reload
//	reloads           its reloads in order, with the members id, status, creationTime, startTime, endTime, errorCode and
//	                  errorMessage of the API, by the clock of the service
package report

import (
	"time"

	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
)

// end returns when the batch ended or, if that is not known, the last time that it recorded.
func end(b *batch.Batch) time.Time {
	if !b.Ended.IsZero() {
		return b.Ended.Round(0)
	}
	last := b.Began
	for i := range b.Steps {
		s := &b.Steps[i]
		times := []time.Time{s.Ready, s.Ended}
		for _, r := range s.Reloads {
			for _, t := range []time.Time{r.CreationTime, r.StartTime, r.EndTime} {
				times = append(times, t.Add(b.Offset))
			}
		}
		for _, t := range times {
			if t.After(last) {
				last = t
			}
		}
	}
	return last
}

// interrupted reports whether the batch ended before the turn or the result of a step.
func interrupted(b *batch.Batch) bool {
	for i := range b.Steps {
		if s := &b.Steps[i]; !s.Finished() || s.State == batch.NotStarted {
			return true
		}
	}
	return false
}

// phaseTimes returns how long step i was in each phase, since the given time.
func phaseTimes(b *batch.Batch, i int, since time.Time) map[batch.Phase]time.Duration {
	times := map[batch.Phase]time.Duration{}
	for _, s := range b.Spans(i, end(b)) {
		if s.From.Before(since) {
			s.From = since
		}
		times[s.Phase] += max(0, s.To.Sub(s.From))
	}
	return times
}

// names returns the names of steps; not nil, because it becomes JSON.
func names(b *batch.Batch, steps []int) []string {
	names := []string{}
	for _, i := range steps {
		names = append(names, b.Steps[i].Name)
	}
	return names
}
