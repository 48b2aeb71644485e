package redislimit_test

import (
	"context"
	"fmt"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/redislimit"
	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
	"github.com/reloads-go/reloads/reloadstest"
)

// Two clients, which could be in two processes, share the budget of their tenant.
func ExampleNewLimiters() {
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	server, err := redisserver.Start(dir) // yours is there already
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
