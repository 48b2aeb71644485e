//go:build oapi

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/reloads-go/reloads/bench/oapi"
)

// start runs the benchmark.
func start(ctx context.Context, args []string) error { return run(ctx, args, rows, os.Stdout) }

// generated is the client that oapi-codegen generates.
type generated struct{ client *oapi.ClientWithResponses }

func newGenerated(url string, hc *http.Client) (client, error) {
	c, err := oapi.NewClientWithResponses(url, oapi.WithHTTPClient(hc), oapi.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	return generated{c}, err
}

func (g generated) get(ctx context.Context, id string) (string, error) {
	resp, err := g.client.GetReloadWithResponse(ctx, id)
	if err != nil {
		return "", err
	}
	if resp.JSON200 == nil {
		return "", fmt.Errorf("%s", resp.Status())
	}
	return resp.JSON200.Id, nil
}

func (g generated) page(ctx context.Context, params *oapi.ListReloadsParams) (*oapi.Page, error) {
	resp, err := g.client.ListReloadsWithResponse(ctx, params)
	if err != nil {
		return nil, err
	}
	if resp.JSON200 == nil {
		return nil, fmt.Errorf("%s", resp.Status())
	}
	return resp.JSON200, nil
}

func (g generated) list(ctx context.Context, log bool) (int, string, error) {
	limit := 100
	params := &oapi.ListReloadsParams{Limit: &limit}
	if log {
		params.Log = &log
	}
	p, err := g.page(ctx, params)
	if err != nil {
		return 0, "", err
	}
	return len(p.Data), *p.Data[len(p.Data)-1].Log, nil
}

func (g generated) iterate(ctx context.Context, pages int) (n int, err error) {
	limit := 100
	params := &oapi.ListReloadsParams{Limit: &limit}
	for range pages {
		p, err := g.page(ctx, params)
		if err != nil {
			return n, err
		}
		n += len(p.Data)
		u, err := url.Parse(*p.Links.Next.Href)
		if err != nil {
			return n, err
		}
		next := u.Query().Get("next")
		params.Next = &next
	}
	return n, nil
}

func (g generated) fail(ctx context.Context) (string, error) {
	resp, err := g.client.GetReloadWithResponse(ctx, failedID)
	if err != nil {
		return "", err
	}
	if resp.JSON404 == nil {
		return "", fmt.Errorf("%s", resp.Status())
	}
	return (*resp.JSON404.Errors)[0].Code, nil
}
