package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
)

// TestMain also runs the worker processes, which are started with the test binary.
func TestMain(m *testing.M) {
	if os.Getenv(envWorker) != "" {
		os.Exit(run(context.Background(), nil, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func clearEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{envRedis, envTenant, envKey} {
		t.Setenv(name, "")
	}
}

func TestAKilledWorkerLosesNoApp(t *testing.T) {
	clearEnv(t)
	var apps []string
	for i := range 60 {
		apps = append(apps, fmt.Sprintf("app-%02d", i))
	}
	var out, errs bytes.Buffer
	status := run(t.Context(), append([]string{"-kill"}, apps...), &out, &errs)
	if status != 0 || errs.Len() > 0 {
		t.Errorf("status %d, stderr %q", status, errs.String())
	}
	var done []string
	for line := range strings.Lines(out.String()) {
		if _, rest, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			if app, ok := strings.CutSuffix(rest, " SUCCEEDED"); ok {
				done = append(done, app)
			}
		}
	}
	slices.Sort(done)
	// The killed worker may have finished one app without printing it.
	if missing := len(apps) - len(slices.Compact(done)); missing > 1 {
		t.Errorf("the output does not contain %d of the apps", missing)
	}
	for _, want := range []string{"-- killing worker ", "60 apps done, 0 failed, 0 remaining\n", "and sent 0 responses with status 429\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not contain %q:\n%s", want, out.String())
		}
	}
}

func TestAFailedAppIsStatusOne(t *testing.T) {
	clearEnv(t)
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"-workers", "1", "good-app", "bad-app"}, &out, &errs); status != 1 || !strings.Contains(out.String(), "2 apps done, 1 failed, 0 remaining") {
		t.Errorf("status %d, stdout:\n%s\nstderr:\n%s", status, out.String(), errs.String())
	}
}

func TestBadUsageIsStatusTwo(t *testing.T) {
	clearEnv(t)
	for _, args := range [][]string{{"-nonsense"}, {"-workers", "0"}, {"-join", "tonight"}} {
		var out, errs bytes.Buffer
		if status := run(t.Context(), args, &out, &errs); status != 2 || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, out.String(), errs.String())
		}
	}
}

func TestNoRedisIsStatusThree(t *testing.T) {
	clearEnv(t)
	t.Setenv("PATH", t.TempDir())
	var out, errs bytes.Buffer
	if status := run(t.Context(), nil, &out, &errs); status != 3 || !strings.Contains(errs.String(), "install it") {
		t.Errorf("status %d, stderr %q, want 3 and how to install redis-server", status, errs.String())
	}
}

func TestQueue(t *testing.T) {
	server, err := redisserver.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	rdb := connect(server.Addr)
	defer rdb.Close()
	q := queue{rdb, "test", time.Hour}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	take := func(worker, wantApp, wantReload string, wantWait bool) {
		t.Helper()
		app, reload, wait, err := q.take(t.Context(), worker)
		if err != nil || app != wantApp || reload != wantReload || wait > 0 != wantWait {
			t.Fatalf("%s took %q with %q, wait %v, %v; want %q with %q", worker, app, reload, wait, err, wantApp, wantReload)
		}
	}
	must(q.add(t.Context(), []string{"a", "b"}))
	take("one", "a", "", false)
	take("two", "b", "", false)
	take("one", "", "", true)
	must(q.renew(t.Context(), "one", "a", "reload-1"))
	must(q.finish(t.Context(), "two", "b", "SUCCEEDED"))

	// Worker one dies. Its lease expires.
	must(rdb.ZAdd(t.Context(), q.keys()[0], redis.Z{Member: "a"}).Err())
	take("two", "a", "reload-1", false)
	if err := q.renew(t.Context(), "one", "a", ""); !errors.Is(err, errLeaseLost) {
		t.Errorf("renewing a lost lease: %v", err)
	}
	if err := q.finish(t.Context(), "one", "a", "FAILED"); !errors.Is(err, errLeaseLost) {
		t.Errorf("finishing with a lost lease: %v", err)
	}
	must(q.finish(t.Context(), "two", "a", "SUCCEEDED"))
	must(q.add(t.Context(), []string{"a", "b"})) // both are already done
	take("one", "", "", false)
	got, err := q.outcomes(t.Context())
	must(err)
	if diff := cmp.Diff(map[string]string{"a": "SUCCEEDED", "b": "SUCCEEDED"}, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}
