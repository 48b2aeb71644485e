package planfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// manyLines returns format for each number from 0 to n-1.
func manyLines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestWrongSteps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"unknown step": {`
rerun: 1
steps:
  - name: extract
    app: a
  - name: sales
    app: b
    after: [extrct, extract]
`, `8:13: step "sales": unknown step "extrct" in after; did you mean "extract"?`},
		"not similar": {`
steps:
- {name: extract, app: a}
- {name: b, app: b, after: [a]}
- app: c
  after:
  - exit
`, `4:29: step "b": unknown step "a" in after
7:5: step "c": unknown step "exit" in after`},
		"same name": {`
steps:
- {name: a, app: x}
- app: y
  name: a
- app: a
`, `5:9: step "a": the step in line 3 has this name, too
6:8: step "a": the step in line 3 has this name, too; give this step a name`},
		"itself": {`
steps:
- {app: a, after: [a]}
`, `3:20: step "a": a step must not wait for itself`},
		"two in a cycle": {`
steps:
- {app: a, after: [b]}
- app: b
  after: [a]
`, `5:11: step "b": the steps wait for each other: a → b → a`},
		"a cycle behind others": {`
steps:
- {app: first}
- {app: a, after: [first, b]}
- {app: b, after: [first, c]}
- {app: c, after: [first, a]}
- {app: last, after: [a]}
`, `6:27: step "c": the steps wait for each other: a → b → c → a`},
		"two cycles and an unknown step": {`
steps:
- {app: a, after: [b]}
- {app: b, after: [a]}
- {app: c, after: [d]}
- {app: d, after: [c, x]}
`, `4:20: step "b": the steps wait for each other: a → b → a
6:20: step "d": the steps wait for each other: c → d → c
6:23: step "d": unknown step "x" in after`},
	} {
		checkErrors(t, name, c.text, c.want)
	}
}

func TestALongCycleIsCut(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "- {app: s%d, after: [s%d]}\n", i, (i+1)%100)
	}
	checkErrors(t, "a cycle of 100", "steps:\n"+b.String(),
		`101:22: step "s99": the steps wait for each other: s0 → s1 → s2 → s3 → s4 → s5 → s6 → s7 → s8 → s9 → … → s0`)
}

func TestTheOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text  string
		names string
		after [][]int
	}{
		"of the file":      {"steps: [{app: a}, {app: b}, {app: c, after: [b, a]}, {app: d}]", "a b c d", [][]int{nil, nil, {1, 0}, nil}},
		"before its user":  {"steps: [{app: a, after: [c]}, {app: b}, {app: c}]", "c a b", [][]int{nil, {0}, nil}},
		"backwards":        {"steps: [{app: a, after: [b]}, {app: b, after: [c]}, {app: c}]", "c b a", [][]int{nil, {0}, {1}}},
		"a diamond":        {"steps: [{app: d, after: [b, c]}, {app: c, after: [a]}, {app: b, after: [a]}, {app: a}]", "a b c d", [][]int{nil, {0}, {0}, {1, 2}}},
		"by name, not app": {"steps: [{name: b, app: a}, {name: a, app: b, after: [b]}]", "b a", [][]int{nil, {0}}},
	} {
		p, err := Parse("plan.yaml", []byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var names []string
		var after [][]int
		for _, s := range p.Steps {
			names, after = append(names, s.Name), append(after, s.After)
		}
		if diff := cmp.Diff(c.names, strings.Join(names, " ")); diff != "" {
			t.Errorf("%s: names (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.after, after); diff != "" {
			t.Errorf("%s: after (-want +got):\n%s", name, diff)
		}
	}
}

// A plan may be long, and one chain.
func TestALongChain(t *testing.T) {
	t.Parallel()
	const n = 20_000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "- {app: s%d, after: [s%d]}\n", i, i+1)
	}
	fmt.Fprintf(&b, "- {app: s%d}\n", n)
	p, err := Parse("plan.yaml", []byte("steps:\n"+b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if first, last := p.Steps[0], p.Steps[n]; first.Line != n+2 || last.Line != 2 || last.After[0] != n-1 {
		t.Errorf("first %+v, last %+v", first, last)
	}
}
