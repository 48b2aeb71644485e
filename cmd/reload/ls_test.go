package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// history is a tenant with 230 reloads, the newest of which has the ID 1.
func history() *reloadstest.Tenant {
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.TenantAdmin))
	for i := 1; i <= 230; i++ {
		tenant.AddReload(reloads.Reload{
			ID: fmt.Sprint(i), AppID: "sales", Status: reloads.StatusSucceeded, CreationTime: time.Now().Add(-time.Duration(i) * time.Minute),
		})
	}
	return tenant
}

// The limit is the total. The cursor in the message goes on where the list ended, if the pages end at the limit.
func TestTheLimitOfAList(t *testing.T) {
	t.Parallel()
	for limit, c := range map[string]struct {
		rows, requests int
		more           string
	}{
		"":                 {10, 1, "Next page: add --next '"},
		"--limit=1":        {1, 1, "Next page: add --next '"},
		"--limit=100":      {100, 1, "Next page: add --next '"},
		"--limit=150":      {150, 2, "Next page: add --next '"},
		"--limit=200":      {200, 2, "Next page: add --next '"},
		"--limit=211":      {211, 3, "There are more reloads: use a larger --limit, or --all"},
		"--limit=230":      {230, 3, ""},
		"--limit=1000":     {230, 3, ""},
		"--all":            {230, 3, ""},
		"--limit=3 --json": {3, 1, ""},
	} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			tenant := history()
			_, env := serve(t, tenant)
			r := run(t, env, append([]string{"ls"}, strings.Fields(limit)...)...)
			rows := strings.Count(r.stdout, "sales")
			if r.status != statusOK || rows != c.rows || !strings.HasPrefix(r.stderr, c.more) || (r.stderr == "") != (c.more == "") {
				t.Errorf("%d rows, status %d, stderr %q; want %d rows, stderr %q", rows, r.status, r.stderr, c.rows, c.more)
			}
			if got := len(tenant.Requests()); got != c.requests {
				t.Errorf("%d requests, want %d", got, c.requests)
			}
			_, cursor, ok := strings.Cut(strings.TrimSuffix(r.stderr, "'\n"), "--next '")
			if !ok {
				return
			}
			r = run(t, env, "ls", "--next", cursor, "--limit", "2", "--quiet")
			if diff := cmp.Diff(fmt.Sprintf("%d\n%d\n", c.rows+1, c.rows+2), r.stdout); diff != "" {
				t.Errorf("the next page (-want +got):\n%s", diff)
			}
		})
	}
}

// The rows before an error are written.
func TestAListThatFails(t *testing.T) {
	t.Parallel()
	tenant := history()
	tenant.Inject(reloadstest.Fault{Skip: 1, Times: -1, Status: 403})
	_, env := serve(t, tenant)
	if r := run(t, env, "ls", "--all"); r.status != statusRefused || strings.Count(r.stdout, "sales") != 100 || !strings.Contains(r.stderr, "403") {
		t.Errorf("%+v", r)
	}
}
