package main

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/planfile"
	"github.com/reloads-go/reloads/reloadstest"
)

// writeFile writes a file in a new directory and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// night is a plan of 12 steps in 4 layers. The app of the step stock fails.
const night = `steps:
  - {name: extract, app: app-extract}
  - {name: rates, app: app-rates}
  - {name: sales, app: app-sales, after: [extract, rates]}
  - {name: stock, app: app-fail-stock, after: [extract]}
  - {name: people, app: app-people, after: [extract]}
  - {name: margin, app: app-margin, after: [sales]}
  - {name: orders, app: app-orders, after: [stock]}
  - {name: payroll, app: app-payroll, after: [people]}
  - {name: forecast, app: app-forecast, after: [sales]}
  - {name: board, app: app-board, after: [margin, forecast]}
  - {name: suppliers, app: app-suppliers, after: [orders]}
  - {name: history, app: app-history, after: [margin]}
`

// counter counts the triggers of each app that a tenant accepts.
type counter struct {
	http.Handler
	accepted atomic.Int64
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	recorder := &statusRecorder{ResponseWriter: w}
	c.Handler.ServeHTTP(recorder, r)
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/reloads") && recorder.status == http.StatusCreated {
		c.accepted.Add(1)
	}
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func TestRunAPlan(t *testing.T) {
	t.Parallel()
	plan := writeFile(t, "plan.yaml", night)
	dir := t.TempDir()
	html, junit, file := filepath.Join(dir, "night.html"), filepath.Join(dir, "night.xml"), filepath.Join(dir, "night.json")
	r := run(t, nil, "run", "--fake", "-f", plan, "--report", html, "--junit", junit, "--json", file)
	if r.status != statusFailed || !strings.Contains(r.stderr, "3 of 12 steps did not succeed") {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"extract ", "SUCCEEDED", "FAILED", "SKIPPED", "EngineConnectionError", "12 steps in ", "9 succeeded", "1 failed", "2 skipped", " → forecast → board. The slowest step on it is "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the output does not contain %q:\n%s", want, r.stdout)
		}
	}
	for path, want := range map[string]string{html: "Error: the data source did not respond", junit: `name="stock"`, file: `"skipped"`} {
		content, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(content), want) {
			t.Errorf("%s: %v, or no %q:\n%.2000s", path, err, want, content)
		}
	}
}

func TestResumeANight(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	plan, err := planfile.Parse("plan.yaml", []byte(night))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range plan.Steps {
		app := reloadstest.App{RunFor: 700 * time.Millisecond}
		if strings.Contains(s.Request.AppID, "fail") {
			app.Outcome = reloads.StatusFailed
		}
		tenant.AddApp(s.Request.AppID, app)
	}
	count := &counter{Handler: tenant}
	_, env := serve(t, count)
	path := writeFile(t, "plan.yaml", night)
	args := []string{"run", "-f", path, "--once", "a night", "--progress", "json"}

	killed := command(t, env, args...)
	events, err := killed.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	lines, succeeded := bufio.NewScanner(events), 0
	for succeeded < 4 && lines.Scan() {
		if strings.Contains(lines.Text(), `"status":"SUCCEEDED"`) && strings.Contains(lines.Text(), `"finished"`) {
			succeeded++
		}
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	if succeeded < 4 {
		t.Fatalf("the first process ended after %d steps: %s", succeeded, lines.Text())
	}

	tenant.AddApp("app-fail-stock", reloadstest.App{RunFor: 100 * time.Millisecond}) // repaired
	if r := run(t, env, args...); r.status != statusOK || !strings.Contains(r.stdout, "12 succeeded") {
		t.Errorf("%+v", r)
	}
	// 12 steps, and the run of stock that failed if the first process got that far.
	if n := count.accepted.Load(); n != 12 && n != 13 {
		t.Errorf("%d reloads were triggered", n)
	}
	before := count.accepted.Load()
	if r := run(t, env, args...); r.status != statusOK || count.accepted.Load() != before || strings.Count(r.stdout, "SUCCEEDED BEFORE") != 12 {
		t.Errorf("the third process triggered %d reloads: %+v", count.accepted.Load()-before, r)
	}
}

func TestRunRefusesAWrongPlan(t *testing.T) {
	t.Parallel()
	_, env := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }))
	wrong := writeFile(t, "wrong.yaml", "steps:\n  - app: a\n    after: [b]\n")
	twice := writeFile(t, "twice.yaml", "steps:\n  - ap: a\n  - ap: b\n")
	same := filepath.Join(t.TempDir(), "night")
	good := writeFile(t, "good.yaml", "attach: true\nsteps:\n  - app: a\n")
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "no apps"},
		{[]string{wrong}, "is a file, not an app ID; use -f " + wrong},
		{[]string{"a", "nightly.yml"}, "use -f nightly.yml"},
		{[]string{"a", ""}, "white space"},
		{[]string{"a b"}, "white space"},
		{[]string{"-f", wrong}, wrong + ":3:"},
		{[]string{"-f", "does/not/exist"}, "does/not/exist"},
		{[]string{"-f", good, "a"}, "cannot be combined"},
		{[]string{"-f", "-", "--api-key-file", "-"}, "standard input"},
		{[]string{"a", "--attach", "--after-pending"}, "attach"},
		{[]string{"a", "--max-active", "-1"}, "negative"},
		{[]string{"a", "--step-timeout", "-1s"}, "negative"},
		{[]string{"a", "--timeout", "-1s"}, "negative"},
		{[]string{"a", "--once", "{{night}}"}, "{{night}}"},
		{[]string{"a", "--progress", "loud"}, "loud"},
		{[]string{"a", "--report", "does/not/exist.html"}, "does/not/exist.html"},
		{[]string{"a", "--report", "-", "--json", "-"}, "--report and --json cannot both be standard output"},
		{[]string{"a", "--report", same, "--junit", same}, "--report and --junit cannot both be " + same},
		{[]string{"a", "--report", "testdata"}, "testdata"},
		{[]string{"-f", twice}, "\nreload: " + twice + ":3:5: "},
	} {
		if r := run(t, env, append([]string{"run"}, c.args...)...); r.status != statusUsage || r.stdout != "" || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%q: %+v, want status 2 and %q", c.args, r, c.says)
		}
	}
	// A flag overrides the key that contradicts it.
	if r := run(t, nil, "run", "--fake", "-f", good, "--after-pending", "--progress", "none"); r.status != statusOK {
		t.Errorf("%+v", r)
	}
	// A misspelled variable must not end in a fake tenant.
	if r := run(t, []string{"QLIK_TENANT=https://tenant.example.com", "QLIK_API_KEY=" + testKey}, "run", "a"); r.status != statusUsage {
		t.Errorf("%+v", r)
	}
}

func TestRunPrintsNoVariables(t *testing.T) {
	t.Parallel()
	plan := writeFile(t, "plan.yaml", "steps:\n  - app: sales\n    variables: {vKey: "+secret+"of-a-variable}\n  - app: fail\n    variables: {vKey: "+secret+"x}\n    after: [sales]\n")
	for _, args := range [][]string{{"--dry-run"}, {"--json", "-", "--progress", "json"}, {"--report", "-", "--progress", "plain"}, {"--junit", "-"}} {
		// run fails if the secret appears.
		if r := run(t, nil, append([]string{"run", "--fake", "-f", plan}, args...)...); r.stdout == "" {
			t.Errorf("%q: %+v", args, r)
		}
	}
}
