package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestExitStatusesOfRun(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	tenant.AddApp("good", reloadstest.App{})
	tenant.AddApp("bad", reloadstest.App{Outcome: reloads.StatusFailed})
	tenant.AddApp("yearly", reloadstest.App{RunFor: time.Hour})
	url, env := serve(t, tenant)
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
		{[]string{"good", "--server", closedServer(t), "--retry", "0"}, statusUnreachable, "connection refused"},
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

// The rate limit lets 50 reloads start within the timeout. The others are not started, because it would be exceeded.
func TestATimeoutThatTheRateLimitExceeds(t *testing.T) {
	t.Parallel()
	var apps strings.Builder
	for i := range 60 {
		fmt.Fprintf(&apps, "app-%d\n", i)
	}
	r := run(t, nil, "run", "--fake", "-f", writeFile(t, "apps.txt", apps.String()), "--timeout", "50s")
	if r.status != statusTimedOut || !strings.Contains(r.stderr, "reload: timed out: 10 of 60 steps did not succeed") || !strings.Contains(r.stdout, "50 succeeded, 10 not started") {
		t.Errorf("%+v", r)
	}
}

func TestSignalsOfRun(t *testing.T) {
	t.Parallel()
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: statusInterrupted, syscall.SIGTERM: statusTerminated, syscall.SIGHUP: statusTerminated} {
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

// serveApps serves a tenant that fails for an operation. The reloads of bad fail, those of sales succeed, and those of its other
// apps are queued for an hour.
func serveApps(t *testing.T, fails reloadstest.Operation, opts ...reloadstest.Option) (env []string) {
	t.Helper()
	tenant := reloadstest.NewTenant(append(opts, reloadstest.WithToken(testKey, reloadstest.User))...)
	tenant.AddApp("bad", reloadstest.App{Outcome: reloads.StatusFailed})
	tenant.AddApp("sales", reloadstest.App{})
	for _, app := range []string{"yearly", "monthly", "pending", "cancel", "resumed"} {
		tenant.AddApp(app, reloadstest.App{QueueFor: time.Hour})
	}
	tenant.Trigger("pending", reloads.Reload{})
	if fails != "" {
		tenant.Inject(reloadstest.Fault{Operation: fails, Times: -1, Status: http.StatusNotImplemented})
	}
	_, env = serve(t, tenant)
	return env
}

func TestHintsOfRun(t *testing.T) {
	t.Parallel()
	env := serveApps(t, "")
	_, expired := serve(t, reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.Expired)))
	forgetful := serveApps(t, "", reloadstest.WithOmittedFields("resourceId"))
	stubborn, down, lost := serveApps(t, reloadstest.Cancel), serveApps(t, reloadstest.Trigger), serveApps(t, reloadstest.Get)
	for name, c := range map[string]struct {
		env    []string
		args   []string
		status int
		hint   string
	}{
		"failed":          {env, []string{"bad"}, statusFailed, `to see the full log, run: reload log \w+`},
		"failed, resumed": {env, []string{"bad", "--once", "k"}, statusFailed, `to see the full log, run: reload log \w+; to continue, run the command again with --once 'k'; what has succeeded is not reloaded again`},
		"failed, quoted":  {env, []string{"bad", "--once", "Bob's"}, statusFailed, `to see .*; to continue, run the command again with --once 'Bob'\\''s'; .*`},
		"key not kept":    {forgetful, []string{"sales", "--once", "k"}, statusRefused, ``},
		"pending":         {env, []string{"pending"}, statusRefused, `for apps with a pending reload, use --attach or --after-pending`},
		"unknown":         {env, []string{"bad", "nothing"}, statusRefused, `check the ID of the app; .*`},
		"key":             {expired, []string{"bad"}, statusRefused, `check the API key .*`},
		"service":         {down, []string{"bad"}, statusRefused, `the service or a gateway in front of it failed; try again later`},
		"one goes on":     {env, []string{"pending", "--attach", "--timeout", "2s"}, statusTimedOut, `1 reload goes on; to wait, run: reload wait \w+`},
		"two go on":       {env, []string{"yearly", "monthly", "--timeout", "2s"}, statusTimedOut, `2 reloads go on; to wait, run: reload wait \w+ \w+`},
		"not canceled":    {stubborn, []string{"yearly", "monthly", "--cancel-on-abort", "--timeout", "2s"}, statusTimedOut, `2 reloads could not be canceled: (\w+) (\w+); to wait, run: reload wait \w+ \w+`},
		"canceled":        {env, []string{"cancel", "--cancel-on-abort", "--timeout", "2s"}, statusTimedOut, ``},
		"attached":        {env, []string{"pending", "--attach", "--cancel-on-abort", "--timeout", "2s"}, statusTimedOut, `1 reload goes on, which this run did not trigger and so did not cancel: (\w+); to wait, run: reload wait \w+`},
		"not canceled, and attached": {stubborn, []string{"cancel", "pending", "--attach", "--cancel-on-abort", "--timeout", "2s"}, statusTimedOut,
			`1 reload could not be canceled: \w+; 1 reload goes on, which this run did not trigger and so did not cancel: \w+; to wait, run: reload wait \w+ \w+`},
		"lost": {lost, []string{"yearly", "pending", "--attach", "--cancel-on-abort"}, statusRefused, `the service .*; 2 reloads go on; to wait, run: reload wait \w+ \w+`},
		"goes on, resumed": {env, []string{"resumed", "--once", "k", "--timeout", "4s"}, statusTimedOut,
			`1 reload goes on; to continue, run the command again with --once 'k'; what has succeeded is not reloaded again`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, c.env, append([]string{"run", "--progress", "none"}, c.args...)...)
			_, hint, _ := strings.Cut(r.stderr, "\nhint: ")
			if r.status != c.status || !regexp.MustCompile(`^`+c.hint+`\n?$`).MatchString(hint) {
				t.Errorf("%+v, want a hint with %q", r, c.hint)
			}
			if strings.Contains(r.stdout, "ABORTED") {
				t.Errorf("the table does not say how the reload is: %s", r.stdout)
			}
		})
	}
}

// A signal cancels the reloads that the run has triggered, but not the one that it has resumed.
func TestAResumedRunThatIsAborted(t *testing.T) {
	t.Parallel()
	tenant := yearlyTenant()
	tenant.AddApp("monthly", reloadstest.App{QueueFor: time.Hour})
	_, env := serve(t, tenant)
	interrupt := func(started string, args ...string) result {
		p := start(t, env, append([]string{"run", "--once", "k", "--progress", "plain"}, args...)...)
		for line, err := "", error(nil); !strings.Contains(line, started); {
			if line, err = p.lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		p.signal(os.Interrupt)
		return p.wait()
	}
	interrupt("yearly", "yearly")
	r := interrupt("monthly", "yearly", "monthly", "--cancel-on-abort")
	rs := tenant.Reloads()
	if len(rs) != 2 || rs[0].Status != reloads.StatusQueued || rs[1].Status != reloads.StatusCanceled {
		t.Fatalf("%+v: %+v", rs, r)
	}
	hint := "hint: 1 reload goes on, which this run did not trigger and so did not cancel: " + rs[0].ID + "; to continue, "
	if r.status != statusInterrupted || !strings.Contains(r.stderr, hint) {
		t.Errorf("%+v, want %q", r, hint)
	}
}
