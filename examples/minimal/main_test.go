package main

import (
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// If RUN_MINIMAL is set, the test binary is the program. TestMinimal runs it that way.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_MINIMAL") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestInvalidUse(t *testing.T) {
	for _, c := range []struct {
		args   []string
		prints string
	}{
		{nil, "usage: minimal APP_ID\n"},
		{[]string{"sales"}, "QLIK_TENANT_URL, QLIK_API_KEY: reloads: tenant URL"},
	} {
		cmd := exec.Command(os.Args[0], c.args...)
		cmd.Env = append(os.Environ(), "RUN_MINIMAL=1", "QLIK_TENANT_URL=", "QLIK_API_KEY=")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.prints) {
			t.Errorf("%q: %v, %q, want %q", c.args, err, out, c.prints)
		}
	}
}

func TestMinimal(t *testing.T) {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	tenant.AddApp("failing", reloadstest.App{Outcome: reloads.StatusFailed, ErrorCode: "EngineConnectionError", ErrorMessage: "unexpected EOF"})
	server := httptest.NewServer(tenant)
	t.Cleanup(server.Close)
	for app, want := range map[string]struct {
		status int
		prints string
	}{
		"sales":   {0, `^SUCCEEDED after \d+m?s\n$`},
		"failing": {1, `reload \w+ of app failing .*FAILED: EngineConnectionError: unexpected EOF\n$`},
		"unknown": {1, `reloads: POST /api/v1/reloads: 404 Not Found: RELOADS-004: Resource not found\..*\n$`},
	} {
		cmd := exec.Command(os.Args[0], app)
		cmd.Env = append(os.Environ(), "RUN_MINIMAL=1", "QLIK_TENANT_URL="+server.URL, "QLIK_API_KEY="+tenant.Token())
		out, err := cmd.CombinedOutput()
		status := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if status != want.status || !regexp.MustCompile(want.prints).Match(out) {
			t.Errorf("%s: status %d, want %d, and %q, want %s", app, status, want.status, out, want.prints)
		}
	}
}
