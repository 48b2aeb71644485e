package main

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/planfile"
)

func TestFinder(t *testing.T) {
	t.Parallel()
	plan, err := planfile.Parse("plan.yaml", []byte(`steps:
  - {name: last, app: a, after: [other]}
  - {name: first, app: a}
  - {name: other, app: b}
  - {name: partial, app: a, partial: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	b := batch.New("", time.Now(), steps(plan))
	f := newFinder(plan, b)
	name := func(req reloads.Request) string {
		if i := f.step(req); i >= 0 {
			return b.Steps[i].Name
		}
		return ""
	}
	finish := func(name string) {
		i := slices.IndexFunc(b.Steps, func(s batch.Step) bool { return s.Name == name })
		b.Finish(reloads.Result{Step: reloads.Step(i)}, time.Now())
	}
	got := []string{name(reloads.Request{AppID: "a", ResourceID: "of Once"}), name(reloads.Request{AppID: "a", Partial: true}), name(reloads.Request{AppID: "c"})}
	finish("first")
	got = append(got, name(reloads.Request{AppID: "a"}))
	finish("other")
	got = append(got, name(reloads.Request{AppID: "a"}))
	if diff := cmp.Diff([]string{"first", "partial", "", "", "last"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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
