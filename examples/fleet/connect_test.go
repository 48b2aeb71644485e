package main

import (
	"strings"
	"testing"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestConnectTenant(t *testing.T) {
	f := startFleet(t)
	f.tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "fleet", Secret: "secret of the fleet", MaxTokens: 1})
	t.Setenv("QLIK_TENANT_URL", f.web.URL)
	for _, env := range []struct{ key, client, secret string }{
		{key: reloadstest.DefaultToken},
		{client: "fleet", secret: "secret of the fleet"},
		{client: "fleet", secret: "secret of the fleet"}, // has the token of the one before
	} {
		t.Setenv("QLIK_API_KEY", env.key)
		t.Setenv("QLIK_CLIENT_ID", env.client)
		t.Setenv("QLIK_CLIENT_SECRET", env.secret)
		client, err := connectTenant(f.rdb)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.List(t.Context(), reloads.ListOptions{}); err != nil {
			t.Error(err)
		}
	}
	for _, invalid := range []string{"", "tenant.example.com", ":"} {
		t.Setenv("QLIK_TENANT_URL", invalid)
		if _, err := connectTenant(f.rdb); err == nil || !strings.Contains(err.Error(), "QLIK_TENANT_URL") {
			t.Errorf("QLIK_TENANT_URL=%q: %v", invalid, err)
		}
	}
}

func TestNoErrorContainsThePasswordOfRedis(t *testing.T) {
	for _, url := range []string{"redis://user:hunter2@:port", "redis://user:pass:hunter2", "hunter2", "http://:hunter2@redis"} {
		if _, err := connectRedis(url); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
