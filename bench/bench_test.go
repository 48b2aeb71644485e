package main

import (
	"bytes"
	"go/version"
	"io"
	"os"
	"path/filepath"
	"runtime"
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
				team := startWorkers(r.workers)
				defer team.stop()
				for b.Loop() {
					if err := team.call(b.Context(), r, c, 1); err != nil {
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
		if _, ok := c.client.(limit); ok {
			continue // decodes nothing
		}
		id, err := c.get(t.Context(), recordID)
		if err != nil || id != recordID {
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

// The command writes a table of each kind of cost for the present version of Go, with all tasks.
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	begin := "<!-- " + version.Lang(runtime.Version()) + " -->\n"
	if err := os.WriteFile(file, []byte("before\n"+begin+"old\n<!-- end -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	untargeted := slices.Clone(rows)
	for i := range untargeted {
		untargeted[i].targets = cost{}
	}
	if err := run(t.Context(), []string{"-rounds", "1", "-slice", "1us", "-write", file}, untargeted, io.Discard); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(written)
	if strings.Contains(text, "old") || !strings.HasPrefix(text, "before\n"+begin) || !strings.HasSuffix(text, "<!-- end -->\nafter\n") {
		t.Errorf("the tables replaced the wrong text:\n%s", text)
	}
	want := strings.Count(text, " of | net/http + encoding/json |")
	for _, r := range rows {
		if n := strings.Count(text, "| "+r.name+" |"); n != want || n < 3 {
			t.Errorf("%s is in %d tables, want %d:\n%s", r.name, n, want, text)
		}
	}
}

// A target that all rounds miss is an error.
func TestRunMissesATarget(t *testing.T) {
	strict := rows[0]
	strict.targets = targets(0, 0, 0.01)
	var out bytes.Buffer
	err := run(t.Context(), []string{"-rounds", "1", "-slice", "1us"}, []row{strict}, &out)
	if err == nil || !strings.HasPrefix(err.Error(), "allocations of Get: ") || !strings.Contains(out.String(), "0.01, missed") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		low, median, target float64
		want                string
		ok                  bool
	}{
		{0.4, 0.454, 0.45, "0.45, met", true},
		{0.477, 0.5, 0.45, "0.45, within the margin", true},
		{0.478, 0.48, 0.45, "0.45, missed", false},
		{7, 7, 0, "", true},
	} {
		if got, ok := judge(quartiles{c.low, c.median, 9}, c.target); got != c.want || ok != c.ok {
			t.Errorf("%+v: %q, %v", c, got, ok)
		}
	}
	if got := quartilesOf([]cost{{5}, {1}, {4}, {2}, {3}}, 0); got != (quartiles{2, 3, 4}) {
		t.Errorf("the quartiles are %v", got)
	}
}
