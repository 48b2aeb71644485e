package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
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

const maintenance = "<html><body>Down for maintenance</body></html>"

func TestWhatBecomesOfAnError(t *testing.T) {
	const dead, counted, again = "dead letter", "counted", "again"
	for name, test := range map[string]struct {
		app     reloadstest.App
		options []reloadstest.Option
		fault   reloadstest.Fault
		limiter error
		want    string
	}{
		"the reload failed":     {app: reloadstest.App{Outcome: reloads.StatusFailed}, want: counted},
		"the reload was killed": {app: reloadstest.App{Outcome: reloads.StatusExceededLimit}, want: dead},
		"no such app":           {fault: reloadstest.Fault{Operation: reloadstest.Trigger, Status: 404, Times: -1}, want: dead},
		"a bad request":         {fault: reloadstest.Fault{Operation: reloadstest.Trigger, Status: 400, Times: -1}, want: dead},
		"forbidden":             {fault: reloadstest.Fault{Operation: reloadstest.Trigger, Status: 403, Times: -1}, want: dead},
		"the token is refused":  {fault: reloadstest.Fault{Status: 401, Times: -1}, want: again},
		"the tenant is down":    {fault: reloadstest.Fault{Status: 502, Times: -1}, want: again},
		"no connection":         {fault: reloadstest.Fault{LoseBefore: true, Times: -1}, want: again},
		"cut off":               {fault: reloadstest.Fault{CutBody: 5, Times: -1}, want: again},
		"a timeout":             {fault: reloadstest.Fault{Status: 408, Times: -1}, want: again},
		"a redirect":            {fault: reloadstest.Fault{Status: 302, Header: http.Header{"Location": {"/maintenance"}}, Times: -1}, want: again},
		"200 of a gateway":      {fault: reloadstest.Fault{Status: 200, Body: maintenance, Times: -1}, want: again},
		"400 of a gateway":      {fault: reloadstest.Fault{Status: 400, Body: maintenance, Times: -1}, want: again},
		"403 of a gateway":      {fault: reloadstest.Fault{Status: 403, Body: maintenance, Times: -1}, want: again},
		"404 of a gateway":      {fault: reloadstest.Fault{Status: 404, Body: maintenance, Times: -1}, want: again},
		// Once does not work, so the app is reloaded in each try.
		"the tenant does not keep the ID": {options: []reloadstest.Option{reloadstest.WithOmittedFields("resourceId")}, want: counted},
		"Redis is down":                   {limiter: redislimit.ErrUnavailable, want: again},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := reloadstest.NewTenant(test.options...)
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

// A response to a token request is not an error of the app, whatever it is.
func TestAnAppWaitsUntilTheWorkerCanSignIn(t *testing.T) {
	for _, fault := range []reloadstest.Fault{{Status: 200, Body: maintenance}, {Status: 302}, {Status: 400}, {Status: 403}, {Status: 404, Body: maintenance}} {
		synctest.Test(t, func(t *testing.T) {
			tenant := reloadstest.NewTenant()
			fault.Operation, fault.Times = reloadstest.SignIn, -1
			tenant.Inject(fault)
			tokens, err := oauth.NewTokenSource(oauth.Config{
				TenantURL: "https://tenant.example.com", ClientID: "client", ClientSecret: "test-secret", HTTPClient: &http.Client{Transport: tenant},
			})
			if err != nil {
				t.Fatal(err)
			}
			client, err := reloads.NewClient("https://tenant.example.com", tokens, reloads.WithHTTPClient(&http.Client{Transport: tenant}))
			if err != nil {
				t.Fatal(err)
			}
			err = handler(client)(t.Context(), task(t, `{"Night":"tonight","App":"sales"}`))
			if err == nil || errors.Is(err, asynq.SkipRetry) || isFailure(err) {
				t.Errorf("%+v: %v", fault, err)
			}
		})
	}
}

func TestALostLeaseIsNotLoggedAsAnError(t *testing.T) {
	var text bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
	logError(t.Context(), task(t, "sales"), asynq.ErrLeaseExpired)
	if s := text.String(); strings.Contains(s, "ERROR") || !strings.Contains(s, "sales") {
		t.Error(s)
	}
	logError(t.Context(), task(t, "sales"), reloads.ErrReloadFailed)
	if s := text.String(); !strings.Contains(s, "ERROR") {
		t.Error(s)
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
