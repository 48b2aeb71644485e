package report

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"slices"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// formatVersion is the version of the JSON format.
const formatVersion = 1

type jsonBatch struct {
	Version      int                 `json:"version"`
	Tenant       string              `json:"tenant"`
	Began        time.Time           `json:"began"`
	Ended        time.Time           `json:"ended"`
	Seconds      float64             `json:"seconds"`
	Start        time.Time           `json:"start"`
	Offset       float64             `json:"clockOffsetSeconds"`
	Counts       map[batch.State]int `json:"counts"`
	CriticalPath []string            `json:"criticalPath"`
	SlowestStep  string              `json:"slowestStep,omitempty"`
	Steps        []jsonStep          `json:"steps"`
}

type jsonStep struct {
	Name     string       `json:"name"`
	App      string       `json:"app"`
	After    []string     `json:"after"`
	Status   batch.State  `json:"status"`
	Before   bool         `json:"before"`
	Critical bool         `json:"critical"`
	Runs     int          `json:"runs"`
	Ready    time.Time    `json:"ready,omitzero"`
	Ended    time.Time    `json:"ended,omitzero"`
	Blocked  float64      `json:"blockedSeconds"`
	Held     float64      `json:"heldSeconds"`
	Paused   float64      `json:"pausedSeconds"`
	Queued   float64      `json:"queuedSeconds"`
	Ran      float64      `json:"ranSeconds"`
	Error    string       `json:"error,omitempty"`
	Log      []string     `json:"log"`
	Reloads  []jsonReload `json:"reloads"`
}

// jsonReload leaves out what an API record has besides: users, links and members that the client does not know.
type jsonReload struct {
	ID           string         `json:"id"`
	Status       reloads.Status `json:"status"`
	CreationTime time.Time      `json:"creationTime,omitzero"`
	StartTime    time.Time      `json:"startTime,omitzero"`
	EndTime      time.Time      `json:"endTime,omitzero"`
	ErrorCode    string         `json:"errorCode,omitempty"`
	ErrorMessage string         `json:"errorMessage,omitempty"`
}

// JSON writes the report for programs. The package documentation describes the format.
func JSON(w io.Writer, b *batch.Batch) error {
	path := b.CriticalPath()
	out := jsonBatch{
		Version: formatVersion, Tenant: b.Tenant, Began: b.Began, Ended: end(b), Seconds: seconds(end(b).Sub(b.Began)), Start: b.Start,
		Offset: seconds(b.Offset), Counts: b.Counts(), CriticalPath: names(b, path), Steps: []jsonStep{},
	}
	if i := b.Slowest(); i >= 0 {
		out.SlowestStep = b.Steps[i].Name
	}
	for i := range b.Steps {
		step := newJSONStep(b, i)
		step.Critical = slices.Contains(path, i)
		out.Steps = append(out.Steps, step)
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := w.Write(show.JSON(text.Bytes()))
	return err
}

func newJSONStep(b *batch.Batch, i int) jsonStep {
	s, times := &b.Steps[i], phaseTimes(b, i, b.Start)
	step := jsonStep{
		Name: s.Name, App: s.App, After: names(b, s.After), Status: s.State, Before: s.Before(), Runs: s.Runs, Ready: s.Ready,
		Ended:   s.Ended,
		Blocked: seconds(times[batch.Blocked]), Held: seconds(times[batch.Held]), Paused: seconds(times[batch.Paused]),
		Queued: seconds(times[batch.InQueue]), Ran: seconds(times[batch.InEngine]),
		Error: b.Problem(i), Log: append([]string{}, s.Log...), Reloads: []jsonReload{},
	}
	for _, r := range s.Reloads {
		step.Reloads = append(step.Reloads, jsonReload{r.ID, r.Status, r.CreationTime, r.StartTime, r.EndTime, r.ErrorCode, r.ErrorMessage})
	}
	return step
}

// seconds returns d in seconds, with milliseconds.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }
