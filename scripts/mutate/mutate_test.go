package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSample(t *testing.T) {
	p, err := load("testdata/sample")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range p.mutants {
		if !m.equivalent {
			found = append(found, m.String())
		}
	}
	if diff := cmp.Diff([]string{
		"sample.go:7 Sum: n < limit && n != 0 → (n < limit) || (n != 0)",
		"sample.go:7 Sum: n < limit → n <= limit",
		"sample.go:7 Sum: n < limit → n >= limit",
		"sample.go:7 Sum: 0 → 1",
		"sample.go:8 Sum: sum += n → (removed)",
		"sample.go:8 Sum: sum += n → sum -= n",
		"sample.go:11 Sum: return sum → return 0",
		"sample.go:16 Count: n < limit → n <= limit",
		"sample.go:16 Count: n < limit → n >= limit",
		"sample.go:17 Count: n++ → (removed)",
		"sample.go:19 Count: return n → return 0",
		"sample.go:23 Untested: true → false",
	}, found); diff != "" {
		t.Errorf("mutants (-want +got):\n%s", diff)
	}
	if testing.Short() {
		return // no compilation
	}
	results, err := p.run(sample(p.mutants, "", 0, 1), 2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"survives: sample.go:7 Sum: n < limit → n <= limit",
		"not reached: sample.go:23 Untested: true → false",
	}, results); diff != "" {
		t.Errorf("survivors (-want +got):\n%s", diff)
	}
}

func TestSampleOfMutants(t *testing.T) {
	var mutants []*mutant
	for i := range 100 {
		mutants = append(mutants, &mutant{id: i, equivalent: i%2 == 0, before: fmt.Sprint(i)})
	}
	a, b := sample(mutants, "", 10, 1), sample(mutants, "", 10, 2)
	if len(a) != 10 || cmp.Equal(ids(a), ids(b)) || !cmp.Equal(ids(a), ids(sample(mutants, "", 10, 1))) {
		t.Errorf("%v, %v", ids(a), ids(b))
	}
	more := slices.Concat(mutants, []*mutant{{id: 100, before: "new"}})
	if c := ids(sample(more, "", 10, 1)); len(c) != 10 || !slices.Contains(c, ids(a)[1]) || !slices.IsSorted(c) {
		t.Errorf("with one more mutant: %v, want nearly %v", c, ids(a))
	}
	if got := ids(sample(mutants, "", 0, 1)); len(got) != 50 {
		t.Errorf("%v", got)
	}
}

func ids(mutants []*mutant) (ids []int) {
	for _, m := range mutants {
		ids = append(ids, m.id)
	}
	return ids
}

func TestListOfEquivalentMutants(t *testing.T) {
	for text, want := range map[string]string{
		"# comment\n\na.go f: x → y\n\treason\n": "",
		"a.go f: x → y":                          "the reason is missing",
		"a.go f: x → z\n\treason":                "there is no such mutant",
	} {
		p := &pkg{dir: t.TempDir(), mutants: []*mutant{{file: "a.go", where: "f", before: "x", after: "y"}}}
		if err := os.Mkdir(filepath.Join(p.dir, "testdata"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, "testdata", "equivalent_mutants.txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := p.markEquivalent()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || p.mutants[0].equivalent != (want == "") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
