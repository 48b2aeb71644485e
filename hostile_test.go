package reloads_test

import (
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
