package reloads_test

import (
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

func TestEveryAttemptIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log journal
		wire := plays(
			answer(429, testdata(t, "error_429_rate.json"), "Retry-After", "13"),
			answer(503, testdata(t, "error_500.json"), "Retry-After", "2"),
			answer(200, emptyPage),
		)
		client := scriptedClient(t, wire, log.option(slog.LevelDebug))
		if _, err := client.List(t.Context(), reloads.ListOptions{AppID: "secret-app", Filter: "secret-filter"}); err != nil {
			t.Fatal(err)
		}
		silent(t, "the log", log.String(), "secret", "appId")
		line := func(level string, attempt, status float64, more map[string]any) map[string]any {
			l := map[string]any{"level": level, "operation": "list", "path": "/api/v1/reloads", "attempt": attempt, "status": status}
			for name, value := range more {
				l[name] = value
			}
			return l
		}
		const trace = "0000000000000000feedfacecafebeef"
		want := []map[string]any{
			line("DEBUG", 1, 429, map[string]any{"waited": 0.0, "duration": 0.0}),
			line("WARN", 1, 429, map[string]any{"pause": 13e9}),
			line("WARN", 1, 429, map[string]any{"wait": 13e9}),
			line("DEBUG", 2, 503, map[string]any{"waited": 0.0, "duration": 0.0, "trace_id": trace}),
			line("WARN", 2, 503, map[string]any{"wait": 2e9, "trace_id": trace}),
			line("DEBUG", 3, 200, map[string]any{"waited": 0.0, "duration": 0.0}),
		}
		if diff := cmp.Diff(want, log.lines(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestARenewedTokenIsLogged(t *testing.T) {
	t.Parallel()
	var log journal
	source := &tokens{list: []string{testToken + "1", testToken + "2"}}
	client := with(t, source, plays(answer(401, testdata(t, "error_401.json")), answer(200, queued)), log.option(slog.LevelWarn))
	if _, err := client.Get(t.Context(), reloadID); err != nil {
		t.Fatal(err)
	}
	silent(t, "the log", log.String())
	want := []map[string]any{{
		"level": "WARN", "operation": "get", "path": "/api/v1/reloads/" + reloadID, "attempt": 1.0, "status": 401.0,
		"trace_id": "000000000000000012d5b0c7a5f1e2d3",
	}}
	if diff := cmp.Diff(want, log.lines(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Neither what was sent nor what came back is logged, whatever goes wrong.
func TestLogsHaveNoBodies(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]outcome{
		"gateway's page": answer(502, "<html>secret-page</html>", "Content-Type", "text/html"), "no JSON": answer(200, "secret-page"),
		"lost": fails(errReset), "success": answer(200, `{"id":"1","log":"secret-page"}`), "echo": answer(404, testToken),
	} {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				var log journal
				err := e.call(t.Context(), scriptedClient(t, plays(o), log.option(slog.LevelDebug), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 1})))
				silent(t, name+" of "+e.name+": the log", log.String(), "secret-page")
				if log.Len() == 0 {
					t.Errorf("%s of %s: nothing is logged; %v", name, e.name, err)
				}
			})
		}
	}
}

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
