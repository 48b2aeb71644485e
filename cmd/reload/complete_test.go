package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// complete returns the completions of the last word of a command line.
func complete(t *testing.T, env []string, args ...string) []string {
	t.Helper()
	r := run(t, env, append([]string{"__complete"}, args...)...)
	if r.status != statusOK || strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "Completion ended with directive: ") {
		t.Errorf("%q: %+v", args, r)
	}
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	return lines[:len(lines)-1] // without the directive
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for shell, mark := range map[string]string{"bash": "complete -o default -F __start_reload reload", "zsh": "#compdef reload", "fish": "complete -c reload"} {
		r := run(t, nil, "completion", shell)
		if r.status != 0 || !strings.Contains(r.stdout, mark) || !strings.Contains(r.stdout, "__complete") {
			t.Errorf("%s: status %d, %d bytes without %q", shell, r.status, len(r.stdout), mark)
		}
	}
}

func TestCompletionOfCommandsAndFlags(t *testing.T) {
	t.Parallel()
	for command, want := range map[string][]string{
		"":       {"ls", "create", "get", "cancel", "wait", "watch", "log", "completion"},
		"create": {"--wait", "--attach", "--cancel-on-abort", "--variables", "--timeout"},
	} {
		args := []string{""}
		if command != "" {
			args = []string{command, "--appId", "x", "--"}
		}
		got := complete(t, nil, args...)
		if i := slices.IndexFunc(got, func(line string) bool { return strings.Contains(line, "`") }); i >= 0 {
			t.Errorf("a description has the quotes of the help text: %s", got[i])
		}
		for _, word := range want {
			if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, word+"\t") }) {
				t.Errorf("%q is not offered after %q:\n%q", word, command, got)
			}
		}
	}
}

// tenantToComplete is a tenant with three usual reloads, and two whose IDs do not belong in a command line.
func tenantToComplete() *reloadstest.Tenant {
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.TenantAdmin))
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, r := range []reloads.Reload{
		{ID: "1", AppID: "sales", Status: reloads.StatusSucceeded},
		{ID: "2", AppID: "stock", Status: reloads.StatusReloading},
		{ID: "3", AppID: "sales", Status: reloads.StatusFailed},
		{ID: "$(touch x)", AppID: "`touch x`", Status: reloads.StatusQueued},
		{ID: "5\x1b[31m", AppID: "a\nb", Status: reloads.StatusQueued},
	} {
		r.CreationTime = created.Add(time.Duration(i) * time.Hour)
		tenant.AddReload(r)
	}
	return tenant
}

func TestCompletionFromTheTenant(t *testing.T) {
	t.Parallel()
	_, env := serve(t, tenantToComplete())
	one := "1\tSUCCEEDED, app sales, created 2026-01-02T03:04:05.000Z"
	two := "2\tRELOADING, app stock, created 2026-01-02T04:04:05.000Z"
	three := "3\tFAILED, app sales, created 2026-01-02T05:04:05.000Z"
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"apps of create": {[]string{"create", "--appId", ""}, []string{"sales", "stock"}},
		"apps of ls":     {[]string{"ls", "--appId", ""}, []string{"sales", "stock"}},
		"get":            {[]string{"get", ""}, []string{three, two, one}},
		"get two":        {[]string{"get", "1", ""}, []string{}},
		"log":            {[]string{"log", ""}, []string{three, two, one}},
		"watch":          {[]string{"watch", ""}, []string{three, two, one}},
		"wait":           {[]string{"wait", ""}, []string{three, two, one}},
		"wait for more":  {[]string{"wait", "3", "1", ""}, []string{two}},
		"cancel":         {[]string{"cancel", ""}, []string{two}},
		"statuses": {[]string{"ls", "--filter", ""}, []string{
			`status eq "QUEUED"`, `status eq "RELOADING"`, `status eq "CANCELING"`, `status eq "SUCCEEDED"`, `status eq "FAILED"`,
			`status eq "CANCELED"`, `status eq "EXCEEDED_LIMIT"`,
		}},
		"sort keys": {[]string{"ls", "--sort", ""}, []string{
			"-creationTime", "+creationTime", "-status", "+status", "-startTime", "+startTime", "-endTime", "+endTime",
		}},
		"apps of run":      {[]string{"run", "sales", ""}, []string{"stock"}},
		"apps after flags": {[]string{"run", "--max-active", "1", ""}, []string{"sales", "stock"}},
		"progress":         {[]string{"run", "--progress", ""}, []string{"auto", "live", "plain", "json", "none"}},
		"no files":         {[]string{"ls", "--limit", ""}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, complete(t, env, append([]string{"--utc"}, c.args...)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompletionOfFiles(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"--file": ":0", "--report": ":0", "--junit": ":0", "--json": ":0", "--api-key-file": ":0", "--max-active": ":4", "--once": ":4"} {
		if r := run(t, nil, "__complete", "run", flag, ""); strings.TrimSpace(r.stdout) != want {
			t.Errorf("%s: %+v, want the directive %s", flag, r, want)
		}
	}
}

// A completion that fails is silent, and nothing is retried.
func TestCompletionWithoutResponse(t *testing.T) {
	t.Parallel()
	broken := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.TenantAdmin))
	broken.Inject(reloadstest.Fault{Times: -1, Status: http.StatusServiceUnavailable})
	_, failing := serve(t, broken)
	_, user := serve(t, reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User)))
	_, hangs := serve(t, hanging(t, nil))
	for name, env := range map[string][]string{
		"no tenant": nil, "refused": {"QLIK_TENANT_URL=" + closedServer(t), "QLIK_API_KEY=" + testKey}, "failing": failing, "not allowed": user, "hanging": hangs,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := complete(t, env, "create", "--verbose", "--appId", ""); len(got) > 0 {
				t.Errorf("%q", got)
			}
		})
	}
	t.Cleanup(func() {
		if n := len(broken.Requests()); n != 1 {
			t.Errorf("the failing tenant received %d requests, want 1", n)
		}
	})
}

// Standard input belongs to the shell, so that a completion must not read the key from it.
func TestCompletionDoesNotReadStandardInput(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.TenantAdmin))
	tenant.AddReload(reloads.Reload{AppID: "sales", Status: reloads.StatusSucceeded})
	_, env := serve(t, tenant)
	cmd := command(t, env[:1], "__complete", "get", "--api-key-file", "-", "")
	cmd.Stdin = strings.NewReader(testKey)
	if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), ":") || len(tenant.Requests()) > 0 {
		t.Errorf("%q, %v, %d requests", out, err, len(tenant.Requests()))
	}
}

func TestCompletionOfContexts(t *testing.T) {
	t.Parallel()
	env := []string{home(t, "contexts:\n  b:\n    headers:\n      Authorization: Bearer "+testKey+"\n  a: {}\n")}
	if diff := cmp.Diff([]string{"a", "b"}, complete(t, env, "ls", "--context", "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := complete(t, nil, "ls", "--context", ""); len(got) > 0 {
		t.Errorf("without the file: %q", got)
	}
}
