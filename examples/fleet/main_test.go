package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/redislimit"
	"github.com/reloads-go/reloads/reloadstest"
)

// TestMain also runs the processes that the tests start with the test binary.
func TestMain(m *testing.M) {
	switch os.Getenv("FLEET_TEST_PROCESS") {
	case "worker":
		exit(testWorker())
	case "token":
		exit(printToken())
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil { // the tests spend most of their time waiting
		panic(err)
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet test process:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func task(t *testing.T, payload string) *asynq.Task {
	t.Helper()
	return asynq.NewTask(taskType, []byte(payload))
}

// The second run of a task is what asynq does after a worker was killed before it could report the end.
func TestATaskThatRunsAgainReloadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant(reloadstest.WithListLag(2 * time.Second))
		tenant.AddApp("sales", reloadstest.App{RunFor: time.Second})
		handle := handler(tenant.NewClient())
		for range 2 {
			if err := handle(t.Context(), task(t, `{"Night":"tonight","App":"sales"}`)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(tenant.Reloads()); n != 1 {
			t.Errorf("%d reloads after the task ran twice, want 1", n)
		}
		if err := handle(t.Context(), task(t, `{"Night":"tomorrow","App":"sales"}`)); err != nil {
			t.Fatal(err)
		}
		if n := len(tenant.Reloads()); n != 2 {
			t.Errorf("%d reloads after another night, want 2", n)
		}
	})
}

func TestWhatBecomesOfAnError(t *testing.T) {
	const dead, counted, again = "dead letter", "counted", "again"
	for name, test := range map[string]struct {
		app     reloadstest.App
		fault   reloadstest.Fault
		limiter error
		want    string
	}{
		"the reload failed":     {app: reloadstest.App{Outcome: reloads.StatusFailed}, want: counted},
		"the reload was killed": {app: reloadstest.App{Outcome: reloads.StatusExceededLimit}, want: dead},
		"no such app":           {fault: reloadstest.Fault{Operation: reloadstest.Trigger, Status: 404, Times: -1}, want: dead},
		"the tenant is down":    {fault: reloadstest.Fault{Status: 502, Times: -1}, want: again},
		"no connection":         {fault: reloadstest.Fault{LoseBefore: true, Times: -1}, want: again},
		"Redis is down":         {limiter: redislimit.ErrUnavailable, want: again},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := reloadstest.NewTenant()
				tenant.AddApp("sales", test.app)
				tenant.Inject(test.fault)
				client := tenant.NewClient(reloads.WithLimiters(reloads.Limiters{Trigger: brokenLimiter{test.limiter}}))
				err := handler(client)(t.Context(), task(t, `{"Night":"tonight","App":"sales"}`))
				got := again
				switch {
				case err == nil:
					t.Fatal("no error")
				case errors.Is(err, asynq.SkipRetry):
					got = dead
				case isFailure(err):
					got = counted
				}
				if got != test.want {
					t.Errorf("%s, want %s: %v", got, test.want, err)
				}
			})
		})
	}
	if err := handler(nil)(t.Context(), task(t, "?")); !errors.Is(err, asynq.SkipRetry) {
		t.Errorf("an invalid payload: %v", err)
	}
	if isFailure(asynq.ErrLeaseExpired) || retryDelay(2, asynq.ErrLeaseExpired, nil) != 0 {
		t.Error("the app of a killed worker waits or has one try less")
	}
}

type brokenLimiter struct{ err error }

func (l brokenLimiter) Wait(context.Context) error { return l.err }
func (l brokenLimiter) Pause(time.Time)            {}

func TestANightHasEachAppOnce(t *testing.T) {
	f := startFleet(t)
	for _, test := range []struct {
		night string
		apps  []string
		want  int
	}{{"monday", []string{"a", "b"}, 2}, {"monday", []string{"a", "b", "c"}, 1}, {"tuesday", []string{"a"}, 1}} {
		added, err := enqueue(t.Context(), f.queue, test.night, time.Now().Add(time.Hour), test.apps)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, added); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", test.night, test.apps, diff)
		}
	}
}
