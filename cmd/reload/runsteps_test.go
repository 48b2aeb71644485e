package main

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/planfile"
	"github.com/reloads-go/reloads/cmd/reload/internal/progress"
	"github.com/reloads-go/reloads/reloadstest"
)

// The changes of a reload count for its own step, also if another step with an equal request comes before it in the plan.
func TestStepsWithEqualRequests(t *testing.T) {
	t.Parallel()
	plan, err := planfile.Parse("plan.yaml", []byte(`rerun: 1
steps:
  - app: p
  - {name: a, app: x, after: [p]}
  - {name: b, app: x}
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, delay := range map[string]time.Duration{"ready while the other runs": 0, "ready before the other is triggered": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tenant := newFakeTenantOf(plan)
				tenant.AddApp("x", reloadstest.App{QueueFor: 30 * time.Second, RunFor: 30 * time.Second, Outcome: reloads.StatusFailed})
				late := roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPost {
						body, _ := io.ReadAll(r.Body)
						r.Body = io.NopCloser(bytes.NewReader(body))
						if bytes.Contains(body, []byte(`"x"`)) {
							time.Sleep(delay)
						}
					}
					return tenant.RoundTrip(r)
				})
				record := batch.New("", time.Now(), steps(plan))
				record.Rerun = plan.Rerun
				r := &runner{app: &app{}, plan: plan, progress: progress.None}
				client := tenant.NewClient(reloads.WithHTTPClient(&http.Client{Transport: late}))
				if err := r.track(t.Context(), client, record, &clock{}); err != nil {
					t.Error(err)
				}
				var got []string // the steps of the reloads of x
				for _, reload := range tenant.Reloads() {
					for i := range record.Steps {
						s := &record.Steps[i]
						if s.App == "x" && slices.ContainsFunc(s.Reloads, func(r *reloads.Reload) bool { return r.ID == reload.ID }) {
							got = append(got, s.Name)
						}
					}
				}
				if diff := cmp.Diff([]string{"b", "b", "a", "a"}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ahead, want time.Duration }{{0, 0}, {900 * time.Millisecond, 0}, {-time.Second, 0}, {time.Hour, time.Hour}, {-3 * time.Minute, -3 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			var k clock
			transport := k.observe(roundTripper(func(r *http.Request) (*http.Response, error) {
				time.Sleep(70 * time.Millisecond)
				return &http.Response{Header: http.Header{"Date": {time.Now().Add(-c.ahead).UTC().Format(http.TimeFormat)}}, Body: http.NoBody}, nil
			}))
			for range 20 {
				if _, err := transport.RoundTrip(nil); err != nil { //nolint:bodyclose // http.NoBody
					t.Fatal(err)
				}
			}
			if got := k.offset(); (got - c.want).Abs() > 200*time.Millisecond {
				t.Errorf("ahead by %v: %v, want %v", c.ahead, got, c.want)
			}
		})
	}
}
