package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/reloadstest"
)

// hangingLogs is a tenant that does not respond to requests for logs. The app bad fails.
func hangingLogs(t *testing.T, requests chan<- struct{}) (env []string) {
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	tenant.AddApp("bad", reloadstest.App{Outcome: reloads.StatusFailed, Log: "the last line"})
	hang := hanging(t, requests)
	_, env = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/logs/") {
			hang.ServeHTTP(w, r)
			return
		}
		tenant.ServeHTTP(w, r)
	}))
	return env
}

// When the batch has ended, neither a timeout nor a signal changes the exit status.
func TestATimeoutWhileLogsAreRead(t *testing.T) {
	t.Parallel()
	r := run(t, hangingLogs(t, nil), "run", "bad", "--json", "-", "--timeout", "4s")
	if r.status != statusFailed || !strings.Contains(r.stdout, "the last line") || strings.Contains(r.stderr, "timed out") {
		t.Errorf("%+v", r)
	}
}

func TestASignalWhileLogsAreRead(t *testing.T) {
	t.Parallel()
	for name, s := range signals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requests := make(chan struct{}, 100)
			p := start(t, hangingLogs(t, requests), "run", "bad", "--json", "-")
			<-requests
			p.signal(s.signal)
			if r := p.wait(); r.status != statusFailed || !strings.Contains(r.stdout, "the last line") {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A signal ends the reading of logs at once. Without one, it ends after some seconds.
func TestTheTimeForLogs(t *testing.T) {
	t.Parallel()
	for _, signal := range []time.Duration{0, 3 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			tenant := reloadstest.NewTenant()
			tenant.Inject(reloadstest.Fault{Operation: reloadstest.Log, Times: -1, Delay: time.Hour})
			b := batch.New("", time.Now(), []batch.Step{{Name: "bad"}})
			r := &reloads.Reload{ID: "1", AppID: "bad", Status: reloads.StatusFailed, Log: "the last line"}
			b.Finish(reloads.Result{Reload: r, Err: r.Err()}, time.Now())
			ctx, cancel := context.WithTimeout(t.Context(), signal)
			defer cancel()
			began := time.Now()
			addLogs(ctx, tenant.NewClient(), b)
			if took := time.Since(began); took != min(signal, logTime) {
				t.Errorf("with a signal after %v, it took %v", signal, took)
			}
			if diff := cmp.Diff([]string{"the last line"}, b.Steps[0].Log); diff != "" {
				t.Error(diff)
			}
		})
	}
}
