package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

func testColumns(tb testing.TB) []column {
	tb.Helper()
	s, err := newServer()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.close)
	cols, err := columns(s.url())
	if err != nil {
		tb.Fatal(err)
	}
	return cols
}

// Benchmark measures every task with every client, for benchstat.
func Benchmark(b *testing.B) {
	cols := testColumns(b)
	for _, r := range rows {
		for _, c := range cols {
			b.Run(strings.ReplaceAll(r.name, " ", "_")+"/"+strings.ReplaceAll(c.name, " ", "_"), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := r.call(b.Context(), c); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// All clients get the same results from the server, for every task.
func TestColumnsAgree(t *testing.T) {
	for _, c := range testColumns(t) {
		id, err := c.get(t.Context(), recordID)
		if err != nil || id != "5be59decca62aa0000000000" {
			t.Errorf("%s: get: %q, %v", c.name, id, err)
		}
		for _, long := range []bool{false, true} {
			n, log, err := c.list(t.Context(), long)
			want := strings.ReplaceAll(shortLog(99), `\n`, "\n")
			if long {
				want = strings.Repeat(want, 100)
			}
			if diff := cmp.Diff(want, log); n != 100 || err != nil || diff != "" {
				t.Errorf("%s: list: %d, %v (-want +got):\n%s", c.name, n, err, diff)
			}
		}
		if n, err := c.iterate(t.Context(), 12); n != 1200 || err != nil {
			t.Errorf("%s: iterate: %d, %v", c.name, n, err)
		}
		if code, err := c.fail(t.Context()); code != "RELOADS-004" || err != nil {
			t.Errorf("%s: fail: %q, %v", c.name, code, err)
		}
	}
}

// The record of the server has no field that reloads.Reload does not know. The clients therefore decode the same
// fields.
func TestTheFloorDecodesWhatWeDo(t *testing.T) {
	var r reloads.Reload
	if err := r.UnmarshalJSON([]byte(recordJSON(1, shortLog(1)))); err != nil || r.Extra != nil || r.Weight != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// The command prints a ratio for every task and client.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	short := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.name == "iterate 100,000" }) // takes too long
	if err := run(t.Context(), []string{"-rounds", "1", "-time", "1ms"}, short, &out); err != nil {
		t.Fatal(err)
	}
	for _, r := range short {
		if n := strings.Count(out.String(), "| "+r.name+" |"); n != 3 {
			t.Errorf("%s is in %d tables, want 3:\n%s", r.name, n, &out)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		ratio, target float64
		want          string
	}{{0.449, 0.45, "0.45, met"}, {0.454, 0.45, "0.45, met"}, {0.456, 0.45, "0.45, not met"}, {7, 0, ""}} {
		if got := verdict(c.ratio, c.target); got != c.want {
			t.Errorf("%v of %v: %q", c.ratio, c.target, got)
		}
	}
	if got := medians([]cost{{5, 1, 9}, {1, 1, 1}, {4, 2, 8}, {2, 3, 7}, {3, 3, 6}}); got != (cost{3, 2, 7}) {
		t.Errorf("the medians are %v", got)
	}
}
