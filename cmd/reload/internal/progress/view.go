package progress

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// SGR color codes.
const (
	red   = "31"
	green = "32"
	cyan  = "36"
)

const (
	maxBar   = 30 // width of the bar
	minBar   = 5  // there is no bar if there is less space
	maxSteps = 10 // in the live view
)

// view returns the live view: a bar with the times, the counts, and the active steps, longest running first.
func (d *Display) view(now time.Time, columns, lines int) []string {
	view := append([]string{d.summary(now, columns-1)}, pack(d.tally(), columns-1)...)
	active := d.active(now)
	space := max(lines-1-len(view), 0)
	shown := len(active)
	if shown > min(maxSteps, space) {
		shown = min(maxSteps, max(space-1, 0)) // and a line about the others
	}
	for _, a := range active[:shown] {
		state := text.Pad(string(a.step.State), len(batch.Running), ' ')
		if a.step.State == batch.Running {
			state = d.paint(cyan, state)
		}
		line := fmt.Sprintf("%8s  %s  %s", short(a.elapsed), state, show.Line(a.step.Name))
		if run := len(a.step.Reloads); run > 1 {
			line += fmt.Sprintf(" (run %d)", run)
		}
		view = append(view, line)
	}
	if more := len(active) - shown; more > 0 {
		view = append(view, fmt.Sprintf("%10sand %d more", "", more))
	}
	return view[:min(len(view), max(lines-1, 0))]
}

// pack joins parts with commas in lines of at most width, if the parts are not wider.
func pack(parts []string, width int) []string {
	var lines []string
	for i, part := range parts {
		if i < len(parts)-1 {
			part += ","
		}
		if last := len(lines) - 1; last >= 0 && len(lines[last])+1+len(part) <= width {
			lines[last] += " " + part
		} else {
			lines = append(lines, part)
		}
	}
	return lines
}

// summary returns the first line of the view: the bar, the finished steps, the elapsed and the estimated time.
func (d *Display) summary(now time.Time, width int) string {
	finished, total := 0, len(d.batch.Steps)
	for i := range d.batch.Steps {
		if d.batch.Steps[i].Finished() {
			finished++
		}
	}
	line := fmt.Sprintf("%d/%d  %s", finished, total, short(now.Sub(d.batch.Began)))
	if remaining, ok := d.batch.Remaining(now); ok && finished < total {
		line += "  " + estimate(remaining)
	}
	bar := min(maxBar, width-len(line)-2)
	if bar < minBar || total == 0 {
		return line
	}
	done := bar * finished / total
	return d.paint(green, strings.Repeat("█", done)) + strings.Repeat("░", bar-done) + "  " + line
}

// activeStep is a step with a reload that is queued or running.
type activeStep struct {
	step    *batch.Step
	elapsed time.Duration // in its state
}

// active returns the running steps, then the queued ones, each group with the longest time first.
func (d *Display) active(now time.Time) []activeStep {
	var active []activeStep
	for i := range d.batch.Steps {
		s := &d.batch.Steps[i]
		if s.State != batch.Queued && s.State != batch.Running {
			continue
		}
		a := activeStep{step: s}
		if r := s.Reload(); r != nil {
			since := r.CreationTime
			if s.State == batch.Running && !r.StartTime.IsZero() {
				since = r.StartTime
			}
			if !since.IsZero() {
				a.elapsed = max(0, now.Sub(since.Add(d.batch.Offset)))
			}
		}
		active = append(active, a)
	}
	slices.SortStableFunc(active, func(a, b activeStep) int {
		return cmp.Or(-cmp.Compare(a.step.State, b.step.State), -cmp.Compare(a.elapsed, b.elapsed)) // "running" > "queued"
	})
	return active
}

// short formats a duration in at most 7 characters.
func short(d time.Duration) string {
	if d >= time.Hour {
		d = d.Truncate(time.Minute)
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.Truncate(time.Second).String()
}

// estimate formats a remaining time.
func estimate(d time.Duration) string {
	switch minutes := int(d.Round(time.Minute) / time.Minute); {
	case d < time.Minute:
		return "under 1m left"
	case minutes < 60:
		return fmt.Sprintf("about %dm left", minutes)
	default:
		return fmt.Sprintf("about %dh%02dm left", minutes/60, minutes%60)
	}
}

// paint returns a text in color, if the terminal supports it.
func (d *Display) paint(color, s string) string {
	if !d.options.Color || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}
