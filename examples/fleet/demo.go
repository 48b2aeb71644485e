package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hibiken/asynq"

	"github.com/reloads-go/reloads/reloadstest"
)

// demo reloads 60 apps of a fake tenant with four workers, and kills one of them. Then it compares what the queue says with
// what the tenant did.
func demo(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	server, err := startRedis(ctx, dir, addr)
	if err != nil {
		return err
	}
	defer server.stop()
	redisURL := "redis://" + addr
	rdb, err := connectRedis(redisURL)
	if err != nil {
		return err
	}
	defer rdb.Close()

	tenant := reloadstest.NewTenant(reloadstest.WithListLag(time.Second))
	var apps []string
	for i := range 60 {
		apps = append(apps, fmt.Sprintf("app-%02d", i+1))
		tenant.AddApp(apps[i], reloadstest.App{QueueFor: time.Second, RunFor: 4 * time.Second})
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	service := &http.Server{Handler: tenant, ReadHeaderTimeout: 10 * time.Second}
	defer service.Close()
	go func() { _ = service.Serve(web) }()

	if _, err := enqueue(ctx, asynq.NewClientFromRedisClient(rdb), "tonight", time.Now().Add(time.Hour), apps); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d apps, four workers, 50 triggers per minute\n", len(apps))
	workers := startWorkers(ctx, 4, "REDIS_URL="+redisURL, "QLIK_TENANT_URL=http://"+web.Addr().String(),
		"QLIK_API_KEY="+tenant.Token(), "QLIK_CLIENT_ID=")
	defer workers.stop()
	if err := watch(ctx, out, asynq.NewInspectorFromRedisClient(rdb), workers, len(apps)/3); err != nil {
		return err
	}
	return report(out, tenant, apps)
}

// watch prints the state of the queue when it changes, until no task is left. It kills a worker when enough tasks are done.
func watch(ctx context.Context, out io.Writer, inspector *asynq.Inspector, workers *workers, enough int) error {
	for killed, shown := false, ""; ; {
		info, err := inspector.GetQueueInfo("default")
		if err != nil {
			return err
		}
		waiting := info.Pending + info.Retry + info.Scheduled
		line := fmt.Sprintf("%d done, %d active, %d waiting, %d dead", info.Completed, info.Active, waiting, info.Archived)
		if line != shown {
			fmt.Fprintln(out, line)
			shown = line
		}
		if info.Active+waiting == 0 {
			return nil
		}
		if !killed && info.Completed >= enough {
			killed = workers.kill(0)
			fmt.Fprintln(out, "-- killing a worker; it is started again, and its apps return in about a minute --")
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// report compares the reloads of the tenant with the apps.
func report(out io.Writer, tenant *reloadstest.Tenant, apps []string) error {
	succeeded := map[string]int{}
	for _, r := range tenant.Reloads() {
		if r.Err() == nil {
			succeeded[r.AppID]++
		}
	}
	lost, doubled, refused := 0, 0, 0
	for _, app := range apps {
		lost += max(1-succeeded[app], 0)
		doubled += max(succeeded[app]-1, 0)
	}
	for _, r := range tenant.Requests() {
		if r.Status == http.StatusTooManyRequests {
			refused++
		}
	}
	fmt.Fprintf(out, "%d apps, %d lost, %d reloaded twice, %d responses with status 429\n", len(apps), lost, doubled, refused)
	if lost+doubled+refused > 0 {
		return errors.New("the fleet did not keep its promise")
	}
	return nil
}
