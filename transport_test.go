package reloads_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

// stuck is a body that never comes.
type stuck struct{ ctx context.Context }

func (s stuck) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// The caller's deadline and that of an attempt are told apart.
func TestAnAttemptThatTakesTooLongIsATimeoutOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]outcome{
		"the answer": hangs,
		"its body": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(stuck{r.Context()}), ContentLength: -1, Request: r}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := scriptedClient(t, plays(outcome), reloads.WithAttemptTimeout(7*time.Second), reloads.WithRetry(reloads.RetryPolicy{}))
				began := time.Now()
				_, err := client.Get(t.Context(), reloadID)
				var timeout net.Error
				if !errors.As(err, &timeout) || !timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 7*time.Second {
					t.Errorf("got %v after %v, want a timeout that is no DeadlineExceeded, after 7s", err, time.Since(began))
				}

				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if _, err := client.Get(ctx, reloadID); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want the caller's DeadlineExceeded", err)
				}
			})
		})
	}
}

// After an attempt that nobody answered, the connection of the next one is used no more: it may be the same, and dead.
func TestADeadConnectionIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var closes []bool
		noted := func(o outcome) outcome {
			return func(r *http.Request) (*http.Response, error) {
				closes = append(closes, r.Close)
				return o(r)
			}
		}
		ok := noted(answer(200, queued))
		drips := func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(stuck{r.Context()}), ContentLength: -1, Request: r}, nil
		}
		client := scriptedClient(t, plays(ok, noted(hangs), noted(hangs), ok, ok, noted(drips), ok, ok, noted(hangs), ok, ok))
		for range 5 {
			if _, err := client.Get(t.Context(), reloadID); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the caller's time, shorter than that of an attempt
		defer cancel()
		if _, err := client.Get(ctx, reloadID); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := client.Get(t.Context(), reloadID); err != nil {
				t.Fatal(err)
			}
		}
		want := []bool{false, false, true, true, false, false, true, false, false, true, false}
		if diff := cmp.Diff(want, closes); diff != "" {
			t.Errorf("the connection is closed after the attempt (-want +got):\n%s", diff)
		}
	})
}

// A server that does not talk TLS never will: it is not asked again.
func TestAServerWithoutTLS(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	url, _ := gateway(t, always(http.StatusOK, queued))
	dialer := &net.Dialer{}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		asked.Add(1)
		return dialer.DialContext(ctx, network, addr)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := reloads.NewClient(strings.Replace(url, "http:", "https:", 1), reloads.APIKey(testToken), reloads.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(t.Context(), reloadID); err == nil || asked.Load() != 1 {
		t.Errorf("%d connections, %v", asked.Load(), err)
	}
}
