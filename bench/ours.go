package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/reloads-go/reloads"
)

// ours is the client of this project as it comes, but for its rate limits.
type ours struct{ client *reloads.Client }

func newOurs(url string, hc *http.Client) (ours, error) {
	none := reloads.NewLimiter(1, 0)
	client, err := reloads.NewClient(url, reloads.APIKey(token), reloads.WithHTTPClient(hc),
		reloads.WithLimiters(reloads.Limiters{Read: none, Trigger: none, Cancel: none}))
	return ours{client}, err
}

func (o ours) get(ctx context.Context, id string) (string, error) {
	r, err := o.client.Get(ctx, id)
	if err != nil {
		return "", err
	}
	return r.ID, nil
}

func (o ours) list(ctx context.Context, log bool) (int, string, error) {
	p, err := o.client.List(ctx, reloads.ListOptions{PageSize: 100, Log: log})
	if err != nil {
		return 0, "", err
	}
	return len(p.Reloads), p.Reloads[len(p.Reloads)-1].Log, nil
}

func (o ours) iterate(ctx context.Context, pages int) (int, error) {
	n := 0
	for _, err := range o.client.All(ctx, reloads.ListOptions{PageSize: 100}) {
		if err != nil {
			return n, err
		}
		if n++; n == 100*pages {
			break
		}
	}
	return n, nil
}

func (o ours) fail(ctx context.Context) (string, error) {
	_, err := o.client.Get(ctx, failedID)
	var e *reloads.Error
	if errors.As(err, &e) {
		return string(e.Details[0].Code), nil
	}
	return "", err
}
