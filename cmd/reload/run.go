package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/planfile"
	"github.com/reloads-go/reloads/cmd/reload/internal/progress"
	"github.com/reloads-go/reloads/oauth"
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
		RunE:              r.runPlan, // which prepares, so that conflicting flags are refused before
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
	flags.BoolVar(&o.CancelOnAbort, "cancel-on-abort", false, "on timeout or interrupt, cancel the reloads that this run triggered")
	flags.DurationVar(&o.StepTimeout, "step-timeout", 0, "cancel a reload after this `time`, unless it is somebody else's; 0 means never")
	flags.Var(&r.progress, "progress", "show progress as `mode`: auto, live, plain, json or none")
	flags.StringVar(&r.reports.html, "report", "", "write an HTML report with a timeline to this `file`; - means standard output")
	flags.StringVar(&r.reports.junit, "junit", "", "write the results as JUnit XML to this `file`; - means standard output")
	flags.StringVar(&r.reports.json, "json", "", "write the results as JSON to this `file`; - means standard output")
}

// runPlan runs the plan and writes its results.
func (r *runner) runPlan(cmd *cobra.Command, args []string) error {
	if err := r.begin(); err != nil {
		return err
	}
	if err := r.prepare(cmd, args); err != nil {
		return err
	}
	if r.dryRun {
		return writeOrder(r.stdout, r.plan)
	}
	r.silent = r.silent || r.progress == progress.JSON || r.progress == progress.None
	var clock clock
	client, tenant, err := r.connect(os.Getenv, func() *reloadstest.Tenant { return newFakeTenantOf(r.plan) }, clock.observe)
	if err != nil {
		return err
	}
	if err := r.reports.create(r.stdout, r.inputs()); err != nil {
		return &usageError{err}
	}
	signaled, stop := withSignals(cmd.Context())
	defer stop()
	ctx, cancel := r.limit(signaled)
	defer cancel()
	b := batch.New(tenant, time.Now(), steps(r.plan))
	b.MaxActive, b.Rerun = r.plan.MaxActive, r.plan.Rerun
	failed := r.track(ctx, client, b, &clock)
	b.Close(time.Now(), clock.offset())
	outcome := r.outcome(ctx, cmd, b) // a timeout or a signal from now on does not change it
	if len(r.reports.open) > 0 {
		addLogs(signaled, client, b)
	}
	if r.utc {
		inUTC(b)
	}
	return errors.Join(outcome, failed, r.writeResults(b))
}

// inputs returns the files that the run reads, by their flags or descriptions. "-" is standard input.
func (r *runner) inputs() map[string]string {
	files := map[string]string{}
	contexts, _ := contextsPath()
	for flag, path := range map[string]string{"--file": r.file, "--api-key-file": r.keyFile, "the contexts of qlik-cli": contexts} {
		if path != "" {
			files[flag] = path
		}
	}
	return files
}

// track runs the plan and shows its progress. Its error is that of writing the progress.
func (r *runner) track(ctx context.Context, client *reloads.Client, b *batch.Batch, clock *clock) error {
	display := progress.New(os.Stderr, b, r.display()) // which does not wait for the reader either
	before := r.log.to(display)
	plan, options, stepOf := compile(r.plan)
	options = append(options, reloads.OnChange(func(req reloads.Request, reload *reloads.Reload) {
		display.SetOffset(clock.offset())
		if i, ok := stepOf[identity(req)]; ok {
			display.Change(i, reload)
		}
	}))
	if err := checkTenant(ctx, client, b.Steps[0].App); err != nil {
		for i := range b.Steps {
			display.Finish(reloads.Result{Step: reloads.Step(i), Err: fmt.Errorf("%w: %w", reloads.ErrNotStarted, err)})
		}
	} else {
		for result := range client.RunPlan(ctx, plan, options...) {
			display.Finish(result)
		}
	}
	r.log.to(before)
	if err := display.Stop(); err != nil {
		return &writeError{"the progress", err}
	}
	return nil
}

// checkTenant sends one request for reading, so that a run with a wrong key or URL ends at once. Without it, each trigger
// would fail on its own, after its retries and at the pace of the rate limit. Another refusal means nothing for the triggers.
func checkTenant(ctx context.Context, client *reloads.Client, appID string) error {
	_, err := client.List(ctx, reloads.ListOptions{AppID: appID, PageSize: 1})
	if errors.Is(err, reloads.ErrUnauthorized) || errors.As(err, new(*oauth.Error)) || exitStatus(err) == statusUnreachable {
		return err
	}
	return nil // if ctx has ended, nothing is triggered either
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
