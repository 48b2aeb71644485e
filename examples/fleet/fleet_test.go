package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/redislimit"
	"github.com/reloads-go/reloads/reloadstest"
)

var kills = flag.Int("kills", 10, "how many workers TestRandomKills kills, with three times as many apps")

// The fake tenant allows 50 triggers in 8 s instead of a minute. The network latency is not shorter, too. Therefore the
// limiters use a longer period.
const (
	tenantPeriod   = 8 * time.Second
	limitersPeriod = 10 * time.Second
)

// recovery is how long asynq may take to give an app of a killed worker to another one: 30 s until the lease ends, 30 s for
// clocks that differ, up to a minute until the next check, and a few seconds until the task is taken.
const recovery = 2*time.Minute + 20*time.Second

// testWorker is the program of a worker process in these tests.
func testWorker() error {
	rdb, err := connectRedis(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	defer rdb.Close()
	triggers, err := redislimit.New(rdb, "reloads:{test}:trigger", reloads.SpecialPerMinute, limitersPeriod)
	if err != nil {
		return err
	}
	client, err := reloads.NewClient(os.Getenv("QLIK_TENANT_URL"), reloads.APIKey(reloadstest.DefaultToken),
		reloads.WithLimiters(reloads.Limiters{Trigger: triggers}))
	if err != nil {
		return err
	}
	return work(rdb, client, 10)
}

// fleet is a Redis server and a fake tenant, which counts.
type fleet struct {
	tenant    *reloadstest.Tenant
	web       *httptest.Server
	dir, addr string
	redis     *redisServer
	rdb       *redis.Client
	queue     *asynq.Client
	apps      []string
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{
		tenant: reloadstest.NewTenant(reloadstest.WithListLag(1500*time.Millisecond), reloadstest.WithMetering(reloadstest.SlidingWindow, tenantPeriod)),
		dir:    t.TempDir(), addr: addr,
	}
	f.web = httptest.NewServer(f.tenant)
	t.Cleanup(f.web.Close)
	f.startRedis(t)
	t.Cleanup(func() { f.redis.stop() })
	f.rdb, err = connectRedis("redis://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.rdb.Close() })
	f.queue = asynq.NewClientFromRedisClient(f.rdb)
	return f
}

func (f *fleet) startRedis(t *testing.T) {
	t.Helper()
	var err error
	if f.redis, err = startRedis(context.WithoutCancel(t.Context()), f.dir, f.addr); err != nil {
		t.Fatal(err)
	}
}

// addApps adds the apps of the night. A reload takes up to 5 s. Its trigger responds late, so that kills hit between the
// effect and the response.
func (f *fleet) addApps(t *testing.T, n int) {
	t.Helper()
	f.tenant.Inject(reloadstest.Fault{Operation: reloadstest.Trigger, DelayAnswer: 200 * time.Millisecond, Times: -1})
	for i := range n {
		f.apps = append(f.apps, fmt.Sprintf("app-%03d", i))
		f.tenant.AddApp(f.apps[i], reloadstest.App{QueueFor: 200 * time.Millisecond, RunFor: time.Duration(i%10) * 500 * time.Millisecond})
	}
	if added, err := enqueue(t.Context(), f.queue, "tonight", time.Now().Add(time.Hour), f.apps); err != nil || added != n {
		t.Fatalf("added %d of %d apps: %v", added, n, err)
	}
}

func (f *fleet) env() []string {
	return []string{"FLEET_TEST_PROCESS=worker", "REDIS_URL=redis://" + f.addr, "QLIK_TENANT_URL=" + f.web.URL}
}

func (f *fleet) startWorkers(t *testing.T) *workers {
	t.Helper()
	w := startWorkers(t.Context(), 4, f.env()...)
	t.Cleanup(w.stop)
	return w
}

// waitFor waits until the condition holds.
func waitFor(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// finish waits until no task is left. All tasks must have succeeded, with one reload of the tenant each.
func (f *fleet) finish(t *testing.T, limit time.Duration) {
	t.Helper()
	inspector := asynq.NewInspectorFromRedisClient(f.rdb)
	type counts struct{ Completed, Archived, Active, Pending, Scheduled, Retry int }
	var got counts
	waitFor(t, limit, "the end of all tasks", func() bool {
		info, err := inspector.GetQueueInfo("default")
		if err != nil {
			return false
		}
		got = counts{info.Completed, info.Archived, info.Active, info.Pending, info.Scheduled, info.Retry}
		return got.Completed+got.Archived >= len(f.apps)
	})
	if diff := cmp.Diff(counts{Completed: len(f.apps)}, got); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
	want, made := map[string]int{}, map[string]int{}
	for _, app := range f.apps {
		want[app] = 1
	}
	for _, r := range f.tenant.Reloads() {
		made[r.AppID]++
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("reloads of the apps at the tenant (-want +got):\n%s", diff)
	}
	refused := 0
	for _, r := range f.tenant.Requests() {
		if r.Status == 429 {
			refused++
		}
	}
	if refused > 0 {
		t.Errorf("%d responses with status 429", refused)
	}
}

// A worker is killed and started again, and then Redis.
func TestAKilledWorkerAndARestartedRedis(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.addApps(t, 120)
	began := time.Now()
	w := f.startWorkers(t)
	waitFor(t, time.Minute, "40 reloads", func() bool { return len(f.tenant.Reloads()) >= 40 })
	if !w.kill(0) {
		t.Fatal("the worker was not running")
	}
	waitFor(t, time.Minute, "60 reloads", func() bool { return len(f.tenant.Reloads()) >= 60 })
	f.redis.stop()
	time.Sleep(time.Second) // workers notice it
	f.startRedis(t)
	f.finish(t, recovery+2*time.Minute)
	t.Logf("120 apps in %v", time.Since(began).Round(time.Second))
}

// Workers are killed at random times, and started again.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.addApps(t, 3*max(*kills, 20))
	began := time.Now()
	w := f.startWorkers(t)
	killed := 0
	waitFor(t, time.Minute, "the first reload", func() bool { return len(f.tenant.Reloads()) > 0 })
	for killed < *kills {
		time.Sleep(rand.N(4 * time.Second)) // 2 s on average
		if w.kill(rand.IntN(4)) {
			killed++
		}
	}
	t.Logf("%d kills in %v, after %d of %d reloads", killed, time.Since(began).Round(time.Second), len(f.tenant.Reloads()), len(f.apps))
	f.finish(t, recovery+10*time.Minute)
	t.Logf("%d apps in %v", len(f.apps), time.Since(began).Round(time.Second))
}

// startWorker starts a worker that is not started again when it ends.
func (f *fleet) startWorker(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), f.env()...), os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// The README says how long the app of a killed worker takes to return. The other worker checks the leases a minute and two
// minutes after its start: shortly before the lease of the killed worker has ended, and a minute later.
func TestTheAppOfAKilledWorkerReturnsWithinTwoMinutes(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.addApps(t, 1)
	f.tenant.AddApp(f.apps[0], reloadstest.App{RunFor: 30 * time.Second})
	first := f.startWorker(t)
	waitFor(t, time.Minute, "the reload", func() bool { return len(f.tenant.Reloads()) == 1 })
	f.startWorker(t)
	time.Sleep(10 * time.Second)
	began := time.Now()
	if f.tenant.Reloads()[0].Ended() {
		t.Fatal("the reload ended too early")
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	f.finish(t, recovery)
	t.Logf("the app returned and was done %v after the kill", time.Since(began).Round(time.Second))
}

// A worker that gets SIGTERM returns its apps to the queue, so that another one takes them at once.
func TestAStoppedWorkerReturnsItsApps(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.tenant.AddApp("slow", reloadstest.App{RunFor: time.Hour})
	if _, err := enqueue(t.Context(), f.queue, "tonight", time.Now().Add(time.Hour), []string{"slow"}); err != nil {
		t.Fatal(err)
	}
	worker := f.startWorker(t)
	waitFor(t, time.Minute, "the reload", func() bool { return len(f.tenant.Reloads()) == 1 })
	if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var failed *exec.ExitError
	if err := worker.Wait(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	} else if failed != nil {
		t.Errorf("the worker: %v", failed)
	}
	info, err := asynq.NewInspectorFromRedisClient(f.rdb).GetTaskInfo("default", "tonight:slow")
	if err != nil {
		t.Fatal(err)
	}
	if info.State != asynq.TaskStatePending {
		t.Errorf("the task is %v, want pending", info.State)
	}
}
