package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/reloads-go/reloads/cmd/reload/internal/planfile"
)

// prepare reads the plan. It refuses everything that is wrong before anything is sent.
func (r *runner) prepare(cmd *cobra.Command, args []string) error {
	if jsonBeforeRun() {
		return usagef("--json of run needs a file; put --json FILE after run")
	}
	for _, name := range []string{"report", "junit", "json"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return usagef("the file of --%s is empty", name)
		}
	}
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
	if plan.Once == "" && !cmd.Flags().Changed("once") {
		return nil
	}
	if plan.Once, err = planfile.Key(plan.Once, time.Now()); err != nil {
		return &usageError{err}
	}
	return nil
}

// jsonBeforeRun reports whether --json is in front of the subcommand. There it has no value, but cobra takes the next
// argument for that of the flag of run.
func jsonBeforeRun() bool {
	flags := newRoot(&app{}).PersistentFlags()
	flags.SetInterspersed(false) // end at the subcommand
	_ = flags.Parse(os.Args[1:]) // cobra has checked the flags
	return flags.Changed("json")
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
		f, err := os.Open(name) //nolint:gosec // the file that the user names
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
