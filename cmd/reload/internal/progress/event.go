package progress

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// Event is a change of a step. In mode [JSON], each line is an Event. Texts contain no control characters.
type Event struct {
	Time   time.Time           `json:"time"`
	Event  string              `json:"event"`            // [EventStarted], [EventChanged], [EventRerun] or [EventFinished]
	Step   string              `json:"step"`             // the name of the step
	App    string              `json:"app"`              // the ID of its app
	Run    int                 `json:"run,omitempty"`    // 1 for the first reload of the step, 2 for its first rerun
	Reload string              `json:"reload,omitempty"` // the ID of the reload, if there is one
	Status reloads.Status      `json:"status,omitempty"` // of the reload
	State  batch.State         `json:"state"`            // of the step
	Before bool                `json:"before,omitempty"` // the step has succeeded before, under the same key
	Error  string              `json:"error,omitempty"`  // why a finished step or, before a rerun, its reload did not succeed
	Counts map[batch.State]int `json:"counts"`           // the number of steps in each state that occurs
}

// The values of [Event].Event.
const (
	EventStarted  = "started"  // a reload of the step was triggered or attached to; a rerun starts the step again
	EventChanged  = "changed"  // the reload has another status, and has not finished
	EventRerun    = "rerun"    // the reload has failed, and another run follows, unless the batch ends before
	EventFinished = "finished" // the result of the step is known
)

// event returns the event of a step for its present state.
func (d *Display) event(kind string, step int, now time.Time) Event {
	s := &d.batch.Steps[step]
	e := Event{
		Time: now.UTC().Truncate(time.Millisecond), Event: kind, Step: show.Line(s.Name), App: show.Line(s.App), Run: len(s.Reloads),
		State: s.State, Error: show.Line(d.batch.Problem(step)), Counts: d.batch.Counts(),
	}
	if r := s.Reload(); r != nil {
		e.Reload, e.Status = show.Line(r.ID), reloads.Status(show.Line(string(r.Status)))
	}
	if s.Before() {
		e.Before, e.Run = true, 0
	}
	return e
}

// show writes an event in the format of the mode. In mode [Live], it prepares a line for the next update. The caller must
// hold the lock.
func (d *Display) show(e Event) {
	if d.stopped || d.err != nil {
		return
	}
	failed := e.Event == EventRerun || e.State == batch.Failed || e.State == batch.Refused || e.State == batch.Errored
	switch {
	case d.mode == JSON:
		line, err := json.Marshal(e)
		if d.err = err; err == nil {
			d.writeLine(string(line))
		}
	case d.mode == Plain:
		d.writeLine(d.plain(e))
	case d.mode == failures && failed:
		d.writeLine(e.failure(e.title()))
	case d.mode == Live && failed:
		d.printed = append(d.printed, e.failure(d.paint(red, e.title())))
	}
}

// failure returns the line about a reload that has failed.
func (e Event) failure(title string) string {
	line := title + " " + e.Step
	if note := e.note(); note != "" {
		line += " (" + note + ")"
	}
	if e.Error != "" {
		line += ": " + show.Cut(e.Error, show.MaxProblem)
	}
	return line
}

// title returns the status of the reload. If that does not tell the state of the step, it returns the latter.
func (e Event) title() string {
	switch e.State {
	case batch.Waiting, batch.Queued, batch.Running, batch.Succeeded, batch.Failed:
		if e.Status != "" {
			return string(e.Status)
		}
	default: // the status does not tell the state
	}
	return strings.ToUpper(e.State.Label())
}

// note returns what the title of an event does not say.
func (e Event) note() string {
	switch {
	case e.Event == EventRerun:
		return fmt.Sprintf("run %d follows", e.Run+1)
	case e.Event == EventStarted && e.Run > 1:
		return fmt.Sprintf("run %d", e.Run)
	case e.Before:
		return "before"
	}
	return ""
}

// writeLine writes a line at once.
func (d *Display) writeLine(line string) { _, d.err = fmt.Fprintln(d.out, line) }

// plain returns the line of an event in mode [Plain].
func (d *Display) plain(e Event) string {
	names := 0
	for i := range d.batch.Steps {
		names = max(names, text.StringWidthWithoutEscSequences(show.Line(d.batch.Steps[i].Name)))
	}
	parts := []string{e.Time.Format(time.RFC3339), text.Pad(e.Step, names, ' '), text.Pad(e.title(), len(reloads.StatusSucceeded), ' ')}
	parts = append(parts, strings.Join(d.tally(), ", "))
	for _, part := range []string{e.note(), show.Cut(e.Error, show.MaxProblem)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "  ")
}

// tally returns the number of steps in each state that occurs.
func (d *Display) tally() (texts []string) {
	for _, count := range d.batch.Tally() {
		texts = append(texts, count.String())
	}
	return texts
}
