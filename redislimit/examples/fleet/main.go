// Fleet reloads a list of apps with several worker processes, which share the list and the rate limits of the tenant
// through Redis.
//
//	go run ./examples/fleet [-workers 4] [-kill] [APP_ID...]
//
// Each app is leased to the worker that takes it. If a worker dies, its lease ends and another worker takes the app.
// With -kill, the program kills one of the workers to show this.
//
// Without environment variables, the program starts a Redis server and a fake tenant for the run. The fake tenant
// allows 50 triggers in 5 s instead of a minute, and its apps with the prefix "bad-" fail. REDIS_ADDR names a Redis
// server to use instead. QLIK_TENANT_URL and QLIK_API_KEY select a real tenant. With all three set, the command
//
//	go run ./examples/fleet -join tonight [-workers 2] [APP_ID...]
//
// can be started on any number of machines. All of them work on the list "tonight", and each can add apps to it.
//
// The exit status is 0 if all reloads succeeded, 1 if a reload did not succeed, 2 for invalid usage, and 3 for a
// failure of Redis or of the program itself.
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

// The environment variables of the worker processes.
const (
	envWorker = "FLEET_WORKER" // the name of the worker; set in worker processes only
	envList   = "FLEET_LIST"
	envPeriod = "FLEET_PERIOD" // the period of the rate limits
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

// run is the program, for worker processes as well. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	workers := flags.Int("workers", 4, "`number` of worker processes, 1 to 100")
	kill := flags.Bool("kill", false, "kill a worker after a third of the apps have succeeded")
	list := flags.String("join", "", "work on the list with this `name`, in the Redis server at REDIS_ADDR")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if os.Getenv(envWorker) != "" {
		return report(stderr, work(ctx, stdout))
	}
	if *workers < 1 || *workers > 100 || *list != "" && os.Getenv(envRedis) == "" {
		fmt.Fprintln(stderr, "fleet: -workers must be from 1 to 100, and -join requires REDIS_ADDR")
		return 2
	}
	c := coordinator{workers: *workers, kill: *kill, list: *list, apps: flags.Args(), out: stdout, errs: stderr}
	defer c.close()
	if err := c.setUp(); err != nil {
		return report(stderr, err)
	}
	failed, err := c.work(ctx)
	if err == nil && failed > 0 {
		return 1
	}
	return report(stderr, err)
}

// report prints an error, if there is one, and returns the exit status.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "fleet:", err)
	return 3
}

// work is the program of a worker process.
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

// coordinator starts the missing servers and the workers.
type coordinator struct {
	workers   int
	kill      bool
	list      string
	apps      []string
	out, errs io.Writer

	queue   queue
	env     []string
	cleanup []func()
}

func (c *coordinator) close() {
	for _, f := range c.cleanup {
		defer f()
	}
}

func (c *coordinator) setUp() error {
	addr := os.Getenv(envRedis)
	if addr == "" {
		dir, err := os.MkdirTemp("", "fleet")
		if err != nil {
			return err
		}
		c.cleanup = append(c.cleanup, func() { _ = os.RemoveAll(dir) })
		server, err := redisserver.Start(dir)
		if err != nil {
			return fmt.Errorf("%w; or set %s to the address of a Redis server", err, envRedis)
		}
		c.cleanup = append(c.cleanup, server.Stop)
		addr = server.Addr
		fmt.Fprintf(c.out, "started Redis at %s\n", addr)
	}
	rdb := connect(addr)
	c.cleanup = append(c.cleanup, func() { _ = rdb.Close() })
	tenant, key, period := os.Getenv(envTenant), os.Getenv(envKey), time.Minute
	if tenant == "" {
		var err error
		if period = 6 * time.Second; len(c.apps) == 0 {
			for i := range 120 {
				c.apps = append(c.apps, fmt.Sprintf("app-%03d", i+1))
			}
		}
		// The network latency is not scaled down with the period. The limiters therefore use a period that is longer
		// than that of the fake tenant.
		tenantPeriod := period - time.Second
		if tenant, err = c.fakeTenant(tenantPeriod); err != nil {
			return err
		}
		key = reloadstest.DefaultToken
		fmt.Fprintf(c.out, "started a fake tenant at %s, which allows 50 triggers in %v\n", tenant, tenantPeriod)
	}
	host, _ := os.Hostname()
	if c.list == "" {
		c.list = fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().Unix())
	}
	c.queue = queue{rdb, c.list, lease}
	c.env = append(os.Environ(), envList+"="+c.list, envPeriod+"="+period.String(),
		envRedis+"="+addr, envTenant+"="+tenant, envKey+"="+key)
	return nil
}

// fakeTenant starts a fake tenant on a loopback port, and returns its URL.
func (c *coordinator) fakeTenant(period time.Duration) (string, error) {
	tenant := reloadstest.NewTenant(reloadstest.WithMetering(reloadstest.SlidingWindow, period))
	for _, app := range c.apps {
		script := reloadstest.App{QueueFor: 50 * time.Millisecond, RunFor: 300 * time.Millisecond}
		if strings.HasPrefix(app, "bad-") {
			script.Outcome, script.ErrorMessage = reloads.StatusFailed, "the data source did not respond"
		}
		tenant.AddApp(app, script)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: tenant, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	c.cleanup = append(c.cleanup, func() {
		_ = server.Close()
		refused := 0
		for _, r := range tenant.Requests() {
			if r.Status == http.StatusTooManyRequests {
				refused++
			}
		}
		fmt.Fprintf(c.out, "the tenant made %d reloads and sent %d responses with status 429\n", len(tenant.Reloads()), refused)
	})
	return "http://" + l.Addr().String(), nil
}

// work runs the workers until all of them have ended. It returns the number of apps that did not succeed.
func (c *coordinator) work(ctx context.Context) (failed int, err error) {
	if err := c.queue.add(ctx, c.apps); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	out, errs := &lineWriter{w: c.out}, &lineWriter{w: c.errs}
	var running sync.WaitGroup
	for i := range c.workers {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(c.env, fmt.Sprintf("%s=%d-%d", envWorker, os.Getpid(), i+1))
		cmd.Stdout, cmd.Stderr = out, errs
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		if c.kill && i == 0 {
			out.afterSuccesses(len(c.apps)/3, func() {
				fmt.Fprintf(c.out, "-- killing worker %d-%d --\n", os.Getpid(), 1)
				_ = cmd.Process.Kill()
			})
		}
		running.Go(func() { _ = cmd.Wait() }) // the result of the run is that of the apps, not that of the workers
	}
	running.Wait()
	outcomes, err := c.queue.outcomes(ctx)
	if err != nil {
		return 0, err
	}
	remaining, err := c.queue.remaining(ctx)
	if err != nil {
		return 0, err
	}
	for app, outcome := range outcomes {
		if outcome != string(reloads.StatusSucceeded) {
			fmt.Fprintf(c.out, "%s: %s\n", app, outcome)
			failed++
		}
	}
	fmt.Fprintf(c.out, "%d apps done, %d failed, %d remaining\n", len(outcomes), failed, remaining)
	return failed + int(remaining), nil
}
