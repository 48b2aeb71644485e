// Fleet reloads a list of apps with several processes that share, through Redis, the list and the tenant's rate limits.
//
//	go run ./examples/fleet [-workers 4] [-kill] [APP_ID...]
//
// Each app is leased to the worker that takes it; a worker that dies loses no app. With -kill one of them is killed
// on the way, to show it. Without environment variables the tenant is a fake one, whose minute lasts 5 s and whose apps
// bad-… fail, and Redis a server that is started for the run. REDIS_ADDR names a Redis to use instead, QLIK_TENANT_URL and
// QLIK_API_KEY a tenant. Then
//
//	go run ./examples/fleet -join tonight [-workers 2] [APP_ID...]
//
// may be started on any number of machines: all of them work on the list "tonight", which may be added to.
//
// The exit status is 0 if all reloads succeeded, 1 if some did not, 2 for bad usage, and 3 if a server could not be
// talked to.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/redislimit"
	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
	"github.com/reloads-go/reloads/reloadstest"
)

// What the workers are told, by environment variables.
const (
	envWorker = "FLEET_WORKER" // its name; set in worker processes only
	envList   = "FLEET_LIST"
	envPeriod = "FLEET_PERIOD" // the tenant's minute
	envRedis  = "REDIS_ADDR"
	envTenant = "QLIK_TENANT_URL"
	envKey    = "QLIK_API_KEY"
)

const lease = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program, of the workers, too; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	workers := flags.Int("workers", 4, "start so many worker processes, 1 to 100")
	kill := flags.Bool("kill", false, "kill a worker when a third of the apps are done")
	list := flags.String("join", "", "work on the list of this name, in the Redis of REDIS_ADDR")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if os.Getenv(envWorker) != "" {
		return report(stderr, work(ctx, stdout))
	}
	if *workers < 1 || *workers > 100 || *list != "" && os.Getenv(envRedis) == "" {
		fmt.Fprintln(stderr, "fleet: -workers must be 1 to 100, and -join needs REDIS_ADDR")
		return 2
	}
	b := boss{workers: *workers, kill: *kill, list: *list, apps: flags.Args(), out: stdout, errs: stderr}
	defer b.close()
	if err := b.setUp(); err != nil {
		return report(stderr, err)
	}
	failed, err := b.work(ctx)
	if err == nil && failed > 0 {
		return 1
	}
	return report(stderr, err)
}

func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "fleet:", err)
	return 3
}

// work is a worker process.
func work(ctx context.Context, stdout io.Writer) error {
	period, err := time.ParseDuration(os.Getenv(envPeriod))
	if err != nil {
		return err
	}
	rdb := connect(os.Getenv(envRedis))
	defer rdb.Close()
	triggers, err := redislimit.New(rdb, "reloads:{"+os.Getenv(envTenant)+"}:trigger", reloads.SpecialPerMinute, period)
	if err != nil {
		return err
	}
	reads, err := redislimit.New(rdb, "reloads:{"+os.Getenv(envTenant)+"}:read", reloads.Tier1PerMinute, period)
	if err != nil {
		return err
	}
	client, err := reloads.NewClient(os.Getenv(envTenant), reloads.APIKey(os.Getenv(envKey)),
		reloads.WithLimiters(reloads.Limiters{Read: reads, Trigger: triggers}),
		reloads.WithPolling(reloads.PollPolicy{MinInterval: period / 60}))
	if err != nil {
		return err
	}
	return worker{os.Getenv(envWorker), queue{rdb, os.Getenv(envList), lease}, client, stdout}.run(ctx)
}

func connect(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
}

// boss sets the servers up that are missing, and starts the workers.
type boss struct {
	workers   int
	kill      bool
	list      string
	apps      []string
	out, errs io.Writer

	queue   queue
	env     []string
	cleanup []func()
}

func (b *boss) close() {
	for _, f := range b.cleanup {
		defer f()
	}
}

func (b *boss) setUp() error {
	addr := os.Getenv(envRedis)
	if addr == "" {
		dir, err := os.MkdirTemp("", "fleet")
		if err != nil {
			return err
		}
		b.cleanup = append(b.cleanup, func() { _ = os.RemoveAll(dir) })
		server, err := redisserver.Start(dir)
		if err != nil {
			return fmt.Errorf("%w; or name one in %s", err, envRedis)
		}
		b.cleanup = append(b.cleanup, server.Stop)
		addr = server.Addr
		fmt.Fprintf(b.out, "Redis at %s, for this run\n", addr)
	}
	rdb := connect(addr)
	b.cleanup = append(b.cleanup, func() { _ = rdb.Close() })
	tenant, key, period := os.Getenv(envTenant), os.Getenv(envKey), time.Minute
	if tenant == "" {
		var err error
		if period = 6 * time.Second; len(b.apps) == 0 {
			for i := range 120 {
				b.apps = append(b.apps, fmt.Sprintf("app-%03d", i+1))
			}
		}
		// The way to the tenant does not get shorter with the minute: it takes a second off the tenant's.
		counted := period - time.Second
		if tenant, err = b.fakeTenant(counted); err != nil {
			return err
		}
		key = reloadstest.DefaultToken
		fmt.Fprintf(b.out, "a fake tenant at %s, with 50 triggers in %v\n", tenant, counted)
	}
	host, _ := os.Hostname()
	if b.list == "" {
		b.list = fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().Unix())
	}
	b.queue = queue{rdb, b.list, lease}
	b.env = append(os.Environ(), envList+"="+b.list, envPeriod+"="+period.String(),
		envRedis+"="+addr, envTenant+"="+tenant, envKey+"="+key)
	return nil
}

func (b *boss) fakeTenant(period time.Duration) (string, error) {
	tenant := reloadstest.NewTenant(reloadstest.WithMetering(reloadstest.SlidingWindow, period))
	for _, app := range b.apps {
		script := reloadstest.App{QueueFor: 50 * time.Millisecond, RunFor: 300 * time.Millisecond}
		if strings.HasPrefix(app, "bad-") {
			script.Outcome, script.ErrorMessage = reloads.StatusFailed, "the data source did not answer"
		}
		tenant.AddApp(app, script)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: tenant, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	b.cleanup = append(b.cleanup, func() {
		_ = server.Close()
		refused := 0
		for _, r := range tenant.Requests() {
			if r.Status == http.StatusTooManyRequests {
				refused++
			}
		}
		fmt.Fprintf(b.out, "the tenant made %d reloads, and refused %d requests with 429\n", len(tenant.Reloads()), refused)
	})
	return "http://" + l.Addr().String(), nil
}

// work runs the workers until they end, and returns how many apps failed.
func (b *boss) work(ctx context.Context) (failed int, err error) {
	if err := b.queue.add(ctx, b.apps); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	out, errs := &lines{w: b.out}, &lines{w: b.errs}
	var running sync.WaitGroup
	for i := range b.workers {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(b.env, fmt.Sprintf("%s=%d-%d", envWorker, os.Getpid(), i+1))
		cmd.Stdout, cmd.Stderr = out, errs
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		if b.kill && i == 0 {
			out.after(len(b.apps)/3, func() {
				fmt.Fprintf(b.out, "-- worker %d-%d is killed --\n", os.Getpid(), 1)
				_ = cmd.Process.Kill()
			})
		}
		running.Go(func() { _ = cmd.Wait() }) // what became of the apps is what counts
	}
	running.Wait()
	outcomes, err := b.queue.outcomes(ctx)
	if err != nil {
		return 0, err
	}
	left, err := b.queue.left(ctx)
	if err != nil {
		return 0, err
	}
	for app, outcome := range outcomes {
		if outcome != string(reloads.StatusSucceeded) {
			fmt.Fprintf(b.out, "%s: %s\n", app, outcome)
			failed++
		}
	}
	fmt.Fprintf(b.out, "%d apps are done, %d of them failed, %d are left\n", len(outcomes), failed, left)
	return failed + int(left), nil
}
