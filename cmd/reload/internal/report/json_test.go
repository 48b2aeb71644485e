package report

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	var got jsonBatch
	if err := json.Unmarshal([]byte(write(t, "json", night())), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || got.Seconds != 723 || !got.Began.Equal(began) || !got.Ended.Equal(at(723)) || len(got.Steps) != 12 {
		t.Errorf("version %d, %v s from %v to %v, %d steps", got.Version, got.Seconds, got.Began, got.Ended, len(got.Steps))
	}
	if diff := cmp.Diff([]string{"extract erp", "orders", "sales"}, got.CriticalPath); diff != "" || got.SlowestStep != "sales" {
		t.Errorf("slowest step %q, critical path %s", got.SlowestStep, diff)
	}
	sales := got.Steps[8]
	want := jsonStep{
		Name: "sales", App: step("sales").App, After: []string{"customers", "orders"}, Status: "succeeded", Critical: true, Runs: 1,
		Ready: at(242), Ended: at(723), Blocked: 242, Held: 0.4, Queued: 79.6, Ran: 400, Log: []string{},
		Reloads: []jsonReload{{ID: "r8", Status: "SUCCEEDED", CreationTime: at(242.4), StartTime: at(322), EndTime: at(722)}},
	}
	if diff := cmp.Diff(want, sales); diff != "" {
		t.Error(diff)
	}
}

// The names in the package documentation are the names in the code.
func TestTheDocumentationOfTheJSON(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("report.go")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(source), "\npackage ")
	documented := map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^//\t(\S.*?)(  +|$)`).FindAllStringSubmatch(text, -1) {
		for _, name := range strings.Split(line[1], ", ") {
			documented[name] = true
		}
	}
	names := map[string]bool{}
	for _, v := range []any{jsonBatch{}, jsonStep{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			names[name] = true
		}
	}
	if diff := cmp.Diff(names, documented); diff != "" {
		t.Errorf("(-code +documentation):\n%s", diff)
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[jsonReload]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !strings.Contains(text, name) {
			t.Errorf("the documentation does not name %s", name)
		}
	}
}

func TestJSONOfHostileTexts(t *testing.T) {
	t.Parallel()
	out := write(t, "json", hostile())
	if strings.ContainsAny(out, "\x00\x1b") || !json.Valid([]byte(out)) {
		t.Error("the JSON has control characters, or is invalid")
	}
}
