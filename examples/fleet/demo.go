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
	const apps = 60
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	redisAddr, err := freeAddr()
	if err != nil {
		return err
	}
	server, err := startRedis(ctx, dir, redisAddr)
	if err != nil {
		return err
	}
	defer server.stop()

	tenant := reloadstest.NewTenant(reloadstest.WithListLag(time.Second))
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer web.Close()
	go func() { _ = http.Serve(web, tenant) }()
	var ids []string
	for i := range apps {
		ids = append(ids, fmt.Sprintf("app-%02d", i+1))
		tenant.AddApp(ids[i], reloadstest.App{QueueFor: time.Second, RunFor: 4 * time.Second})
	}

	rdb, err := connectRedis("redis://" + redisAddr)
	if err != nil {
		return err
	}
	defer rdb.Close()
	if _, err := enqueue(ctx, asynq.NewClientFromRedisClient(rdb), "tonight", time.Now().Add(time.Hour), ids); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d apps, four workers, 50 triggers per minute\n", apps)
	workers := startWorkers(ctx, 4, "REDIS_URL=redis://"+redisAddr, "QLIK_TENANT_URL=http://"+web.Addr().String(),
		"QLIK_API_KEY="+tenant.Token(), "QLIK_CLIENT_ID=")
	defer workers.stop()
	inspector := asynq.NewInspectorFromRedisClient(rdb)
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
			break
		}
		if !killed && info.Completed >= apps/3 {
			killed = workers.kill(0)
			fmt.Fprintln(out, "-- killing a worker; it is started again, and its apps return in about a minute --")
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return report(out, tenant, ids)
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
