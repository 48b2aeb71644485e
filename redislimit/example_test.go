package redislimit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/redislimit"
	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
	"github.com/reloads-go/reloads/reloadstest"
)

// Two clients share the budget of their tenant. They could also be in two processes.
func ExampleNewLimiters() {
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	server, err := redisserver.Start(dir) // your program connects to an existing server
	if err != nil {
		panic(err)
	}
	defer server.Stop()

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	defer rdb.Close()
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	for range 2 {
		limiters, err := redislimit.NewLimiters(rdb, "your-tenant.us.qlikcloud.com")
		if err != nil {
			panic(err)
		}
		client := tenant.NewClient(reloads.WithLimiters(limiters))
		reload, err := client.Run(context.Background(), reloads.Request{AppID: "sales"})
		fmt.Println(reload.Status, err)
	}
	fmt.Println(rdb.HGet(context.Background(), "reloads:{your-tenant.us.qlikcloud.com}:trigger", "seq").Val(), "triggers")
	// Output:
	// SUCCEEDED <nil>
	// SUCCEEDED <nil>
	// 2 triggers
}

// Unit tests do not need a redis-server: miniredis, which is written in Go, runs the script.
func ExampleNew_miniredis() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer rdb.Close()

	limiter, err := redislimit.New(rdb, "reloads:{test}", 2, time.Minute)
	if err != nil {
		panic(err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
		err := limiter.Wait(ctx)
		cancel()
		fmt.Println(err == nil, errors.Is(err, reloads.ErrRateLimited))
	}
	// Output:
	// true false
	// true false
	// false true
}
