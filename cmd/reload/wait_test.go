package main

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// queuedTenant is a tenant with queued reloads of the given IDs. The test decides when they end.
func queuedTenant(ids ...string) *reloadstest.Tenant {
	tenant := yearlyTenant()
	for _, id := range ids {
		tenant.AddReload(reloads.Reload{ID: id, AppID: "sales", Status: reloads.StatusQueued})
	}
	return tenant
}

func TestTheProgressOfAWait(t *testing.T) {
	t.Parallel()
	tenant := queuedTenant("1")
	_, env := serve(t, tenant)
	p := start(t, env, "wait", "1")
	p.expect("QUEUED  1")
	setStatus(tenant, "1", reloads.StatusReloading)
	p.expect("RELOADING  1")
	setStatus(tenant, "1", reloads.StatusSucceeded)
	p.expect("SUCCEEDED  1")
	if r := p.wait(); r.status != statusOK || !strings.Contains(r.stdout, "SUCCEEDED") {
		t.Errorf("%+v", r)
	}
}

// The reloads are written in the order in which they finish. The status is the highest one.
func TestAWaitForSeveral(t *testing.T) {
	t.Parallel()
	tenant := queuedTenant("1", "2")
	_, env := serve(t, tenant)
	p := start(t, env, "wait", "1", "2", "--quiet")
	setStatus(tenant, "2", reloads.StatusFailed)
	p.expect("reload 2 of app sales ended as FAILED")
	setStatus(tenant, "1", reloads.StatusSucceeded)
	r := p.wait()
	want := result{"2\n1\n", "reload: reload 2 of app sales ended as FAILED\nhint: to see the full log, run: reload log 2\n", statusFailed}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r = run(t, env, "wait", "2", "1", "2", "3")
	if r.status != statusRefused || strings.Count(r.stdout, "sales") != 2 || strings.Index(r.stdout, "\n2 ") > strings.Index(r.stdout, "\n1 ") {
		t.Errorf("an ID twice, and an unknown one: %+v", r)
	}
}

// A reload is shown, although the service spells its ID differently.
func TestAWaitForAnIDInUpperCase(t *testing.T) {
	t.Parallel()
	_, env := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"id":"abc","appId":"sales","status":"SUCCEEDED"}`)
	}))
	if r := run(t, env, "wait", "ABC"); r.status != statusOK || !strings.Contains(r.stdout, "abc") {
		t.Errorf("%+v", r)
	}
}

// On a terminal, a status line counts the reloads that have finished.
func TestAWaitOnATerminal(t *testing.T) {
	t.Parallel()
	tenant := queuedTenant("1", "2")
	_, env := serve(t, tenant)
	cmd := command(t, append(env, "NO_COLOR=1"), "wait", "1", "2", "--utc")
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var screen strings.Builder
	until := func(text string) {
		t.Helper()
		buffer := make([]byte, 1024)
		for !strings.Contains(screen.String(), text) {
			n, err := terminal.Read(buffer)
			screen.Write(buffer[:n])
			if err != nil {
				t.Fatalf("%v: %q", err, screen.String())
			}
		}
	}
	until("0 of 2 finished …")
	setStatus(tenant, "1", reloads.StatusSucceeded)
	until("1 of 2 finished …")
	setStatus(tenant, "2", reloads.StatusSucceeded)
	rest, _ := io.ReadAll(terminal) // on Linux, the end is an EIO error
	screen.Write(rest)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %q", err, screen.String())
	}
	if below := regexp.MustCompile(`SUCCEEDED  1\r\n +\d+\.\ds  \d of 2 finished …`); !below.MatchString(screen.String()) {
		t.Errorf("the status line is not below the line of the reload: %q", screen.String())
	}
	for _, line := range []string{"N.Ns SUCCEEDED 1", "N.Ns SUCCEEDED 2"} {
		if got := remaining(screen.String()); !slices.Contains(got, line) {
			t.Errorf("no line %q in %q", line, got)
		}
	}
}
