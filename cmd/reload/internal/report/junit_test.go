package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joshdk/go-junit"

	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
)

// parse reads a report as a CI server does.
func parse(t *testing.T, b *batch.Batch) junit.Suite {
	t.Helper()
	suites, err := junit.Ingest([]byte(write(t, "xml", b)))
	if err != nil {
		t.Fatal(err)
	}
	if len(suites) != 1 {
		t.Fatalf("%d suites, want 1", len(suites))
	}
	return suites[0]
}

func TestJUnit(t *testing.T) {
	t.Parallel()
	suite := parse(t, night())
	want := junit.Totals{Tests: 12, Passed: 8, Failed: 1, Skipped: 3}
	suite.Aggregate()
	suite.Totals.Duration = 0 // Aggregate sums the tests up, which overlap
	if diff := cmp.Diff(want, suite.Totals); diff != "" {
		t.Error(diff)
	}
	sales, sessions, marketing := suite.Tests[8], suite.Tests[6], suite.Tests[9]
	if sales.Name != "sales" || sales.Status != junit.StatusPassed || sales.Duration != 479600*time.Millisecond {
		t.Errorf("%s %s in %v, want sales passed in 7m59.6s", sales.Name, sales.Status, sales.Duration)
	}
	if want := step("sales").App; !strings.Contains(sales.SystemOut, want) || !strings.Contains(sales.SystemOut, "r8 SUCCEEDED") {
		t.Errorf("the output %q does not name the app %s or the reload", sales.SystemOut, want)
	}
	if sessions.Status != junit.StatusFailed || sessions.Message != "EngineConnectionError: failed to complete reload: unexpected EOF" {
		t.Errorf("sessions %s: %s", sessions.Status, sessions.Message)
	}
	var failure junit.Error
	if !errors.As(sessions.Error, &failure) || failure.Type != "FAILED" || !strings.HasSuffix(failure.Body, "Connector reply error: timeout\n2026-11-24 02:04:49 Execution Failed") {
		t.Errorf("the failure is %#v, want the last lines of the log", sessions.Error)
	}
	if marketing.Status != junit.StatusSkipped || marketing.Message != "sessions did not succeed" {
		t.Errorf("marketing %s: %s", marketing.Status, marketing.Message)
	}
}

func TestJUnitOfAnInterruptedBatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		batch *batch.Batch
		want  map[string]junit.Status
	}{
		{interruptedNight(), map[string]junit.Status{
			"found": "passed", "running": "error", "queued": "error", "refused": "error", "canceled": "failed", "later": "skipped"}},
		{inProgress(), map[string]junit.Status{"waiting": "skipped", "queued": "error", "running": "error", "blocked": "skipped"}},
	} {
		got := map[string]junit.Status{}
		for _, c := range parse(t, test.batch).Tests {
			got[c.Name] = c.Status
			if c.Status != junit.StatusPassed && c.Message == "" {
				t.Errorf("%s has no message", c.Name)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// The schema of Jenkins demands these attributes and this order of elements, and allows no others.
func TestTheStructureOfJUnit(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{
		"testsuites": {"name", "tests", "failures", "errors", "time"},
		"testsuite":  {"name", "tests", "failures", "errors", "time", "skipped", "timestamp"},
		"testcase":   {"name", "classname", "time"},
		"skipped":    {"message", "type"}, "error": {"message", "type"}, "failure": {"message", "type"},
		"system-out": nil,
	}
	for name, b := range map[string]*batch.Batch{
		"night": night(), "interrupted": interruptedNight(), "in progress": inProgress(), "hostile": hostile(), "empty": empty(),
	} {
		out := write(t, "xml", b)
		if !strings.HasPrefix(out, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<testsuites ") {
			t.Errorf("%s begins with %.60q", name, out)
		}
		for d := xml.NewDecoder(strings.NewReader(out)); ; {
			token, err := d.Token()
			if token == nil {
				if err.Error() != "EOF" {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			element, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			var names []string
			for _, a := range element.Attr {
				names = append(names, a.Name.Local)
				if a.Name.Local == "time" && !strings.Contains(a.Value, ".") {
					t.Errorf("%s: the time %q is not in seconds", name, a.Value)
				}
				if a.Name.Local == "timestamp" {
					if _, err := time.Parse("2006-01-02T15:04:05", a.Value); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			if want, known := allowed[element.Name.Local]; !known || fmt.Sprint(names) != fmt.Sprint(want) {
				t.Errorf("%s: %s has the attributes %q, want %q", name, element.Name.Local, names, want)
			}
		}
	}
}

func TestJUnitReplacesWhatXMLForbids(t *testing.T) {
	t.Parallel()
	out := write(t, "xml", hostile())
	if i := strings.IndexAny(out, "\x00\x1b\u202e\uFFFE"); i >= 0 || strings.Contains(out, "<script>") {
		t.Errorf("a text is not escaped: %q", out[max(0, i-20):i+20])
	}
	if got := parse(t, hostile()).Tests[0].Name; !strings.HasPrefix(got, "a<script>alert(1)</script>\uFFFD[2J\uFFFD\uFFFDgnp.exe") {
		t.Errorf("the name is %q", got)
	}
}
