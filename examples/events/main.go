// Events shows what events of finished reloads are good for. It reloads 50 apps of a fake tenant twice, over HTTP: first
// with polls only, then with a webhook and few polls.
//
//	go run ./examples/events
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
	"github.com/reloads-go/reloads/webhook"
)

const (
	apps   = 50
	key    = "test-token-of-a-user"
	secret = "test-secret-of-a-webhook-0123456789"
)

func main() {
	for _, events := range []bool{false, true} {
		reads, late, err := run(context.Background(), events)
		if err != nil {
			log.Fatal("events: ", err)
		}
		fmt.Printf("%d reloads, events: %-5v  %3d reads, each end noticed within %v\n", apps, events, reads, late.Round(10*time.Millisecond))
	}
}

// run reloads the apps. It returns how many reloads and lists were read, and the longest time between the end of a reload
// and its result.
func run(ctx context.Context, events bool) (reads int, late time.Duration, err error) {
	tenant := reloadstest.NewTenant(reloadstest.WithToken(key, reloadstest.User)) // who may not list the tenant's reloads
	service := httptest.NewServer(tenant)
	defer service.Close()

	var opts []reloads.Option
	if events {
		opts = append(opts, reloads.WithPolling(reloads.PollPolicy{MinInterval: time.Minute, MaxInterval: time.Minute}))
	}
	client, err := reloads.NewClient(service.URL, reloads.APIKey(key), opts...)
	if err != nil {
		return 0, 0, err
	}
	if events {
		handler, err := webhook.New(secret, func(e webhook.Event) { client.Poll(e.Data.ID) })
		if err != nil {
			return 0, 0, err
		}
		receiver := httptest.NewServer(handler)
		defer receiver.Close()
		tenant.AddWebhook(reloadstest.Webhook{Secret: secret, URL: receiver.URL})
	}

	var requests []reloads.Request
	for i := range apps {
		id := fmt.Sprint("app-", i)
		tenant.AddApp(id, reloadstest.App{RunFor: 4*time.Second + time.Duration(i)*100*time.Millisecond})
		requests = append(requests, reloads.Request{AppID: id})
	}
	for result := range client.RunAll(ctx, requests) {
		if result.Err != nil {
			return 0, 0, result.Err
		}
		late = max(late, time.Since(result.Reload.EndTime))
	}
	for _, r := range tenant.Requests() {
		if r.Method == http.MethodGet {
			reads++
		}
	}
	return reads, late, nil
}
