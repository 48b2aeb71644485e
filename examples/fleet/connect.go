package main

import (
	"errors"
	"net/url"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/redislimit"
)

func connectRedis(address string) (*redis.Client, error) {
	options, err := redis.ParseURL(address)
	if err != nil { // which may contain the password
		return nil, errors.New("REDIS_URL must be the URL of a Redis server, such as redis://host:6379/0")
	}
	options.ContextTimeoutEnabled, options.MaxRetries = true, -1 // for redislimit
	return redis.NewClient(options), nil
}

// connectTenant returns a client of the tenant in the environment.
func connectTenant(rdb *redis.Client) (*reloads.Client, error) {
	tenant := os.Getenv("QLIK_TENANT_URL")
	u, err := url.Parse(tenant)
	if err != nil || u.Host == "" {
		return nil, errors.New("QLIK_TENANT_URL must be the URL of a tenant")
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
