package planfile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

// app returns a step without predecessors.
func app(id string, line int) Step {
	return Step{Name: id, Request: reloads.Request{AppID: id}, Line: line}
}

const fullPlan = `# yaml-language-server: $schema=plan.schema.json
max-active: 4
rerun: 1
once: nightly {{date}}
attach: false
after-pending: true
cancel-on-abort: true
step-timeout: 90m
timeout: 9h30m
steps:
  - name: extract
    app: 116dbfae-7fb9-4983-8e23-5ccd8c508722
  - name: sales and stock
    app: 2f0a
    after: [extract]
    partial: true
    weight: 10
    variables:
      vRegion: EU
      vYear: 2026
      vStore: 007
      vDate: 2026-11-24
      vHex: 0x1F
      vFloat: 1.50
      vBool: yes
      vTrue: True
      vEmpty: ""
      vNull: "null"
      vText: |
        two
        lines
      12: a name that is a number
`

func TestGoodPlans(t *testing.T) {
	t.Parallel()
	full := &Plan{
		MaxActive: 4, Rerun: 1, Once: "nightly {{date}}", AfterPending: true, CancelOnAbort: true,
		StepTimeout: 90 * time.Minute, Timeout: 9*time.Hour + 30*time.Minute,
		Steps: []Step{
			{Name: "extract", Request: reloads.Request{AppID: "116dbfae-7fb9-4983-8e23-5ccd8c508722"}, Line: 11},
			{
				Name: "sales and stock", After: []int{0}, Line: 13,
				Request: reloads.Request{AppID: "2f0a", Partial: true, Weight: 10, Variables: map[string]string{
					"vRegion": "EU", "vYear": "2026", "vStore": "007", "vDate": "2026-11-24", "vHex": "0x1F", "vFloat": "1.50",
					"vBool": "yes", "vTrue": "True", "vEmpty": "", "vNull": "null", "vText": "two\nlines\n", "12": "a name that is a number",
				}},
			},
		},
	}
	for name, c := range map[string]struct {
		text string
		want *Plan
	}{
		"full":       {fullPlan, full},
		"CRLF":       {strings.ReplaceAll(fullPlan, "\n", "\r\n"), full},
		"BOM":        {"\uFEFF" + fullPlan, full},
		"document":   {"---\nsteps: [{app: a}]\n...\n", &Plan{Steps: []Step{app("a", 2)}}},
		"attach":     {"attach: true\nafter-pending: false\nsteps: [{app: a}]", &Plan{Attach: true, Steps: []Step{app("a", 3)}}},
		"zeros":      {"timeout: 0s\nmax-active: 0\nsteps: [{app: a, after: [], weight: 0}]", &Plan{Steps: []Step{app("a", 3)}}},
		"whole":      {"max-active: 4.0\nrerun: 1e1\nsteps: [{app: a}]", &Plan{MaxActive: 4, Rerun: 10, Steps: []Step{app("a", 3)}}},
		"JSON":       {`{"rerun": 2, "steps": [{"app": "a", "partial": false}]}`, &Plan{Rerun: 2, Steps: []Step{app("a", 1)}}},
		"quoted":     {"steps:\n- app: '12'\n- app: b\n  after: ['12']\n", &Plan{Steps: []Step{app("12", 2), {Name: "b", Request: reloads.Request{AppID: "b"}, After: []int{0}, Line: 3}}}},
		"plain list": {"# apps of the night: all\r\na\r\n\r\n  b # the second\r\na\r\n12\r\n#c\r\nd#e", &Plan{Steps: []Step{app("a", 2), app("b", 4), app("12", 6), app("d#e", 8)}}},
		"list":       {"\uFEFF- a\n- b\n- a\n- 'c'\n", &Plan{Steps: []Step{app("a", 1), app("b", 2), app("c", 4)}}},
		"JSON list":  {`["a", "b"]`, &Plan{Steps: []Step{app("a", 1), app("b", 1)}}},
	} {
		got, err := Parse("plan.yaml", []byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	got, err := List([]string{"b", "a", "b"})
	if diff := cmp.Diff(&Plan{Steps: []Step{app("b", 0), app("a", 0)}}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, id := range []string{"", "a b", "a\u202eb"} {
		if got, err := List([]string{"a", id}); err == nil {
			t.Errorf("%q: %+v", id, got)
		}
	}
}

// What Key accepts and what the schema accepts are the same.
func TestKey(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 23, 59, 0, 0, time.FixedZone("", 2*3600))
	for once, want := range map[string]string{ // "" is refused
		"nightly":                   "nightly",
		"nightly {{date}}":          "nightly 2026-11-24",
		"{{date}}{{date}}":          "2026-11-242026-11-24",
		"{{{date}}}":                "{2026-11-24}",
		"{{date}}{":                 "2026-11-24{",
		"{date}":                    "{date}",
		"a{":                        "a{",
		"nächtlich {{date}}":        "nächtlich 2026-11-24",
		"{{time}}":                  "",
		"{{ date }}":                "",
		"{{Date}}":                  "",
		"{{":                        "",
		"{{{{date}}":                "",
		"{{date}} {{":               "",
		"{{{date}}{{":               "",
		"nightly {{date}} {{shift}": "",
		"":                          "",
		"a\nb":                      "",
		"a\u0085b":                  "",
	} {
		got, err := Key(once, now)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", once, got, err)
		}
		p, err := Parse("plan.yaml", fmt.Appendf(nil, "once: %q\nsteps: [{app: a}]", once))
		if (err != nil) != (want == "") || err == nil && p.Once != once {
			t.Errorf("%s: the schema says %v", once, err)
		}
	}
	if _, err := Key("{{time}}", now); err == nil || err.Error() != `once must be a key without control characters, in which {{date}} is the only {{…}}, got "{{time}}"` {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		fullPlan, "a\nb\n", "- a\n- b", `{"steps":[{"app":"a"}]}`, "steps: [{app: a, after: [b]}, {app: b}]",
		"steps: [{app: a, after: [b]}, {app: b, after: [a]}]", "steps: [{<<: *a}]", "a: &a [*a]", "? [a]\n: b", "!!int x: 1", "",
		"steps: [{app: a, weight: .inf}]", "max-active: 0o17\nsteps: [{app: a}]", "timeout: 1.5h3ms\nsteps: [{app: a}]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("plan.yaml", text)
		if err != nil {
			if p != nil || !strings.HasPrefix(err.Error(), "plan.yaml:") || strings.Contains(err.Error(), "cannot be decoded") {
				t.Fatalf("%v, %q", p, err)
			}
			return
		}
		names := map[string]bool{}
		for i, s := range p.Steps {
			if s.Name == "" || names[s.Name] || s.Request.AppID == "" || s.Line < 1 {
				t.Fatalf("step %d: %+v", i, s)
			}
			names[s.Name] = true
			for _, predecessor := range s.After {
				if predecessor < 0 || predecessor >= i {
					t.Fatalf("step %d starts after step %d", i, predecessor)
				}
			}
		}
		if len(p.Steps) == 0 || p.MaxActive < 0 || p.Rerun < 0 || p.StepTimeout < 0 || p.Timeout < 0 || p.Attach && p.AfterPending {
			t.Fatalf("%+v", p)
		}
		if _, err := Key(p.Once, time.Time{}); p.Once != "" && err != nil {
			t.Fatal(err)
		}
	})
}
