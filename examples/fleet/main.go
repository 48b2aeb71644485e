// Fleet reloads the apps of a tenant at night, with any number of worker processes on any number of machines. The apps
// are tasks of [asynq], in Redis. The workers share the rate limits of the tenant through Redis, too.
//
//	fleet                              works on tasks until it gets SIGTERM or SIGINT
//	fleet -night 2026-11-24 APP_ID...  adds the apps of a night; those that the night has already are not added again
//	fleet -kill                        shows that killed workers lose no app: with a Redis and a fake tenant of its own
//
// REDIS_URL is the Redis server, such as rediss://user:password@host:6379/0, and QLIK_TENANT_URL the tenant. The workers
// sign in with QLIK_API_KEY, or with QLIK_CLIENT_ID and QLIK_CLIENT_SECRET.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/redislimit"
)

const (
	taskType  = "reload"
	maxRetry  = 3                  // of a reload that FAILED
	retention = 7 * 24 * time.Hour // of succeeded tasks, which keep their night from being added again
)

// job is the payload of a task.
type job struct{ Night, App string }

// enqueue adds a task for each app that has none for the night, and returns their number. An app that is not reloaded by
// the deadline becomes a dead letter.
func enqueue(ctx context.Context, queue *asynq.Client, night string, deadline time.Time, apps []string) (added int, err error) {
	for _, app := range apps {
		payload, err := json.Marshal(job{night, app})
		if err != nil {
			return added, err
		}
		_, err = queue.EnqueueContext(ctx, asynq.NewTask(taskType, payload),
			asynq.TaskID(night+":"+app), asynq.MaxRetry(maxRetry), asynq.Deadline(deadline), asynq.Retention(retention))
		switch {
		case err == nil:
			added++
		case !errors.Is(err, asynq.ErrTaskIDConflict):
			return added, fmt.Errorf("app %s: %w", app, err)
		}
	}
	return added, nil
}

// errTemporary marks an error that has nothing to do with the app.
var errTemporary = errors.New("try again")

// handler returns the handler of a task. Its errors say what asynq does next: it retries a reload that failed up to
// maxRetry times, and after errTemporary without counting. Anything else is a dead letter at once.
func handler(client *reloads.Client) asynq.HandlerFunc {
	return func(ctx context.Context, task *asynq.Task) error {
		var j job
		if err := json.Unmarshal(task.Payload(), &j); err != nil {
			return errors.Join(err, asynq.SkipRetry)
		}
		// asynq runs a task again if its worker dies. Once finds out what the dead worker has already triggered.
		r, err := client.Run(ctx, reloads.Request{AppID: j.App}, reloads.Once(j.Night), reloads.AfterPending())
		switch {
		case err == nil:
			slog.Info("reloaded", "night", j.Night, "app", j.App, "reload", r.ID)
			return nil
		case errors.Is(err, reloads.ErrReloadFailed), ctx.Err() != nil:
			return err
		case isTemporary(err):
			return fmt.Errorf("%w: %w", errTemporary, err)
		}
		return fmt.Errorf("%w: %w", asynq.SkipRetry, err)
	}
}

// isTemporary reports whether an error is that of Redis, of the tenant or of the sign-in, and not that of the app.
func isTemporary(err error) bool {
	for _, temporary := range []error{
		redislimit.ErrUnavailable, reloads.ErrServer, reloads.ErrRateLimited, reloads.ErrUnauthorized,
		reloads.ErrReloadPending, reloads.ErrOutcomeUnknown, io.EOF, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, temporary) {
			return true
		}
	}
	var network net.Error
	var signIn *oauth.Error
	return errors.As(err, &network) || errors.As(err, &signIn)
}

// isFailure reports whether an error counts as one of the tries of a task. A worker that was killed does not.
func isFailure(err error) bool {
	return !errors.Is(err, errTemporary) && !errors.Is(err, asynq.ErrLeaseExpired)
}

func retryDelay(retried int, err error, task *asynq.Task) time.Duration {
	if errors.Is(err, asynq.ErrLeaseExpired) {
		return 0
	}
	return asynq.DefaultRetryDelayFunc(retried, err, task) // half a minute at first
}

// work runs tasks until the process gets SIGTERM or SIGINT. Then it returns unfinished tasks to the queue.
func work(rdb redis.UniversalClient, client *reloads.Client, active int) error {
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{
		Concurrency: active, IsFailure: isFailure, RetryDelayFunc: retryDelay, LogLevel: asynq.ErrorLevel,
		ErrorHandler: asynq.ErrorHandlerFunc(func(_ context.Context, task *asynq.Task, err error) {
			slog.Error("not reloaded", "task", string(task.Payload()), "error", err)
		}),
	})
	return server.Run(handler(client))
}

func connectRedis(address string) (*redis.Client, error) {
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	options.ContextTimeoutEnabled, options.MaxRetries = true, -1 // for redislimit
	return redis.NewClient(options), nil
}

// connectTenant returns a client of the tenant in the environment.
func connectTenant(rdb *redis.Client) (*reloads.Client, error) {
	tenant := os.Getenv("QLIK_TENANT_URL")
	u, err := url.Parse(tenant)
	if err != nil {
		return nil, fmt.Errorf("QLIK_TENANT_URL: %w", err)
	}
	limiters, err := redislimit.NewLimiters(rdb, u.Host)
	if err != nil {
		return nil, err
	}
	var tokens reloads.TokenSource = reloads.APIKey(os.Getenv("QLIK_API_KEY"))
	if id := os.Getenv("QLIK_CLIENT_ID"); id != "" {
		tokens, err = oauth.NewTokenSource(oauth.Config{
			TenantURL: tenant, ClientID: id, ClientSecret: os.Getenv("QLIK_CLIENT_SECRET"), Store: tokenStore{rdb},
		})
		if err != nil {
			return nil, err
		}
	}
	return reloads.NewClient(tenant, tokens, reloads.WithLimiters(limiters))
}

func main() {
	night := flag.String("night", time.Now().Format(time.DateOnly), "`name` of the night to which the apps are added")
	within := flag.Duration("within", 12*time.Hour, "`time` from now in which the apps must be reloaded")
	active := flag.Int("active", 10, "maximum `number` of reloads that this worker waits for")
	kill := flag.Bool("kill", false, "kill a worker, with a Redis and a fake tenant of its own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *night, *within, *active, *kill); err != nil {
		log.Fatal("fleet: ", err)
	}
}

func run(ctx context.Context, night string, within time.Duration, active int, kill bool) error {
	if kill {
		return demo(ctx, os.Stdout)
	}
	rdb, err := connectRedis(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	defer rdb.Close()
	if flag.NArg() > 0 {
		added, err := enqueue(ctx, asynq.NewClientFromRedisClient(rdb), night, time.Now().Add(within), flag.Args())
		fmt.Printf("added %d of %d apps to the night %s\n", added, flag.NArg(), night)
		return err
	}
	client, err := connectTenant(rdb)
	if err != nil {
		return err
	}
	return work(rdb, client, active)
}
