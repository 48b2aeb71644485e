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
	"log"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
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

// handler returns the handler of a task. Its errors say what asynq does next: it retries a reload that failed up to
// maxRetry times, and after errTemporary without counting, until the deadline. A final error is a dead letter at once.
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
		case isFinal(err):
			return fmt.Errorf("%w: %w", asynq.SkipRetry, err)
		case ctx.Err() != nil, r != nil && r.Ended(): // it FAILED, or the tenant does not keep what Once needs
			return err
		}
		return fmt.Errorf("%w: %w", errTemporary, err)
	}
}

// work runs tasks until the process gets SIGTERM or SIGINT. Then it returns unfinished tasks to the queue.
func work(rdb redis.UniversalClient, client *reloads.Client, active int) error {
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{
		Concurrency: active, IsFailure: isFailure, RetryDelayFunc: retryDelay, LogLevel: asynq.ErrorLevel,
		ErrorHandler: asynq.ErrorHandlerFunc(logError),
	})
	return server.Run(handler(client))
}

func main() {
	night := flag.String("night", time.Now().Format(time.DateOnly), "`name` of the night to which the apps are added")
	within := flag.Duration("within", 12*time.Hour, "`time` from now in which the apps must be reloaded")
	active := flag.Int("active", 10, "maximum `number` of reloads that this worker waits for")
	kill := flag.Bool("kill", false, "kill a worker, with a Redis and a fake tenant of its own")
	flag.Parse()
	if err := run(*night, *within, *active, *kill, flag.Args()); err != nil {
		log.Fatal("fleet: ", err)
	}
}

func run(night string, within time.Duration, active int, kill bool, apps []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if kill {
		return demo(ctx, os.Stdout)
	}
	rdb, err := connectRedis(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	defer rdb.Close()
	if len(apps) > 0 {
		added, err := enqueue(ctx, asynq.NewClientFromRedisClient(rdb), night, time.Now().Add(within), apps)
		fmt.Printf("added %d of %d apps to the night %s\n", added, len(apps), night)
		return err
	}
	client, err := connectTenant(rdb)
	if err != nil {
		return err
	}
	return work(rdb, client, active)
}
