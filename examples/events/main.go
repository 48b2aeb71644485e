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
	secret = "test-secret-of-a-webhook-0123456789"
)

func main() {
	for _, events := range []bool{false, true} {
		if err := run(context.Background(), events); err != nil {
			log.Fatal("events: ", err)
		}
	}
}

func run(ctx context.Context, events bool) error {
	tenant := reloadstest.NewTenant()
	service := httptest.NewServer(tenant)
	defer service.Close()

	var opts []reloads.Option
	if events {
		opts = append(opts, reloads.WithPolling(reloads.PollPolicy{MinInterval: time.Minute, MaxInterval: time.Minute}))
	}
	client, err := reloads.NewClient(service.URL, reloads.APIKey(tenant.Token()), opts...)
	if err != nil {
		return err
	}
	if events {
		handler, err := webhook.New(secret, func(e webhook.Event) { client.Poll(e.Data.ID) })
		if err != nil {
			return err
		}
		receiver := httptest.NewServer(handler)
		defer receiver.Close()
		tenant.AddWebhook(reloadstest.Webhook{Secret: secret, URL: receiver.URL})
	}

	var requests []reloads.Request
	for i := range apps {
		id := fmt.Sprint("app-", i)
		tenant.AddApp(id, reloadstest.App{RunFor: time.Second + time.Duration(i)*100*time.Millisecond})
		requests = append(requests, reloads.Request{AppID: id})
	}
	var late time.Duration // most time between the end of a reload and its result
	for result := range client.RunAll(ctx, requests) {
		if result.Err != nil {
			return result.Err
		}
		late = max(late, time.Since(result.Reload.EndTime))
	}
	reads := 0
	for _, r := range tenant.Requests() {
		if r.Method == http.MethodGet {
			reads++
		}
	}
	fmt.Printf("%d reloads, events: %-5v  %3d reads, each end noticed within %v\n", apps, events, reads, late.Round(10*time.Millisecond))
	return nil
}
