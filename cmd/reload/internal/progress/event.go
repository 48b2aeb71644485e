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
	Event  string              `json:"event"`            // [EventStarted], [EventChanged] or [EventFinished]
	Step   string              `json:"step"`             // the name of the step
	App    string              `json:"app"`              // the ID of its app
	Run    int                 `json:"run,omitempty"`    // 1 for the first reload of the step, 2 for its first rerun
	Reload string              `json:"reload,omitempty"` // the ID of the reload, if there is one
	Status reloads.Status      `json:"status,omitempty"` // of the reload
	State  batch.State         `json:"state"`            // of the step
	Error  string              `json:"error,omitempty"`  // why a finished step did not succeed
	Counts map[batch.State]int `json:"counts"`           // the number of steps in each state that occurs
}

// The values of [Event].Event.
const (
	EventStarted  = "started"  // a reload of the step was triggered or attached to; a rerun starts the step again
	EventChanged  = "changed"  // the reload has another status
	EventFinished = "finished" // the result of the step is known
)

// event returns the event of a step for its present state.
func (d *Display) event(kind string, step int, now time.Time) Event {
	s := &d.batch.Steps[step]
	e := Event{
		Time: now.UTC().Truncate(time.Millisecond), Event: kind, Step: show.Line(s.Name), App: show.Line(s.App), Run: len(s.Reloads),
		State: s.State, Counts: d.batch.Counts(),
	}
	if r := s.Reload(); r != nil {
		e.Reload, e.Status = show.Line(r.ID), reloads.Status(show.Line(string(r.Status)))
	}
	if s.Err != nil {
		e.Error = strings.TrimPrefix(show.Line(s.Err.Error()), "reloads: ")
	}
	return e
}

// show writes an event in the format of the mode. In mode [Live], it prepares a line for the next update. The caller must
// hold the lock.
func (d *Display) show(e Event) {
	if d.stopped || d.err != nil {
		return
	}
	failed := e.State == batch.Failed || e.State == batch.Refused
	switch {
	case d.mode == JSON:
		line, err := json.Marshal(e)
		if d.err = err; err == nil {
			d.writeLine(string(line))
		}
	case d.mode == Plain && (e.Event == EventFinished || !e.Status.Ended()): // the result follows a terminal status
		d.writeLine(d.plain(e))
	case d.mode == failures && failed:
		d.writeLine(e.title() + " " + e.Step + ": " + e.Error)
	case d.mode == Live && failed:
		d.printed = append(d.printed, d.paint(red, e.title())+" "+e.Step+": "+e.Error)
	}
}

// writeLine writes a line at once.
func (d *Display) writeLine(line string) { _, d.err = fmt.Fprintln(d.w, line) }

// plain returns the line of an event in mode [Plain].
func (d *Display) plain(e Event) string {
	names := 0
	for i := range d.batch.Steps {
		names = max(names, text.StringWidthWithoutEscSequences(show.Line(d.batch.Steps[i].Name)))
	}
	parts := []string{e.Time.Format(time.RFC3339), text.Pad(e.Step, names, ' '), text.Pad(e.title(), len(reloads.StatusSucceeded), ' ')}
	parts = append(parts, strings.Join(counts(e.Counts), ", "))
	if e.Event == EventStarted && e.Run > 1 {
		parts = append(parts, fmt.Sprintf("run %d", e.Run))
	}
	if e.Error != "" {
		parts = append(parts, e.Error)
	}
	return strings.Join(parts, "  ")
}

// title returns the status of the reload. If that does not tell the state of the step, it returns the latter.
func (e Event) title() string {
	switch e.State {
	case batch.Waiting, batch.Queued, batch.Running, batch.Succeeded, batch.Failed:
		if e.Status != "" {
			return string(e.Status)
		}
	}
	return strings.ToUpper(string(e.State))
}

// counts returns the number of steps in each state that occurs.
func counts(n map[batch.State]int) []string {
	var parts []string
	for _, state := range batch.States {
		if n[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[state], state))
		}
	}
	return parts
}
