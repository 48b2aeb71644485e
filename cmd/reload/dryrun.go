package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/planfile"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// writeOrder writes the order of the steps, the options that are set, and what the limits mean for the steps.
func writeOrder(w io.Writer, p *planfile.Plan) error {
	var after [][]int
	for _, s := range p.Steps {
		after = append(after, s.After)
	}
	layers := batch.Layers(after)
	var b strings.Builder
	for i, layer := range layers {
		fmt.Fprintf(&b, "Layer %d of %d:\n", i+1, len(layers))
		for _, j := range layer {
			fmt.Fprintf(&b, "  %s\n", describeStep(p, j))
		}
	}
	b.WriteByte('\n')
	if options := setOptions(p); len(options) > 0 {
		fmt.Fprintf(&b, "Options: %s.\n", show.Line(strings.Join(options, ", ")))
	}
	n := len(p.Steps)
	inARow := len(layers)
	if p.MaxActive > 0 {
		inARow = max(inARow, (n+p.MaxActive-1)/p.MaxActive)
	}
	fmt.Fprintf(&b, "%s in %s.", count(n, "step"), count(len(layers), "layer"))
	if inARow > 1 {
		fmt.Fprintf(&b, " At least %d reloads run one after another.", inARow)
	}
	if minutes := (n - 1) / reloads.SpecialPerMinute; minutes > 0 {
		fmt.Fprintf(&b, " At %d triggers a minute, the last one is possible after %s.", reloads.SpecialPerMinute, count(minutes, "minute"))
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}

// describeStep returns the name of step i, its app and its predecessors.
func describeStep(p *planfile.Plan, i int) string {
	s := p.Steps[i]
	text := s.Name
	if s.Request.AppID != s.Name {
		text += ", app " + s.Request.AppID
	}
	var after []string
	for _, j := range s.After {
		after = append(after, p.Steps[j].Name)
	}
	if len(after) > 0 {
		text += ", after " + strings.Join(after, " and ")
	}
	return show.Line(text)
}

// setOptions returns the options of a plan that are set, as in its file.
func setOptions(p *planfile.Plan) (options []string) {
	for _, o := range []struct {
		name       string
		value, not any
	}{
		{"max-active", p.MaxActive, 0},
		{"rerun", p.Rerun, 0},
		{"once", p.Once, ""},
		{"attach", p.Attach, false},
		{"after-pending", p.AfterPending, false},
		{"cancel-on-abort", p.CancelOnAbort, false},
		{"step-timeout", show.Duration(p.StepTimeout), show.Duration(0)},
		{"timeout", show.Duration(p.Timeout), show.Duration(0)},
	} {
		if o.value != o.not {
			options = append(options, fmt.Sprintf("%s: %v", o.name, o.value))
		}
	}
	return options
}

// count returns a number of things, such as "1 step" or "2 steps".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
