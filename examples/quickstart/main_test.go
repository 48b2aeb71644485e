package main

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// If RUN_QUICKSTART is set, the test binary is the program. Some tests run it that way.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_QUICKSTART") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// quickstart runs the program with the given environment and returns its exit status and output.
func quickstart(t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "RUN_QUICKSTART=1", "QLIK_TENANT_URL=", "QLIK_API_KEY=")
	cmd.Env = append(cmd.Env, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestShowsAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant()
		tenant.AddApp("sales", reloadstest.App{QueueFor: time.Second, RunFor: 3 * time.Second, Log: "read \x1b[2J1000 rows\n"})
		var out bytes.Buffer
		err := show(t.Context(), tenant.NewClient(), "sales", printable{&out})
		want := `reload 5be59decca62aa0000000001 of app sales
   0.0s  QUEUED
   1.Ns  RELOADING
   4.Ns  SUCCEEDED

log:
read  [2J1000 rows

history:
2000-01-01 00:00:00  SUCCEEDED  queued 1s, ran 3s
`
		got := regexp.MustCompile(`([14])\.\ds`).ReplaceAllString(out.String(), "$1.Ns") // polls have jitter
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

func TestAnInterruptedReloadIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant()
		tenant.AddApp("yearly", reloadstest.App{RunFor: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var out bytes.Buffer
		if err := show(ctx, tenant.NewClient(), "yearly", &out); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("show returned %v after\n%s", err, &out)
		}
	})
}

func TestTheDefaultIsAFakeTenant(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes four seconds")
	}
	t.Parallel()
	env := []string{"QLIK_TENANT_URL=https://tenant.example.com", "QLIK_API_KEY=test-token"}
	status, stdout, stderr := quickstart(t, env)
	if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "This is a fake tenant in the process.") || !strings.Contains(stdout, "s  SUCCEEDED\n") {
		t.Errorf("status %d, stdout:\n%s\nstderr:\n%s", status, stdout, stderr)
	}
}

func TestAnAppIsReloadedInTheRealTenant(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	tenant.AddApp("stock", reloadstest.App{Outcome: reloads.StatusFailed, ErrorCode: "EngineConnectionError", ErrorMessage: "unexpected EOF"})
	server := httptest.NewServer(tenant)
	t.Cleanup(server.Close)
	env := []string{"QLIK_TENANT_URL=" + server.URL, "QLIK_API_KEY=" + tenant.Token()}
	for _, c := range []struct {
		app          string
		status       int
		prints, says string
	}{
		{"sales", 0, "s  SUCCEEDED\n", ""},
		{"stock", 1, "s  FAILED\n", "EngineConnectionError: unexpected EOF\n"},
		{"nothing", 1, "", "404 Not Found"},
	} {
		status, stdout, stderr := quickstart(t, env, "-app", c.app)
		if status != c.status || !strings.Contains(stdout, c.prints) || !strings.Contains(stderr, c.says) || strings.Contains(stdout, "fake") {
			t.Errorf("%s: status %d, stdout:\n%s\nstderr:\n%s", c.app, status, stdout, stderr)
		}
	}
}

// A misspelled or missing variable must not lead to the fake tenant.
func TestBadUsageIsStatusTwo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env, args []string
		says      string
	}{
		{nil, []string{"-nonsense"}, "-nonsense"},
		{nil, []string{"sales"}, "want -app"},
		{nil, []string{"-app", ""}, "want -app"}, // -app "$MISSPELLED"
		{nil, []string{"-app", "sales"}, "QLIK_TENANT_URL, QLIK_API_KEY: reloads: tenant URL"},
		{[]string{"QLIK_TENANT_URL=https://tenant.example.com"}, []string{"-app", "sales"}, "QLIK_TENANT_URL, QLIK_API_KEY: reloads: "},
		{[]string{"QLIK_API_KEY=test-token"}, []string{"-app", "sales"}, "QLIK_TENANT_URL, QLIK_API_KEY: reloads: tenant URL"},
	} {
		if status, stdout, stderr := quickstart(t, c.env, c.args...); status != 2 || stdout != "" || !strings.Contains(stderr, c.says) {
			t.Errorf("%q %q: status %d, stdout %q, stderr %q", c.env, c.args, status, stdout, stderr)
		}
	}
}
