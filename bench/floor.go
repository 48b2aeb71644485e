package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// The types that a user writes by hand.
type (
	reload struct {
		ID           string    `json:"id"`
		AppID        string    `json:"appId"`
		TenantID     string    `json:"tenantId"`
		UserID       string    `json:"userId"`
		Type         string    `json:"type"`
		Status       string    `json:"status"`
		Partial      bool      `json:"partial"`
		Weight       int       `json:"weight"`
		CreationTime time.Time `json:"creationTime"`
		StartTime    time.Time `json:"startTime"`
		EndTime      time.Time `json:"endTime"`
		EngineTime   time.Time `json:"engineTime"`
		ErrorCode    string    `json:"errorCode"`
		ErrorMessage string    `json:"errorMessage"`
		Log          string    `json:"log"`
		Links        struct {
			Self link `json:"self"`
		} `json:"links"`
	}
	page struct {
		Data  []reload `json:"data"`
		Links struct {
			Next link `json:"next"`
		} `json:"links"`
	}
	link struct {
		Href string `json:"href"`
	}
	apiError struct {
		Errors []struct {
			Code   string `json:"code"`
			Title  string `json:"title"`
			Detail string `json:"detail"`
		} `json:"errors"`
		TraceID string `json:"traceId"`
		status  int
	}
)

func (e *apiError) Error() string { return fmt.Sprintf("%d: %+v", e.status, e.Errors) }

// code returns the error code of the service, or "" if the response has none.
func (e *apiError) code() string {
	if len(e.Errors) == 0 {
		return ""
	}
	return e.Errors[0].Code
}

// floor is the baseline: the client that a user writes by hand with net/http and encoding/json.
type floor struct {
	url  string
	http *http.Client
}

func (f floor) request(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return f.http.Do(req)
}

func (f floor) do(ctx context.Context, path string, into any) error {
	resp, err := f.request(ctx, path)
	if err != nil {
		return err
	}
	return decode(resp, into)
}

// decode decodes a response into the value that into points to. If the status is not 200, it returns an *apiError.
func decode(resp *http.Response, into any) error {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		e := &apiError{status: resp.StatusCode}
		if err := json.NewDecoder(resp.Body).Decode(e); err != nil {
			return err
		}
		return e
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

func (f floor) get(ctx context.Context, id string) (string, error) {
	var r reload
	err := f.do(ctx, "/api/v1/reloads/"+id, &r)
	return r.ID, err
}

func (f floor) list(ctx context.Context, log bool) (int, string, error) {
	path := "/api/v1/reloads?limit=100"
	if log {
		path += "&log=true"
	}
	var p page
	if err := f.do(ctx, path, &p); err != nil {
		return 0, "", err
	}
	return len(p.Data), p.Data[len(p.Data)-1].Log, nil
}

func (f floor) iterate(ctx context.Context, pages int) (int, error) {
	n := 0
	query := "limit=100"
	for range pages {
		var p page
		if err := f.do(ctx, "/api/v1/reloads?"+query, &p); err != nil {
			return n, err
		}
		n += len(p.Data)
		next, err := url.Parse(p.Links.Next.Href)
		if err != nil {
			return n, err
		}
		query = next.RawQuery
	}
	return n, nil
}

func (f floor) fail(ctx context.Context) (string, error) {
	_, err := f.get(ctx, failedID)
	return codeOf(err)
}
