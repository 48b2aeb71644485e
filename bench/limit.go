package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// limit is what no client can do better with net/http: it reads the response, but does not decode it. Its results are
// zero values.
type limit struct{ floor }

func (l limit) read(ctx context.Context, path string, status int) error {
	resp, err := l.request(ctx, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		return fmt.Errorf("%s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (l limit) get(ctx context.Context, id string) (string, error) {
	return "", l.read(ctx, "/api/v1/reloads/"+id, http.StatusOK)
}

func (l limit) list(ctx context.Context, log bool) (int, string, error) {
	path := "/api/v1/reloads?limit=100"
	if log {
		path += "&log=true"
	}
	return 0, "", l.read(ctx, path, http.StatusOK)
}

func (l limit) iterate(ctx context.Context, pages int) (int, error) {
	for range pages {
		if _, _, err := l.list(ctx, false); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func (l limit) fail(ctx context.Context) (string, error) {
	return "", l.read(ctx, "/api/v1/reloads/"+failedID, http.StatusNotFound)
}
