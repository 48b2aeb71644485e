package reloads_test

import (
	"fmt"
	"testing"

	"github.com/reloads-go/reloads"
)

// The answers of a cancel are told by their status: a body that is none, or none where there is one, changes nothing.
func TestCancelsWithoutTheirBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   reloads.Status
	}{
		{202, "", reloads.StatusCanceling},
		{202, "<html>", reloads.StatusCanceling},
		{204, "{}", reloads.StatusCanceled},
		{204, "", reloads.StatusCanceled},
	} {
		if got, err := scriptedClient(t, plays(answer(c.status, c.body))).Cancel(t.Context(), reloadID); got != c.want || err != nil {
			t.Errorf("%d %q: %q, %v", c.status, c.body, got, err)
		}
	}
}

// A connection that the server closed between two calls is not noticed: the next call takes another.
func TestAConnectionThatTheServerClosed(t *testing.T) {
	t.Parallel()
	response := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(queued), queued)
	client := rawClient(t, rawServer(t, writes(response)), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 3}))
	for i := range 20 {
		if _, err := client.Get(t.Context(), reloadID); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}
