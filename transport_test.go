package reloads_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

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
