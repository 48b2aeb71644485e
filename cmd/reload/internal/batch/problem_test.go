package batch

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

func TestProblem(t *testing.T) {
	t.Parallel()
	failed := func(code, message string) error {
		r := &reloads.Reload{Status: reloads.StatusFailed, ErrorCode: code, ErrorMessage: message}
		return &reloads.ReloadError{Reload: r}
	}
	b := &Batch{Steps: []Step{
		{Name: "code", State: Failed, Err: failed("EngineConnectionError", "")},
		{Name: "message", State: Failed, Err: failed("", "unexpected EOF")},
		{Name: "both", State: Failed, Err: failed("EngineConnectionError", "unexpected EOF")},
		{Name: "neither", State: Failed, Err: failed("", "")},
		{Name: "good", State: Succeeded},
		{Name: "refused", State: Refused, Err: fmt.Errorf("reloads: %w", errors.New("no"))},
		{Name: "after", State: Skipped, After: []int{4, 5}, Err: reloads.ErrSkipped},
		{Name: "after that", State: Skipped, After: []int{4, 6}, Err: reloads.ErrSkipped},
		{Name: "odd", State: Skipped, After: []int{4}, Err: reloads.ErrSkipped},
	}}
	var got []string
	for i := range b.Steps {
		got = append(got, b.Problem(i))
	}
	want := []string{
		"EngineConnectionError", "unexpected EOF", "EngineConnectionError: unexpected EOF", b.Steps[3].Err.Error()[len("reloads: "):], "", "no",
		"refused did not succeed", "refused did not succeed", "a predecessor did not succeed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
