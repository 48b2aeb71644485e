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
	b := &Batch{Rerun: 1, Steps: []Step{
		{Name: "code", State: Failed, Err: failed("EngineConnectionError", "")},
		{Name: "message", State: Failed, Err: failed("", "unexpected EOF")},
		{Name: "both", State: Failed, Err: failed("EngineConnectionError", "unexpected EOF")},
		{Name: "neither", State: Failed, Err: failed("", "")},
		{Name: "good", State: Succeeded},
		{Name: "refused", State: Refused, Err: fmt.Errorf("reloads: %w", errors.New("no"))},
		{Name: "after", State: Skipped, After: []int{4, 5}, Err: reloads.ErrSkipped},
		{Name: "after that", State: Skipped, After: []int{4, 6}, Err: reloads.ErrSkipped},
		{Name: "nested", State: Failed, Err: fmt.Errorf("reloads: reload 1 took longer than 2h: %w", failed("", ""))},
		{Name: "unreachable", State: Errored, Err: errors.New("connection refused")},
		{Name: "after the unreachable", State: Skipped, After: []int{9}, Err: reloads.ErrSkipped},
		{Name: "again", State: Waiting, Reloads: []*reloads.Reload{{Status: reloads.StatusFailed, ErrorCode: "EngineConnectionError"}}},
		{Name: "running", State: Running, Reloads: []*reloads.Reload{{Status: reloads.StatusReloading}}},
		{Name: "odd", State: Skipped, After: []int{4}, Err: reloads.ErrSkipped},
	}}
	var got []string
	for i := range b.Steps {
		got = append(got, b.Problem(i))
	}
	want := []string{
		"EngineConnectionError", "unexpected EOF", "EngineConnectionError: unexpected EOF", b.Steps[3].Err.Error()[len("reloads: "):], "", "no",
		"refused did not succeed", "refused did not succeed",
		"reload 1 took longer than 2h: reload  of app  ended as FAILED", "connection refused", "unreachable did not succeed",
		"EngineConnectionError", "", "a predecessor did not succeed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
