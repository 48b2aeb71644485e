package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/go-resty/resty/v2"
	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/time/rate"
)

// restyClient is a client that a user writes with resty.
type restyClient struct{ client *resty.Client }

func newResty(url string, hc *http.Client) restyClient {
	return restyClient{resty.NewWithClient(hc).SetBaseURL(url).SetAuthToken(token).SetRetryCount(5)}
}

func (r restyClient) do(ctx context.Context, path string, query url.Values, into any) error {
	resp, err := r.client.R().SetContext(ctx).SetQueryParamsFromValues(query).SetResult(into).SetError(&apiError{}).Get(path)
	if err != nil {
		return err
	}
	if resp.IsError() {
		return resp.Error().(*apiError)
	}
	return nil
}

func (r restyClient) get(ctx context.Context, id string) (string, error) {
	var rec reload
	err := r.do(ctx, "/api/v1/reloads/"+id, nil, &rec)
	return rec.ID, err
}

func (r restyClient) list(ctx context.Context, log bool) (int, string, error) {
	query := url.Values{"limit": {"100"}}
	if log {
		query.Set("log", "true")
	}
	var p page
	if err := r.do(ctx, "/api/v1/reloads", query, &p); err != nil {
		return 0, "", err
	}
	return len(p.Data), p.Data[len(p.Data)-1].Log, nil
}

func (r restyClient) iterate(ctx context.Context, pages int) (int, error) {
	return iteratePages(pages, func(query url.Values, p *page) error { return r.do(ctx, "/api/v1/reloads", query, p) })
}

func (r restyClient) fail(ctx context.Context) (string, error) {
	_, err := r.get(ctx, failedID)
	return codeOf(err)
}

// pattern is a client that follows the pattern of GitLab's client: go-retryablehttp with a limiter of x/time/rate.
type pattern struct {
	url     string
	client  *retryablehttp.Client
	limiter *rate.Limiter
}

func newPattern(url string, hc *http.Client) pattern {
	client := retryablehttp.NewClient()
	client.HTTPClient = hc
	client.Logger = nil
	client.RetryMax = 5
	client.ErrorHandler = retryablehttp.PassthroughErrorHandler
	return pattern{url, client, rate.NewLimiter(rate.Inf, 1)}
}

func (p pattern) do(ctx context.Context, path string, query url.Values, into any) error {
	u, err := url.Parse(p.url + path)
	if err != nil {
		return err
	}
	u.RawQuery = query.Encode()
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	if err := p.limiter.Wait(ctx); err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	return decode(resp, into)
}

func (p pattern) get(ctx context.Context, id string) (string, error) {
	var rec reload
	err := p.do(ctx, "/api/v1/reloads/"+id, nil, &rec)
	return rec.ID, err
}

func (p pattern) list(ctx context.Context, log bool) (int, string, error) {
	query := url.Values{"limit": {"100"}}
	if log {
		query.Set("log", "true")
	}
	var got page
	if err := p.do(ctx, "/api/v1/reloads", query, &got); err != nil {
		return 0, "", err
	}
	return len(got.Data), got.Data[len(got.Data)-1].Log, nil
}

func (p pattern) iterate(ctx context.Context, pages int) (int, error) {
	return iteratePages(pages, func(query url.Values, into *page) error { return p.do(ctx, "/api/v1/reloads", query, into) })
}

func (p pattern) fail(ctx context.Context) (string, error) {
	_, err := p.get(ctx, failedID)
	return codeOf(err)
}

// iteratePages is the loop that a user writes to get several pages. It returns the number of records.
func iteratePages(pages int, list func(url.Values, *page) error) (n int, err error) {
	query := url.Values{"limit": {"100"}}
	for range pages {
		var p page
		if err := list(query, &p); err != nil {
			return n, err
		}
		n += len(p.Data)
		next, err := url.Parse(p.Links.Next.Href)
		if err != nil {
			return n, err
		}
		query = next.Query()
	}
	return n, nil
}

// codeOf returns the error code of the service from the error of a hand-written client.
func codeOf(err error) (string, error) {
	var e *apiError
	if errors.As(err, &e) {
		return e.code(), nil
	}
	return "", err
}
