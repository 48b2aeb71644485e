package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/reloadstest"
)

func TestNotices(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	logger := slog.New(&notices{w: &out, shown: map[string]bool{}})
	poll, refused := "reloads: poll failed, continuing", "GET /api/v1/reloads/%d: dial tcp: connection refused"
	for i := range 3 {
		logger.Warn(poll, "reload", i, "error", fmt.Sprintf("reloads: GET /api/v1/reloads/%d: 503 Service Unavailable, trace %d", i, i))
		logger.Warn(poll, "error", fmt.Sprintf(refused, i))
		logger.Warn("reloads: retry", "error", fmt.Sprintf(refused, i))
		logger.Debug(poll, "error", "debug")
		logger.Warn("reloads: the tier pauses")
	}
	logger.Warn(poll, "error", "GET /x: 500 \x1b[31m"+strings.Repeat("x", 1000))
	for i := range 2 * maxNotices {
		logger.Warn(poll, "error", fmt.Sprintf("kind %d", i))
	}
	lines := strings.Split(out.String(), "\n")
	want := []string{
		"reload: poll failed, continuing: GET /api/v1/reloads/0: 503 Service Unavailable, trace 0",
		"reload: poll failed, continuing: GET /api/v1/reloads/0: dial tcp: connection refused",
		"reload: retry: GET /api/v1/reloads/0: dial tcp: connection refused",
		"reload: poll failed, continuing: GET /x: 500 \uFFFD[31m" + strings.Repeat("x", 458) + "…",
		"reload: poll failed, continuing: kind 0",
	}
	if diff := cmp.Diff(want, lines[:len(want)]); diff != "" || len(lines) != maxNotices+1 {
		t.Errorf("%d lines (-want +got):\n%s", len(lines), diff)
	}
}

// flaky is a tenant of which the first poll of each reload fails.
func flaky(t *testing.T) (env []string) {
	t.Helper()
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	tenant.AddApp("sales", reloadstest.App{RunFor: 1500 * time.Millisecond})
	var polls atomic.Int64
	_, env = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/reloads") && polls.Add(1) == 1 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		tenant.ServeHTTP(w, r)
	}))
	return env
}

// A command that waits tells why it does not get on.
func TestAPollThatFails(t *testing.T) {
	t.Parallel()
	const notice = "reload: poll failed, continuing: GET /api/v1/reloads/"
	for name, c := range map[string]struct {
		args []string
		want int // notices
	}{
		"create":    {[]string{"create", "--appId", "sales", "--wait"}, 1},
		"quiet":     {[]string{"create", "--appId", "sales", "--wait", "-q"}, 0},
		"run":       {[]string{"run", "sales"}, 1},
		"run plain": {[]string{"run", "sales", "--progress", "plain"}, 1},
		"run json":  {[]string{"run", "sales", "--progress", "json"}, 0},
		"run none":  {[]string{"run", "sales", "--progress", "none"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, flaky(t), append(c.args, "--retry", "0")...)
			if r.status != statusOK || strings.Count(r.stderr, notice) != c.want || strings.Count(r.stderr, "reload: ") != c.want {
				t.Errorf("%+v, want %d notices", r, c.want)
			}
		})
	}
	for _, args := range [][]string{{"create", "--appId", "sales", "--wait"}, {"run", "sales"}} {
		t.Run(args[0]+" on a terminal", func(t *testing.T) {
			t.Parallel()
			screen := onTerminal(t, flaky(t), append(args, "--retry", "0")...)
			if !strings.Contains(screen, "\x1b[K"+notice) || strings.Count(screen, notice) != 1 {
				t.Errorf("%q", screen)
			}
		})
	}
}

func TestAWaitForATenantThatFails(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"wait", "watch"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			_, env := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
			p := start(t, env, command, "ID")
			line, err := p.lines.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "reload: ") || !strings.Contains(line, ": GET /api/v1/reloads/ID: 502 Bad Gateway") {
				t.Errorf("%q, %v", line, err)
			}
			p.signal(signals["SIGTERM"].signal)
			if r := p.wait(); r.status != statusTerminated {
				t.Errorf("%+v", r)
			}
		})
	}
}
