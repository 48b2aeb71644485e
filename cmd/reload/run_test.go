package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
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
	if r := run(t, env, args...); r.status != statusOK || count.accepted.Load() != before {
		t.Errorf("the third process triggered %d reloads: %+v", count.accepted.Load()-before, r)
	}
}

func TestRunRefusesAWrongPlan(t *testing.T) {
	t.Parallel()
	_, env := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }))
	wrong := writeFile(t, "wrong.yaml", "steps:\n  - app: a\n    after: [b]\n")
	good := writeFile(t, "good.yaml", "attach: true\nsteps:\n  - app: a\n")
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "no apps"},
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
		{[]string{"a", "--report", "-", "--json", "-"}, "standard output"},
	} {
		if r := run(t, env, append([]string{"run"}, c.args...)...); r.status != statusUsage || r.stdout != "" || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%q: %+v, want status 2 and %q", c.args, r, c.says)
		}
	}
	// A flag overrides the key that contradicts it.
	if r := run(t, nil, "run", "--fake", "-f", good, "--after-pending", "--progress", "none"); r.status != statusOK {
		t.Errorf("%+v", r)
	}
	// A misspelt variable must not end in a fake tenant.
	if r := run(t, []string{"QLIK_TENANT=https://tenant.example.com", "QLIK_API_KEY=" + testKey}, "run", "a"); r.status != statusUsage {
		t.Errorf("%+v", r)
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	plan := writeFile(t, "plan.yaml", night)
	golden(t, "run-dry-run", run(t, nil, "run", "-f", plan, "--dry-run"), "run", "-f", "plan.yaml", "--dry-run")
	var many strings.Builder
	for i := range 151 {
		fmt.Fprintf(&many, "app-%d\n", i)
	}
	if r := run(t, nil, "run", "-f", writeFile(t, "apps.txt", many.String()), "--dry-run"); !strings.Contains(r.stdout, "alone takes 3m") {
		t.Errorf("%s", r.stdout)
	}
}

func TestExitStatusesOfRun(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	tenant.AddApp("good", reloadstest.App{})
	tenant.AddApp("bad", reloadstest.App{Outcome: reloads.StatusFailed})
	tenant.AddApp("yearly", reloadstest.App{RunFor: time.Hour})
	url, env := serve(t, tenant)
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"good"}, statusOK, "SUCCEEDED"},
		{[]string{"good", "bad"}, statusFailed, "FAILED"},
		{[]string{"good", "unknown"}, statusRefused, "RELOADS-004"},
		{[]string{"unknown", "bad"}, statusRefused, "REFUSED"},
		{[]string{"yearly", "--step-timeout", "300ms"}, statusFailed, "CANCEL"},
		{[]string{"good", "--server", closed.URL, "--retry", "0"}, statusUnreachable, "connection refused"},
	} {
		args := append([]string{"run", "--server", url}, c.args...)
		if r := run(t, env, args...); r.status != c.status || !strings.Contains(r.stdout, c.says) {
			t.Errorf("%q: %+v, want status %d and %q", c.args, r, c.status, c.says)
		}
	}
	if r := run(t, env, "run", "yearly", "good", "--timeout", "1s", "--cancel-on-abort", "--after-pending"); r.status != statusTimedOut || !strings.Contains(r.stderr, "timed out") {
		t.Errorf("%+v", r)
	}
}

func TestSignalsOfRun(t *testing.T) {
	t.Parallel()
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: statusInterrupted, syscall.SIGTERM: statusTerminated} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
			tenant.AddApp("one", reloadstest.App{RunFor: time.Hour})
			tenant.AddApp("two", reloadstest.App{RunFor: time.Hour})
			_, env := serve(t, tenant)
			file := filepath.Join(t.TempDir(), "night.json")
			cmd := command(t, env, "run", "one", "two", "--cancel-on-abort", "--progress", "json", "--json", file)
			var stdout, stderr bytes.Buffer
			cmd.Stdout = &stdout
			events, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for lines, active := bufio.NewScanner(events), map[string]bool{}; len(active) < 2 && lines.Scan(); {
				for _, app := range []string{"one", "two"} {
					if strings.Contains(lines.Text(), `"app":"`+app+`"`) {
						active[app] = true
					}
				}
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_, _ = bufio.NewReader(events).WriteTo(&stderr)
			r := newResult(t, cmd.Wait(), &stdout, &stderr)
			if r.status != want || !strings.Contains(r.stdout, "the reload was canceled") {
				t.Errorf("status %d, want %d: %+v", r.status, want, r)
			}
			if content, err := os.ReadFile(file); err != nil || !json.Valid(content) {
				t.Errorf("the report: %v: %s", err, content)
			}
		})
	}
}

func TestOutputsOfRunThatFail(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--report", "/dev/full"}, {"--junit", "/dev/full"}, {"--json", "/dev/full"}, {"--report", "-"}, {"--json", "-"}, {"--junit", "-"}, {"-q"}, {}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := command(t, nil, append([]string{"run", "--fake", "sales"}, args...)...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		r := newResult(t, cmd.Run(), &bytes.Buffer{}, &stderr)
		full.Close()
		if r.status == statusOK || !strings.Contains(r.stderr, "no space left") {
			t.Errorf("%q: %+v", args, r)
		}
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

func TestFinder(t *testing.T) {
	t.Parallel()
	plan, err := planfile.Parse("plan.yaml", []byte(`steps:
  - {name: last, app: a, after: [other]}
  - {name: first, app: a}
  - {name: other, app: b}
  - {name: partial, app: a, partial: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	b := batch.New("", time.Now(), steps(plan))
	f := newFinder(plan, b)
	name := func(req reloads.Request) string {
		if i := f.step(req); i >= 0 {
			return b.Steps[i].Name
		}
		return ""
	}
	finish := func(name string) {
		i := slices.IndexFunc(b.Steps, func(s batch.Step) bool { return s.Name == name })
		b.Finish(reloads.Result{Step: reloads.Step(i)}, time.Now())
	}
	got := []string{name(reloads.Request{AppID: "a", ResourceID: "of Once"}), name(reloads.Request{AppID: "a", Partial: true}), name(reloads.Request{AppID: "c"})}
	finish("first")
	got = append(got, name(reloads.Request{AppID: "a"}))
	finish("other")
	got = append(got, name(reloads.Request{AppID: "a"}))
	if diff := cmp.Diff([]string{"first", "partial", "", "", "last"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ahead, want time.Duration }{{0, 0}, {900 * time.Millisecond, 0}, {-time.Second, 0}, {time.Hour, time.Hour}, {-3 * time.Minute, -3 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			var k clock
			transport := k.observe(roundTripper(func(r *http.Request) (*http.Response, error) {
				time.Sleep(70 * time.Millisecond)
				return &http.Response{Header: http.Header{"Date": {time.Now().Add(-c.ahead).UTC().Format(http.TimeFormat)}}, Body: http.NoBody}, nil
			}))
			for range 20 {
				if _, err := transport.RoundTrip(nil); err != nil {
					t.Fatal(err)
				}
			}
			if got := k.offset(); (got - c.want).Abs() > 200*time.Millisecond {
				t.Errorf("ahead by %v: %v, want %v", c.ahead, got, c.want)
			}
		})
	}
}
