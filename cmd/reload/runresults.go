package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// writeResults writes the reports, and the table if none of them goes to standard output.
func (r *runner) writeResults(b *batch.Batch) error {
	err := r.reports.finish(b)
	switch {
	case r.reports.stdout:
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

// inUTC changes the times of this machine to UTC.
func inUTC(b *batch.Batch) {
	b.Began, b.Ended, b.Start = b.Began.UTC(), b.Ended.UTC(), b.Start.UTC()
	for i := range b.Steps {
		s := &b.Steps[i]
		s.Ready, s.Ended = s.Ready.UTC(), s.Ended.UTC()
	}
}

// summary returns how many steps the batch had in each state, and what determined when it ended.
func summary(b *batch.Batch) string {
	var counts []string
	for _, count := range b.Tally() {
		counts = append(counts, count.String())
	}
	text := fmt.Sprintf("%s in %s: %s.", count(len(b.Steps), "step"), formatDuration(b.Ended.Sub(b.Began)), strings.Join(counts, ", "))
	path := b.CriticalPath()
	if len(path) < 2 {
		return text
	}
	var names []string
	for _, i := range path {
		names = append(names, show.Line(b.Steps[i].Name))
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

// stateCell returns the status of the reload of a finished step. Where that says nothing about the step, it returns the
// state of the step.
func stateCell(s *batch.Step) cell {
	r := s.Reload()
	switch {
	case s.Before():
		return cell{strings.ToUpper(s.Label()), statusCell(reloads.StatusSucceeded).color}
	case s.State == batch.Succeeded, s.State == batch.Failed, s.State == batch.Aborted && r.Status != "":
		return statusCell(r.Status)
	}
	return cell{strings.ToUpper(s.Label()), "33"} // yellow
}

// stepsError means that steps of a batch did not succeed.
type stepsError struct {
	error
	cause  error // what the exit status is about: the end of the context, or the error of a step
	status int
}

func (e *stepsError) Unwrap() error { return e.cause }

// outcome returns nil if all steps have succeeded. Otherwise its exit status is that of the signal or timeout that ended the
// batch, or the highest one of the steps.
func (r *runner) outcome(ctx context.Context, cmd *cobra.Command, b *batch.Batch) error {
	failed := 0
	err := &stepsError{}
	for i := range b.Steps {
		stepErr := b.Steps[i].Err
		if stepErr == nil {
			continue
		}
		failed++
		if status := stepStatus(ctx, stepErr); status > err.status {
			err.cause, err.status = stepErr, status
		}
	}
	if failed == 0 {
		return nil
	}
	if ctx.Err() != nil {
		err.cause = explain(ctx, ctx.Err())
		err.status = exitStatus(err.cause)
	}
	err.error = fmt.Errorf("%d of %s did not succeed", failed, count(len(b.Steps), "step"))
	if ctx.Err() == nil && errors.Is(err.cause, reloads.ErrNotStarted) && err.status != statusTimedOut {
		err.error = err.cause // of checkTenant, for all steps
	}
	if hint := r.hint(ctx, cmd, b, err); hint != "" {
		return withHint(err, "%s", hint)
	}
	return err
}

// stepStatus returns the exit status for the error of a step. A step that ran into --step-timeout did not succeed. A
// skipped step has the status of the one that did not succeed.
func stepStatus(ctx context.Context, err error) int {
	expired := ctx.Err() != nil || errors.Is(err, reloads.ErrNotStarted) || errors.Is(err, reloads.ErrRateLimited)
	if errors.Is(err, context.DeadlineExceeded) && !expired {
		return statusFailed
	}
	return exitStatus(err)
}

// hint returns what to do after steps did not succeed.
func (r *runner) hint(ctx context.Context, cmd *cobra.Command, b *batch.Batch, err *stepsError) string {
	var hints []string
	if hint := nextStep(cmd, err); hint != "" {
		hints = append(hints, hint)
	}
	active := activeReloads(b)
	hints = append(hints, r.goingOn(ctx, active)...)
	switch {
	case r.plan.Once != "" && err.status != statusRefused: // what was refused is refused again
		hints = append(hints, fmt.Sprintf("to continue, run the command again with --once %s; what has succeeded is not reloaded again", shellQuote(r.plan.Once)))
	case len(active) > 0:
		hints = append(hints, "to wait, run: reload wait "+idsOf(active[:min(len(active), maxHinted)]))
	case errors.Is(err, reloads.ErrReloadPending):
		hints = append(hints, "for apps with a pending reload, use --attach or --after-pending")
	}
	return strings.Join(hints, "; ")
}

// shellQuote quotes a text for a shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// maxHinted is how many reloads a hint names.
const maxHinted = 5

// activeReloads returns the steps whose reload neither finished nor was canceled.
func activeReloads(b *batch.Batch) (steps []*batch.Step) {
	for i := range b.Steps {
		s := &b.Steps[i]
		if r := s.Reload(); r != nil && !r.Ended() && r.Status != reloads.StatusCanceling {
			steps = append(steps, s)
		}
	}
	return steps
}

// idsOf returns the IDs of the reloads of steps.
func idsOf(steps []*batch.Step) string {
	var ids []string
	for _, s := range steps {
		ids = append(ids, s.Reload().ID)
	}
	return strings.Join(ids, " ")
}

// goingOn says that active reloads go on, and why they were not canceled if they might have been.
func (r *runner) goingOn(ctx context.Context, active []*batch.Step) (hints []string) {
	var refused, foreign, others []*batch.Step
	for _, s := range active {
		switch {
		case strings.Contains(s.Err.Error(), "; canceling it: "): // only the text of the client tells it
			refused = append(refused, s)
		case r.plan.CancelOnAbort && ctx.Err() != nil && errors.Is(s.Err, ctx.Err()):
			foreign = append(foreign, s) // the client cancels all that it has triggered
		default:
			others = append(others, s)
		}
	}
	if len(refused) > 0 {
		hints = append(hints, count(len(refused), "reload")+" could not be canceled: "+idsOf(refused))
	}
	if len(foreign) > 0 {
		hints = append(hints, goOn(len(foreign))+", which this run did not trigger and so did not cancel: "+idsOf(foreign))
	}
	if len(others) > 0 {
		hints = append(hints, goOn(len(others)))
	}
	return hints
}

// goOn says that n reloads go on.
func goOn(n int) string {
	if n == 1 {
		return "1 reload goes on"
	}
	return fmt.Sprintf("%d reloads go on", n)
}
