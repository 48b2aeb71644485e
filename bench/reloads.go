package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/reloads-go/reloads"
)

// reloadsClient is the client of package reloads with default options, but without rate limits.
type reloadsClient struct{ client *reloads.Client }

func newReloads(url string, hc *http.Client) (reloadsClient, error) {
	none := reloads.NewLimiter(1, 0)
	client, err := reloads.NewClient(url, reloads.APIKey(token), reloads.WithHTTPClient(hc),
		reloads.WithLimiters(reloads.Limiters{Read: none, Trigger: none, Cancel: none}))
	return reloadsClient{client}, err
}

func (r reloadsClient) get(ctx context.Context, id string) (string, error) {
	reload, err := r.client.Get(ctx, id)
	if err != nil {
		return "", err
	}
	return reload.ID, nil
}

func (r reloadsClient) list(ctx context.Context, log bool) (int, string, error) {
	p, err := r.client.List(ctx, reloads.ListOptions{PageSize: 100, Log: log})
	if err != nil {
		return 0, "", err
	}
	return len(p.Reloads), p.Reloads[len(p.Reloads)-1].Log, nil
}

func (r reloadsClient) iterate(ctx context.Context, pages int) (int, error) {
	n := 0
	for _, err := range r.client.All(ctx, reloads.ListOptions{PageSize: 100}) {
		if err != nil {
			return n, err
		}
		if n++; n == 100*pages {
			break
		}
	}
	return n, nil
}

func (r reloadsClient) fail(ctx context.Context) (string, error) {
	_, err := r.client.Get(ctx, failedID)
	var e *reloads.Error
	if errors.As(err, &e) {
		return string(e.Details[0].Code), nil
	}
	return "", err
}
