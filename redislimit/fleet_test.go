package redislimit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/redislimit"
	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
	"github.com/reloads-go/reloads/reloadstest"
)

// The tests use a shorter period than the minute of the service: 50 triggers in any period. The network latency is not
// shorter, too. Therefore the limiters use a longer period, so that their window is 2.4 s longer than the period of the
// fake tenant, as it is with a period of one minute.
const (
	period         = 8 * time.Second
	limitersPeriod = 10 * time.Second
)

const (
	workers  = 4
	triggers = 75 // of each worker
	parallel = 5  // of each worker
)

// The environment variables of a worker process.
const (
	workerEnv = "REDISLIMIT_WORKER" // its number; set in worker processes only
	redisEnv  = "REDISLIMIT_REDIS"
	tenantEnv = "REDISLIMIT_TENANT"
)

// work is the program of a worker process. It triggers its apps and prints a line for each event.
func work() int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv(redisEnv), ContextTimeoutEnabled: true})
	defer rdb.Close()
	limiter, err := redislimit.New(rdb, key, reloads.SpecialPerMinute, limitersPeriod)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = parallel
	client, err := reloads.NewClient(os.Getenv(tenantEnv), reloads.APIKey(reloadstest.DefaultToken),
		reloads.WithHTTPClient(&http.Client{Transport: transport}),
		reloads.WithLimiters(reloads.Limiters{Trigger: printingLimiter{limiter}}))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	var wg, warm sync.WaitGroup
	warm.Add(parallel)
	apps := make(chan string)
	for range parallel {
		wg.Go(func() {
			// Connect first, so that the first requests start at the same time.
			_, redisErr := rdb.Ping(ctx).Result()
			_, tenantErr := client.List(ctx, reloads.ListOptions{})
			if err := errors.Join(redisErr, tenantErr); err != nil {
				fmt.Println("error", err)
			}
			warm.Done()
			warm.Wait()
			for app := range apps {
				_, err := client.Trigger(ctx, reloads.Request{AppID: app})
				for errors.Is(err, redislimit.ErrUnavailable) && ctx.Err() == nil {
					fmt.Println("unavailable", app)
					time.Sleep(100 * time.Millisecond)
					_, err = client.Trigger(ctx, reloads.Request{AppID: app})
				}
				if err != nil {
					fmt.Println("failed", app, err)
				} else {
					fmt.Println("done", app)
				}
			}
		})
	}
	for i := range triggers {
		apps <- appID(os.Getenv(workerEnv), i)
	}
	close(apps)
	wg.Wait()
	return 0
}

// printingLimiter prints when each request starts.
type printingLimiter struct{ *redislimit.Limiter }

func (l printingLimiter) Wait(ctx context.Context) error {
	err := l.Limiter.Wait(ctx)
	if err == nil {
		fmt.Println("start", time.Now().UnixNano())
	}
	return err
}

func appID(worker string, i int) string { return fmt.Sprintf("app-%s-%02d", worker, i) }

// fleet is a set of worker processes and the fake tenant that they share.
type fleet struct {
	tenant  *reloadstest.Tenant
	workers []*exec.Cmd

	mu     sync.Mutex
	events map[string][]string // the arguments of the printed events, by event; mostly app IDs
	more   chan struct{}       // receives an element for each event
	read   sync.WaitGroup
}

func startFleet(t *testing.T, server *redisserver.Server) *fleet {
	t.Helper()
	f := &fleet{
		tenant: reloadstest.NewTenant(reloadstest.WithMetering(reloadstest.SlidingWindow, period)),
		events: map[string][]string{}, more: make(chan struct{}, workers*triggers*20),
	}
	web := httptest.NewServer(f.tenant)
	t.Cleanup(web.Close)
	for w := range workers {
		for i := range triggers {
			f.tenant.AddApp(appID(fmt.Sprint(w), i), reloadstest.App{})
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprint(workerEnv, "=", w), redisEnv+"="+server.Addr, tenantEnv+"="+web.URL)
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		f.workers = append(f.workers, cmd)
		f.read.Go(func() { f.readEvents(stdout) })
	}
	return f
}

// readEvents records the events that a worker prints.
func (f *fleet) readEvents(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		event, argument, _ := strings.Cut(lines.Text(), " ")
		f.mu.Lock()
		f.events[event] = append(f.events[event], argument)
		f.mu.Unlock()
		f.more <- struct{}{}
	}
}

// waitFor waits until the given number of triggers are done.
func (f *fleet) waitFor(done int) {
	for range f.more {
		f.mu.Lock()
		n := len(f.events["done"])
		f.mu.Unlock()
		if n >= done {
			return
		}
	}
}

// finish waits for the workers. The worker killed may have failed; the others must not.
func (f *fleet) finish(t *testing.T, killed *exec.Cmd) {
	t.Helper()
	f.read.Wait()
	for _, w := range f.workers {
		if err := w.Wait(); err != nil && w != killed {
			t.Errorf("a worker failed: %v", err)
		}
	}
	if failed := slices.Concat(f.events["failed"], f.events["error"]); len(failed) > 0 {
		t.Errorf("failed: %v", failed)
	}
}

// check verifies that at no time more requests started or reached the tenant than the limit allows, that the tenant
// sent no 429 except for the injected ones, and that each trigger that was reported as done made exactly one reload.
func (f *fleet) check(t *testing.T, injected int) {
	t.Helper()
	var starts []time.Time
	refused := 0
	for _, r := range f.tenant.Requests() {
		if r.Operation != reloadstest.Trigger {
			continue
		}
		starts = append(starts, r.Time)
		if r.Status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != injected {
		t.Errorf("%d requests got a 429, want %d", refused, injected)
	}
	closest := closestOf(starts, reloads.SpecialPerMinute)
	if closest < period {
		t.Errorf("%d triggers arrived within %v", reloads.SpecialPerMinute+1, closest)
	}
	begun := f.begun(t)
	if len(begun) < len(starts) {
		t.Errorf("%d triggers arrived, but the workers started %d", len(starts), len(begun))
	}
	closestStart := closestOf(begun, reloads.SpecialPerMinute)
	if closestStart < limitersPeriod {
		t.Errorf("%d triggers started within %v, less than the limiters' %v", reloads.SpecialPerMinute+1, closestStart, limitersPeriod)
	}
	made := map[string]int{}
	for _, r := range f.tenant.Reloads() {
		made[r.AppID]++
	}
	once := map[string]int{}
	for _, app := range f.events["done"] {
		once[app] = 1
	}
	got := map[string]int{}
	for app := range once {
		got[app] = made[app]
	}
	if diff := cmp.Diff(once, got); diff != "" {
		t.Errorf("reloads of the apps that were reported as done (-want +got):\n%s", diff)
	}
	t.Logf("%d triggers in %v, the closest %d within %v (started within %v), %d reported as done, Redis unavailable %d times",
		len(starts), starts[len(starts)-1].Sub(starts[0]).Round(time.Millisecond), reloads.SpecialPerMinute+1,
		closest.Round(time.Millisecond), closestStart.Round(time.Millisecond), len(f.events["done"]), len(f.events["unavailable"]))
}

// begun returns the times at which the workers started triggers, in order.
func (f *fleet) begun(t *testing.T) (begun []time.Time) {
	t.Helper()
	for _, at := range f.events["start"] {
		nanos, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		begun = append(begun, time.Unix(0, nanos))
	}
	slices.SortFunc(begun, time.Time.Compare)
	return begun
}

// closestOf returns the shortest time in which one request more than the limit started.
func closestOf(starts []time.Time, limit int) time.Duration {
	closest := time.Hour
	for i := limit; i < len(starts); i++ {
		closest = min(closest, starts[i].Sub(starts[i-limit]))
	}
	return closest
}

// allDone checks that all triggers are done.
func (f *fleet) allDone(t *testing.T) {
	t.Helper()
	if n := len(f.events["done"]); n != workers*triggers {
		t.Errorf("%d of %d triggers are done", n, workers*triggers)
	}
}

// After one 429, all workers wait.
func TestFleet(t *testing.T) {
	t.Parallel()
	const retryAfter = 15 // longer than the window, so that only the 429 can delay the requests that long
	server := startRedis(t)
	f := startFleet(t, server)
	f.tenant.Inject(reloadstest.Fault{
		Operation: reloadstest.Trigger, Skip: 130, Status: http.StatusTooManyRequests,
		Header: http.Header{"Retry-After": {fmt.Sprint(retryAfter)}},
		Body:   `{"errors":[{"code":"HTTP-429","title":"API rate limit reached."}]}`,
	})
	f.finish(t, nil)
	f.check(t, 1)
	f.allDone(t)
	requests := f.tenant.Requests()
	first := slices.IndexFunc(requests, func(r reloadstest.Request) bool { return r.Status == http.StatusTooManyRequests })
	if first < 0 {
		t.Fatal("no request got a 429")
	}
	refused := requests[first].Time
	for _, start := range f.begun(t) {
		if since := start.Sub(refused); since > time.Second && since < retryAfter*time.Second { // requests that already had a slot may start within 1 s
			t.Errorf("a trigger started %v after a 429 with a Retry-After of %d s", since, retryAfter)
		}
	}
}

// Only triggers of the killed worker are not done. The other workers continue.
func TestFleetWithAWorkerKilled(t *testing.T) {
	t.Parallel()
	f := startFleet(t, startRedis(t))
	f.waitFor(120)
	killed := f.workers[1]
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	f.finish(t, killed)
	f.check(t, 0)
	done := map[string]bool{}
	for _, app := range f.events["done"] {
		done[app] = true
	}
	var missing []string
	for w := range workers {
		for i := range triggers {
			if app := appID(fmt.Sprint(w), i); !done[app] {
				missing = append(missing, app)
			}
		}
	}
	t.Logf("%d triggers are not done", len(missing))
	if len(missing) == 0 || slices.ContainsFunc(missing, func(app string) bool { return !strings.HasPrefix(app, "app-1-") }) {
		t.Errorf("not done: %v, want only triggers of worker 1, and at least one", missing)
	}
}

func TestFleetWithRedisRestarted(t *testing.T) {
	t.Parallel()
	for name, persistence := range map[string][]string{
		"with its data":    {"--appendonly", "yes", "--appendfsync", "always"},
		"without its data": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t, persistence...)
			f := startFleet(t, server)
			f.waitFor(120)
			server.Stop()
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
			f.finish(t, nil)
			f.check(t, 0)
			f.allDone(t)
		})
	}
}
