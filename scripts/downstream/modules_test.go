package main

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/redislimit"
	"github.com/reloads-go/reloads/reloadstest"
	"github.com/reloads-go/reloads/webhook"
)

// TestModules uses the packages of all modules together: OAuth, limits in Redis, and events instead of polls.
func TestModules(t *testing.T) {
	const id, secret = "nightly", "test-secret-of-a-client-0123456789"
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: id, Secret: secret})
	service := httptest.NewServer(tenant)
	defer service.Close()

	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer rdb.Close()
	limiters, err := redislimit.NewLimiters(rdb, "downstream")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := oauth.NewTokenSource(oauth.Config{TenantURL: service.URL, ClientID: id, ClientSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	client, err := reloads.NewClient(service.URL, tokens, reloads.WithLimiters(limiters),
		reloads.WithPolling(reloads.PollPolicy{MinInterval: time.Minute, MaxInterval: time.Minute}))
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan string, 1)
	handler, err := webhook.New(secret, func(e webhook.Event) {
		client.Poll(e.Data.ID)
		events <- e.Data.ID
	})
	if err != nil {
		t.Fatal(err)
	}
	tenant.AddWebhook(reloadstest.Webhook{Secret: secret, Handler: handler})

	reload, err := client.Run(t.Context(), reloads.Request{AppID: "sales"})
	if err != nil {
		t.Fatal(err)
	}
	if event := <-events; event != reload.ID {
		t.Errorf("the event is of %s, not of %s", event, reload.ID)
	}
	if triggers := rdb.HGet(t.Context(), "reloads:{downstream}:trigger", "seq").Val(); triggers != "1" {
		t.Errorf("Redis counted %q triggers, want 1", triggers)
	}
}
