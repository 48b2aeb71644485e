package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/planfile"
	"github.com/reloads-go/reloads/cmd/reload/internal/progress"
	"github.com/reloads-go/reloads/reloadstest"
)

// runner is the subcommand run.
type runner struct {
	*app
	file     string // the plan, or a list of apps
	override planfile.Plan
	dryRun   bool
	progress progress.Mode
	reports  reports

	plan *planfile.Plan
}

func newRun(a *app) *cobra.Command {
	r := &runner{app: a, progress: progress.Auto}
	cmd := &cobra.Command{
		Use:   "run [-f FILE] [APP_ID...]",
		Short: "Reload many apps, some of them after others",
		Long: `Reload many apps at once, as fast as the rate limit allows. A plan can make some of them start after
others have succeeded. When a reload does not succeed, the steps after it are skipped, and
everything else goes on.

FILE is a plan in YAML, or a list with an app ID in each line; - means standard input. A plan:

  max-active: 4             # at most 4 reloads at once
  rerun: 1                  # reload a failed app once more
  once: nightly-{{date}}    # after a crash, start again: what has succeeded is not reloaded again
  steps:
    - name: extract
      app: 116dbfae-7fb9-4983-8e23-5ccd8c508722
    - name: sales
      app: 7d0b9a4e-52f6-4f0c-9b1d-3f8b7a6c5e21
      after: [extract]
      variables: {vRegion: EU}

Other keys of a plan are attach, after-pending, cancel-on-abort, step-timeout and timeout, and
partial and weight of a step. A flag overrides the key of the same name.

With --fake, all apps of the plan exist. Each reload takes a second or two. It fails if the app ID
contains fail.

If steps end differently, the highest exit status counts. A step that ran into --step-timeout has
the exit status 1.`,
		Example: `  reload run -f plan.yaml --dry-run
  reload run -f plan.yaml --report night.html --junit night.xml
  reload run --fake sales stock will-fail`,
		PreRunE:           r.prepare,
		RunE:              r.runPlan,
		ValidArgsFunction: a.completeAppArgs,
	}
	r.addFlags(cmd.Flags())
	completeRunFlags(cmd)
	return cmd
}

func (r *runner) addFlags(flags *pflag.FlagSet) {
	o := &r.override
	flags.SortFlags = false
	flags.StringVarP(&r.file, "file", "f", "", "read a plan or a list of app IDs from this `file`; - means standard input")
	flags.BoolVar(&r.dryRun, "dry-run", false, "show the order of the steps, and send nothing")
	flags.IntVar(&o.MaxActive, "max-active", 0, "at most this `number` of reloads at once; 0 means no limit")
	flags.IntVar(&o.Rerun, "rerun", 0, "reload an app whose reload failed again, up to this `number` of times")
	flags.StringVar(&o.Once, "once", "", "do not reload again what has succeeded under this `key`, such as nightly-{{date}}")
	flags.BoolVar(&o.Attach, "attach", false, "if an app has a pending reload, wait for it instead of failing")
	flags.BoolVar(&o.AfterPending, "after-pending", false, "if an app has a pending reload, wait for its end, then reload")
	flags.BoolVar(&o.CancelOnAbort, "cancel-on-abort", false, "cancel the reloads on timeout or interrupt")
	flags.DurationVar(&o.StepTimeout, "step-timeout", 0, "cancel a reload that has not finished after this `time`; 0 means never")
	flags.Var(&r.progress, "progress", "show progress as `mode`: auto, live, plain, json or none")
	flags.StringVar(&r.reports.html, "report", "", "write an HTML report with a timeline to this `file`; - means standard output")
	flags.StringVar(&r.reports.junit, "junit", "", "write the results as JUnit XML to this `file`; - means standard output")
	flags.StringVar(&r.reports.json, "json", "", "write the results as JSON to this `file`; - means standard output")
}

// prepare reads the plan. It refuses everything that is wrong before anything is sent.
func (r *runner) prepare(cmd *cobra.Command, args []string) error {
	r.started = true
	plan, err := r.readPlan(args)
	if err != nil {
		return &usageError{err}
	}
	r.plan = plan
	r.applyFlags(cmd.Flags())
	switch {
	case plan.MaxActive < 0 || plan.Rerun < 0 || plan.StepTimeout < 0:
		return usagef("--max-active, --rerun and --step-timeout must not be negative")
	case r.override.Attach && r.override.AfterPending:
		return usagef("only one of --attach and --after-pending is allowed")
	}
	plan.Once, err = planfile.Key(plan.Once, time.Now())
	if err != nil {
		return usagef("--once: %w", err)
	}
	return nil
}

// readPlan returns the plan in the file or of the arguments.
func (r *runner) readPlan(args []string) (*planfile.Plan, error) {
	switch {
	case r.file == "" && len(args) == 0:
		return nil, errors.New("no apps: use -f FILE or app IDs as arguments")
	case r.file == "":
		if i := slices.IndexFunc(args, isFile); i >= 0 {
			return nil, fmt.Errorf("%q is a file, not an app ID; use -f %[1]s", args[i])
		}
		return planfile.List(args)
	case len(args) > 0:
		return nil, errors.New("-f and app IDs as arguments cannot be combined")
	case r.file == "-" && r.keyFile == "-":
		return nil, errors.New("-f and --api-key-file cannot both read standard input")
	}
	name, in := r.file, io.Reader(os.Stdin)
	if name == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, planfile.MaxSize+1))
	if err != nil {
		return nil, err
	}
	return planfile.Parse(name, text)
}

// isFile reports whether an argument is the name of a plan or a list, rather than an app ID.
func isFile(arg string) bool {
	if slices.Contains([]string{".yaml", ".yml", ".json", ".txt"}, filepath.Ext(arg)) {
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && info.Mode().IsRegular()
}

// applyFlags overrides the keys of the plan with the flags that are set.
func (r *runner) applyFlags(flags *pflag.FlagSet) {
	p, o := r.plan, r.override
	for name, apply := range map[string]func(){
		"max-active":      func() { p.MaxActive = o.MaxActive },
		"rerun":           func() { p.Rerun = o.Rerun },
		"once":            func() { p.Once = o.Once },
		"attach":          func() { p.Attach, p.AfterPending = o.Attach, p.AfterPending && !o.Attach },
		"after-pending":   func() { p.AfterPending, p.Attach = o.AfterPending, p.Attach && !o.AfterPending },
		"cancel-on-abort": func() { p.CancelOnAbort = o.CancelOnAbort },
		"step-timeout":    func() { p.StepTimeout = o.StepTimeout },
		"timeout":         func() { p.Timeout = r.timeout },
	} {
		if flags.Changed(name) {
			apply()
		}
	}
	r.timeout = p.Timeout
}

// runPlan runs the plan and writes its results.
func (r *runner) runPlan(cmd *cobra.Command, _ []string) error {
	ctx, stop, err := r.begin(cmd)
	if err != nil {
		return err
	}
	defer stop()
	if r.dryRun {
		return writeOrder(r.stdout, r.plan)
	}
	var clock clock
	client, tenant, err := r.connect(os.Getenv, func() *reloadstest.Tenant { return newFakeTenantOf(r.plan) }, clock.observe)
	if err != nil {
		return err
	}
	if err := r.reports.create(r.stdout); err != nil {
		return &usageError{err}
	}
	b := batch.New(tenant, time.Now(), steps(r.plan))
	b.MaxActive, b.Rerun = r.plan.MaxActive, r.plan.Rerun
	failed := r.track(ctx, client, b)
	b.Close(time.Now(), clock.offset())
	if len(r.reports.open) > 0 {
		addLogs(ctx, client, b)
	}
	if r.utc {
		inUTC(b)
	}
	return errors.Join(r.outcome(ctx, cmd, b), failed, r.writeResults(b))
}

// track runs the plan and shows its progress. Its error is that of writing the progress.
func (r *runner) track(ctx context.Context, client *reloads.Client, b *batch.Batch) error {
	display := progress.New(r.stderr, b, r.display())
	plan, options := compile(r.plan)
	find := newFinder(r.plan, b)
	options = append(options, reloads.OnChange(func(req reloads.Request, reload *reloads.Reload) {
		if i := find.step(req); i >= 0 {
			display.Change(i, reload)
		}
	}))
	for result := range client.RunPlan(ctx, plan, options...) {
		display.Finish(result)
	}
	if err := display.Stop(); err != nil {
		return &writeError{"the progress", err}
	}
	return nil
}

// display returns how the progress is shown.
func (r *runner) display() progress.Options {
	o := progress.Options{Mode: r.progress, Dumb: os.Getenv("TERM") == "dumb", Color: r.color}
	if r.stderrTerminal {
		o.Size = progress.Size(os.Stderr)
	}
	if r.quiet && o.Mode == progress.Auto {
		o.Mode = progress.None
	}
	return o
}
