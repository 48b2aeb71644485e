package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/planfile"
	"github.com/reloads-go/reloads/cmd/reload/internal/report"
)

// reports are the files that the results are written to. "" means none, "-" means standard output.
type reports struct {
	html, junit, json string
	open              []openReport
}

// openReport is a report that is written when the batch has ended.
type openReport struct {
	write func(io.Writer, *batch.Batch) error
	w     io.Writer
	file  *os.File // nil for standard output
}

// create opens the files of all reports, so that a wrong name is found before the batch begins. It does not change the
// content of existing files.
func (r *reports) create(stdout io.Writer) error {
	for _, report := range []struct {
		name  string
		write func(io.Writer, *batch.Batch) error
	}{{r.html, report.HTML}, {r.junit, report.JUnit}, {r.json, report.JSON}} {
		switch report.name {
		case "":
		case "-":
			if r.stdout() {
				return errors.New("only one of --report, --junit and --json can be written to standard output")
			}
			r.open = append(r.open, openReport{write: report.write, w: stdout})
		default:
			f, err := os.OpenFile(report.name, os.O_WRONLY|os.O_CREATE, 0o666)
			if err != nil {
				return err
			}
			r.open = append(r.open, openReport{write: report.write, w: f, file: f})
		}
	}
	return nil
}

// stdout reports whether one of the reports goes to standard output.
func (r *reports) stdout() bool {
	for _, o := range r.open {
		if o.file == nil {
			return true
		}
	}
	return false
}

// finish writes and closes all reports.
func (r *reports) finish(b *batch.Batch) error {
	var errs []error
	for _, o := range r.open {
		if o.file == nil {
			errs = append(errs, o.write(o.w, b))
			continue
		}
		if info, err := o.file.Stat(); err == nil && info.Mode().IsRegular() {
			errs = append(errs, o.file.Truncate(0))
		}
		errs = append(errs, o.write(o.w, b), o.file.Close())
	}
	r.open = nil
	return errors.Join(errs...)
}

// writeResults writes the reports, and the table if none of them goes to standard output.
func (r *runner) writeResults(b *batch.Batch) error {
	table := !r.reports.stdout()
	var err error
	if failed := r.reports.finish(b); failed != nil {
		err = &writeError{failed}
	}
	switch {
	case !table:
		return err
	case r.quiet:
		for i := range b.Steps {
			if reload := b.Steps[i].Reload(); reload != nil {
				err = errors.Join(err, r.writeRow(reload))
			}
		}
		return err
	}
	err = errors.Join(err, r.writeTable(resultColumns(), r.resultRows(b)))
	_, failed := fmt.Fprintf(r.stdout, "\n%s\n", summary(b))
	return errors.Join(err, failed)
}

// summary returns how many steps the batch had in each state, and what determined when it ended.
func summary(b *batch.Batch) string {
	var counts []string
	for _, state := range batch.States {
		if n := b.Counts()[state]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, state))
		}
	}
	text := fmt.Sprintf("%d steps in %s: %s.", len(b.Steps), formatDuration(b.Ended.Sub(b.Began)), strings.Join(counts, ", "))
	path := b.CriticalPath()
	if len(path) < 2 {
		return text
	}
	var names []string
	for _, i := range path {
		names = append(names, sanitize(b.Steps[i].Name))
	}
	slowest := b.Slowest()
	return fmt.Sprintf("%s\nCritical path: %s. The slowest step on it is %s, %s.",
		text, strings.Join(names, " → "), names[slices.Index(path, slowest)], formatDuration(b.Took(slowest)))
}

// resultColumns are the columns of the table of the steps.
func resultColumns() []column {
	return []column{
		{name: "STEP"}, {name: "STATUS"}, {name: "QUEUED", optional: true}, {name: "RAN"}, {name: "RUNS", optional: true},
		{name: "RELOAD"}, {name: "ERROR"},
	}
}

// resultRows returns a row for each step.
func (r *runner) resultRows(b *batch.Batch) []row {
	var rows []row
	for i := range b.Steps {
		s := &b.Steps[i]
		var reload reloads.Reload
		if s.Reload() != nil {
			reload = *s.Reload()
		}
		rows = append(rows, row{
			{text: s.Name}, stateCell(s), {text: formatDuration(reload.QueueTime())}, {text: formatDuration(reload.RunTime())},
			{text: strconv.Itoa(s.Runs)}, {text: cmp.Or(reload.ID, "-")}, {text: b.Problem(i)},
		})
	}
	return rows
}

// stateCell returns the status of the reload of a finished step, or the state of a step without one.
func stateCell(s *batch.Step) cell {
	if s.State == batch.Succeeded || s.State == batch.Failed {
		return statusCell(s.Reload().Status)
	}
	return cell{strings.ToUpper(string(s.State)), "33"} // yellow
}

// outcome returns nil if all steps have succeeded. Otherwise its exit status is that of the signal or timeout that ended the
// batch, or the highest one of the steps.
func (r *runner) outcome(ctx context.Context, b *batch.Batch) error {
	failed, status := 0, statusOK
	var pending bool
	for i := range b.Steps {
		if err := b.Steps[i].Err; err != nil {
			failed++
			status = max(status, stepStatus(ctx, err))
			pending = pending || errors.Is(err, reloads.ErrReloadPending)
		}
	}
	if failed == 0 {
		return nil
	}
	if ctx.Err() != nil {
		status = exitStatus(explain(ctx, ctx.Err()))
	}
	err := error(&stepsError{fmt.Errorf("%d of %d steps did not succeed", failed, len(b.Steps)), status})
	switch {
	case r.plan.Once != "":
		return withHint(err, "to continue, run the command again with --once '%s'; what has succeeded is not reloaded again", r.plan.Once)
	case pending:
		return withHint(err, "for apps with a pending reload, use --attach or --after-pending")
	}
	return err
}

// stepsError means that steps of a batch did not succeed.
type stepsError struct {
	error
	status int
}

// stepStatus returns the exit status for the error of a step. A step that ran into --step-timeout did not succeed. A
// skipped step has the status of the one that did not succeed.
func stepStatus(ctx context.Context, err error) int {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return statusFailed
	}
	return exitStatus(err)
}

// writeOrder writes the order of the steps, and the shortest time that the rate limit allows.
func writeOrder(w io.Writer, p *planfile.Plan) error {
	var after [][]int
	for _, s := range p.Steps {
		after = append(after, s.After)
	}
	layers := batch.Layers(after)
	var b strings.Builder
	for i, layer := range layers {
		fmt.Fprintf(&b, "layer %d of %d\n", i+1, len(layers))
		for _, j := range layer {
			s := p.Steps[j]
			fmt.Fprintf(&b, "  %s", sanitize(s.Name))
			if s.Request.AppID != s.Name {
				fmt.Fprintf(&b, ", app %s", sanitize(s.Request.AppID))
			}
			for n, k := range s.After {
				fmt.Fprintf(&b, "%s %s", []string{", after", ","}[min(n, 1)], sanitize(p.Steps[k].Name))
			}
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(&b, "\n%d steps in %d layers. ", len(p.Steps), len(layers))
	minutes := (len(p.Steps) - 1) / triggersPerMinute
	fmt.Fprintf(&b, "The rate limit of %d triggers a minute alone takes %v.\n", triggersPerMinute, time.Duration(minutes)*time.Minute)
	_, err := io.WriteString(w, b.String())
	return err
}

// triggersPerMinute is the service's limit (API page, rate limit "Special").
const triggersPerMinute = 50
