package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reloads-go/reloads/reloadstest"
)

// triggers returns how many requests of a tenant were triggers.
func triggers(tenant *reloadstest.Tenant) (n int) {
	for _, r := range tenant.Requests() {
		if r.Operation == reloadstest.Trigger {
			n++
		}
	}
	return n
}

// A run that cannot succeed ends before the first trigger. Its reports tell so.
func TestATenantThatARunCannotUse(t *testing.T) {
	t.Parallel()
	var apps strings.Builder
	for i := range 60 {
		fmt.Fprintf(&apps, "app-%d\n", i)
	}
	list := writeFile(t, "apps.txt", apps.String())
	expired := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.Expired))
	_, env := serve(t, expired)
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, statusRefused, "HTTP-401"},
		{[]string{"--server", closedServer(t), "--retry", "1"}, statusUnreachable, "connection refused"},
	} {
		file := filepath.Join(t.TempDir(), "night.json")
		r := run(t, env, append([]string{"run", "-f", list, "--json", file}, c.args...)...)
		if r.status != c.status || !strings.Contains(r.stderr, "reload: not started: ") || !strings.Contains(r.stderr, c.says) || !strings.Contains(r.stderr, "\nhint: check the ") ||
			!strings.Contains(r.stdout, ": 60 not started.") {
			t.Errorf("status %d, stderr %q, want status %d and %q; stdout:\n%s", r.status, r.stderr, c.status, c.says, r.stdout)
		}
		if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), `"status": "not started"`) != 60 {
			t.Errorf("%v: %s", err, text)
		}
	}
	if n := triggers(expired); n > 0 {
		t.Errorf("%d reloads were triggered", n)
	}
}

func TestAnOAuth2ClientThatARunCannotUse(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant()
	_, env := serve(t, tenant)
	env = []string{env[0], "QLIK_CLIENT_ID=client", "QLIK_CLIENT_SECRET=" + secret + "that-is-wrong"}
	if r := run(t, env, "run", "sales"); r.status != statusRefused || !strings.HasPrefix(r.stderr, "reload: not started: ") {
		t.Errorf("%+v", r)
	}
}

// Who may trigger reloads need not be able to list them.
func TestARunThatMayNotList(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusNotImplemented} {
		tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
		tenant.AddApp("sales", reloadstest.App{})
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.List, Times: -1, Status: status})
		_, env := serve(t, tenant)
		if r := run(t, env, "run", "sales", "--retry", "0"); r.status != statusOK {
			t.Errorf("%d: %+v", status, r)
		}
	}
}

// The clock of the service is an hour behind. The live view shows how long a reload has been running by the clock of the
// machine.
func TestTheClockOfTheServiceInTheLiveView(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User), reloadstest.WithClockSkew(-time.Hour))
	tenant.AddApp("sales", reloadstest.App{RunFor: 2 * time.Second})
	_, env := serve(t, tenant)
	if screen := onTerminal(t, append(env, "NO_COLOR=1"), "run", "sales"); !strings.Contains(screen, "running  sales") || strings.Contains(screen, "1h00m  running") {
		t.Errorf("the screen is %q", screen)
	}
}
