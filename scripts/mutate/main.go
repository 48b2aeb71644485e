// Command mutate changes the code of a package in small ways, and reports which of these mutants the tests of the package
// do not notice. Run it in the root directory, for one or more package directories of any module:
//
//	go run ./scripts/mutate oauth                # all mutants
//	go run ./scripts/mutate -n 200 -seed 1 .     # a sample of 200
//	go run ./scripts/mutate -file feed.go .      # the mutants of one file
//
// All mutants of a package are compiled into one test binary; an environment variable activates one of them. First, each
// test runs alone and reports which mutants it reaches. Then each mutant runs with the tests that reach it. A mutant is
// killed if a test fails, does not end, or uses too much memory or CPU time. The command needs an operating system like Unix.
//
// The file testdata/equivalent_mutants.txt of a package lists mutants that no test can notice, each with the reason. They
// are not run. An entry that matches no mutant is an error.
//
// The exit status is 1 if fewer than -min percent of the mutants of a package are killed.
package main

import (
	"cmp"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

func main() {
	number := flag.Int("n", 0, "run a sample of so many mutants of each package (0: all)")
	seed := flag.Uint64("seed", 1, "seed of the sample")
	file := flag.String("file", "", "only mutants of this file")
	percent := flag.Float64("min", 95, "fail if fewer mutants are killed, in percent")
	parallel := flag.Int("p", 4*runtime.NumCPU(), "so many mutants run at the same time; many of them only wait")
	list := flag.Bool("list", false, "list the mutants, run nothing")
	flag.Parse()
	status := 0
	for _, dir := range flag.Args() {
		ratio, err := mutate(dir, *file, *number, *seed, *parallel, *list)
		if err != nil {
			fmt.Fprintf(os.Stderr, "mutate: %s: %v\n", dir, err)
			os.Exit(2)
		}
		if ratio < *percent {
			status = 1
		}
	}
	os.Exit(status)
}

// mutate prints the survivors of a package. It returns how many mutants are killed, in percent.
func mutate(dir, file string, number int, seed uint64, parallel int, list bool) (float64, error) {
	p, err := load(dir)
	if err != nil {
		return 0, err
	}
	mutants := sample(p.mutants, file, number, seed)
	if list {
		for _, m := range mutants {
			fmt.Println(m)
		}
		return 100, nil
	}
	survivors, err := p.run(mutants, parallel)
	if err != nil {
		return 0, err
	}
	for _, s := range survivors {
		fmt.Println(s)
	}
	killed := len(mutants) - len(survivors)
	ratio := 100 * float64(killed) / float64(max(len(mutants), 1))
	fmt.Printf("%s: %d of %d mutants killed (%.1f %%)\n", dir, killed, len(mutants), ratio)
	return ratio, nil
}

// sample returns n mutants, in the order of the code. The choice depends on the text of each mutant, so that a change of the
// code changes only a small part of the sample.
func sample(mutants []*mutant, file string, n int, seed uint64) []*mutant {
	mutants = slices.DeleteFunc(slices.Clone(mutants), func(m *mutant) bool {
		return m.equivalent || file != "" && m.file != file
	})
	if n > 0 && n < len(mutants) {
		rank := func(m *mutant) string {
			sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, m.text()))
			return string(sum[:])
		}
		slices.SortFunc(mutants, func(a, b *mutant) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.id, b.id)) })
		mutants = mutants[:n]
		slices.SortFunc(mutants, func(a, b *mutant) int { return cmp.Compare(a.id, b.id) })
	}
	return mutants
}

// run returns a line for each mutant that survives.
func (p *pkg) run(mutants []*mutant, parallel int) (survivors []string, err error) {
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	b, err := p.build(work)
	if err != nil {
		return nil, err
	}
	if err := b.trace(parallel); err != nil {
		return nil, err
	}
	results := make([]string, len(mutants))
	each(parallel, len(mutants), func(i int) {
		if how := b.survives(mutants[i].id); how != "" {
			results[i] = fmt.Sprintf("%s: %v", how, mutants[i])
		}
	})
	return slices.DeleteFunc(results, func(s string) bool { return s == "" }), nil
}

// each calls f(0) … f(n-1) in so many goroutines.
func each(parallel, n int, f func(int)) {
	next := make(chan int)
	var running sync.WaitGroup
	for range parallel {
		running.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	running.Wait()
}

// markEquivalent marks the mutants that are listed in the file. An entry is the text of a mutant, without the line number,
// and the reason in the indented lines after it.
func (p *pkg) markEquivalent() error {
	name := filepath.Join(p.dir, "testdata", "equivalent_mutants.txt")
	text, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil
	}
	entries := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, entry := range entries {
		if entry == "" || strings.ContainsAny(entry[:1], "#\t") {
			continue
		}
		if i+1 == len(entries) || !strings.HasPrefix(entries[i+1], "\t") {
			return fmt.Errorf("%s: the reason is missing: %s", name, entry)
		}
		found := false
		for _, m := range p.mutants {
			if m.text() == entry {
				m.equivalent, found = true, true
			}
		}
		if !found {
			return fmt.Errorf("%s: there is no such mutant: %s", name, entry)
		}
	}
	return err
}
