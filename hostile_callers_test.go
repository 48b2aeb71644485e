package reloads_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
)

// A context ends a call wherever it is, at once, and what was sent by then is known.
func TestAContextEndsACallAnywhere(t *testing.T) {
	t.Parallel()
	paused := func() reloads.Limiters {
		l := reloads.NewLimiter(1, time.Minute)
		l.Pause(time.Now().Add(time.Hour))
		return reloads.Limiters{Read: l, Trigger: l, Cancel: l}
	}
	for name, c := range map[string]struct {
		first outcome
		opts  func() []reloads.Option
		after time.Duration // the context ends
		sent  int
	}{
		"before":                {answer(200, queued), nil, 0, 0},
		"waiting for the limit": {answer(200, queued), func() []reloads.Option { return []reloads.Option{reloads.WithLimiters(paused())} }, time.Second, 0},
		"waiting for an answer": {hangs, nil, time.Second, 1},
		"during backoff": {fails(errDial), func() []reloads.Option {
			return []reloads.Option{reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 9, MinBackoff: time.Hour, MaxBackoff: time.Hour})}
		}, time.Second, 1},
		"during the body": {dripping, nil, 90 * time.Second, 1},
	} {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				because := errors.New("the user went home")
				if c.after == 0 {
					cancel(because)
				}
				defer time.AfterFunc(c.after, func() { cancel(because) }).Stop()
				opts := []reloads.Option{reloads.WithAttemptTimeout(0)}
				if c.opts != nil {
					opts = append(opts, c.opts()...)
				}
				wire := plays(c.first)
				began := time.Now()
				err := e.call(ctx, scriptedClient(t, wire, opts...))
				if !errors.Is(err, context.Canceled) || len(wire.requests()) != c.sent {
					t.Errorf("%s, %s: %d requests, %v", name, e.name, len(wire.requests()), err)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("%s, %s: returned after %v, want %v", name, e.name, took, c.after)
				}
				unclear := e.name == "trigger" && (name == "waiting for an answer" || name == "during the body")
				if errors.Is(err, reloads.ErrOutcomeUnknown) != unclear {
					t.Errorf("%s, %s: %v", name, e.name, err)
				}
			})
		}
	}
}

// dripping is a body that comes a byte a second, for ever.
func dripping(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(drip{r.Context()}), Request: r,
	}, nil
}

type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		return copy(p, " "), nil
	}
}

// A body that comes too slowly ends with its attempt, not with the caller's patience.
func TestASlowBodyIsATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := plays(dripping)
		began := time.Now()
		_, err := scriptedClient(t, wire, none).Get(t.Context(), reloadID)
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// A source that blocks holds up its own call alone, until the context ends.
func TestATokenSourceThatBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		wire := plays(answer(200, queued))
		client := with(t, reloads.TokenFunc(func(ctx context.Context) (string, error) {
			if asked.Add(1) == 1 {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return testToken, nil
		}), wire)
		blocked := make(chan error)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			_, err := client.Get(ctx, reloadID)
			blocked <- err
		}()
		synctest.Wait()
		if _, err := client.Get(t.Context(), reloadID); err != nil {
			t.Error(err)
		}
		if err := <-blocked; !errors.Is(err, context.DeadlineExceeded) || len(wire.requests()) != 1 {
			t.Errorf("%d requests, %v", len(wire.requests()), err)
		}
	})
}

// An http.Client works as it is, with its jar and its transport or none.
func TestHTTPClientsOfEveryKind(t *testing.T) {
	t.Parallel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, hc := range map[string]*http.Client{
		"zero": {}, "with a jar": {Jar: jar}, "with a timeout": {Timeout: 10 * time.Second},
		"with a transport": {Transport: http.DefaultTransport},
		"that checks redirects": {CheckRedirect: func(*http.Request, []*http.Request) error {
			t.Error("CheckRedirect was called")
			return nil
		}},
	} {
		client, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "sticky", Value: "node7", Path: "/"})
			_, _ = io.WriteString(w, queued)
		}, reloads.WithHTTPClient(hc))
		for range 2 {
			if _, err := client.Get(t.Context(), reloadID); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		cookie := requests.requests()[1].Header.Get("Cookie")
		if (cookie == "sticky=node7") != (hc.Jar != nil) {
			t.Errorf("%s: the second request has the cookie %q", name, cookie)
		}
	}
	// A timeout of the http.Client holds for an attempt.
	synctest.Test(t, func(t *testing.T) {
		hc := &http.Client{Transport: plays(hangs), Timeout: 3 * time.Second}
		began := time.Now()
		if _, err := scriptedClient(t, nil, reloads.WithHTTPClient(hc), none).Get(t.Context(), reloadID); err == nil || time.Since(began) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// A thousand goroutines share a client: every call has its own answer.
func TestAThousandGoroutinesShareAClient(t *testing.T) {
	t.Parallel()
	client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Path[len(prefix+"/api/v1/reloads/"):]
		_, _ = fmt.Fprintf(w, `{"id":%q,"log":%q}`, id, "log of "+id)
	})
	var calling sync.WaitGroup
	for i := range 1000 {
		calling.Go(func() {
			id := fmt.Sprint("reload", i)
			r, err := client.Get(t.Context(), id)
			if err != nil || r.ID != id || r.Log != "log of "+id {
				t.Errorf("%s: %+v, %v", id, r, err)
			}
		})
	}
	calling.Wait()
}
