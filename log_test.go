package reloads_test

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

// A result logs which app it is about, what became of its reload, and why.
func TestResultsLogWhatOneFiltersBy(t *testing.T) {
	t.Parallel()
	var log journal
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	failed := &reloads.Reload{ID: "1", AppID: "app", Status: reloads.StatusFailed}
	for _, r := range []reloads.Result{
		{Request: reloads.Request{AppID: "app", Variables: map[string]string{"a": secretVariable}}, Reload: failed, Err: failed.Err()},
		{Request: reloads.Request{AppID: "app"}, Err: reloads.ErrNotStarted},
	} {
		logger.Info("", "result", r)
	}
	silent(t, "the log", log.String(), secretVariable)
	request := func(variables float64) map[string]any {
		return map[string]any{"app": "app", "partial": false, "variables": variables}
	}
	var got []any
	for _, line := range log.lines(t) {
		result := line["result"].(map[string]any)
		if reload, ok := result["reload"].(map[string]any); ok {
			result["reload"] = reload["status"]
		}
		got = append(got, result)
	}
	want := []any{
		map[string]any{"request": request(1), "reload": "FAILED", "error": failed.Err().Error()},
		map[string]any{"request": request(0), "error": reloads.ErrNotStarted.Error()},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
