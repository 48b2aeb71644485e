package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// binary is the test binary of a package with all its mutants.
type binary struct {
	path, dir, work string

	mu      sync.Mutex
	reached map[int][]string         // the tests that reach a mutant
	took    map[string]time.Duration // by test
}

// test runs tests. It returns their output and whether they succeed.
func (b *binary) test(timeout time.Duration, env string, args ...string) (string, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout+10*time.Second) // the binary ends itself before
	defer cancel()
	args = append([]string{"-test.short", "-test.failfast", "-test.paniconexit0", "-test.timeout", timeout.String()}, args...)
	cmd := exec.CommandContext(ctx, b.path, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = b.dir, append(os.Environ(), env), time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err == nil
}

var isTest = regexp.MustCompile(`(?m)^(Test|Example|Fuzz)\S*$`)

// trace runs each test without a mutant, and notes which mutants it reaches.
func (b *binary) trace(parallel int) error {
	list, ok := b.test(time.Minute, "MUTANT=0", "-test.list", ".")
	tests := isTest.FindAllString(list, -1)
	if !ok || tests == nil {
		return fmt.Errorf("there are no tests:\n%s", list)
	}
	failures := make([]error, len(tests))
	each(parallel, len(tests), func(i int) { failures[i] = b.traceTest(tests[i]) })
	return errors.Join(failures...)
}

func (b *binary) traceTest(name string) error {
	file := filepath.Join(b.work, name)
	began := time.Now()
	out, ok := b.test(10*time.Minute, "MUTANT_TRACE="+file, "-test.run", "^"+name+"$")
	if !ok {
		return fmt.Errorf("%s fails without a mutant:\n%s", name, out)
	}
	trace, _ := os.ReadFile(file) // a missing file is empty
	b.mu.Lock()
	defer b.mu.Unlock()
	b.took[name] = time.Since(began)
	for _, line := range strings.Fields(string(trace)) {
		id, _ := strconv.Atoi(line)
		b.reached[id] = append(b.reached[id], name)
	}
	return nil
}

// survives returns how a mutant survives, or "" if it is killed. The fast tests run first.
func (b *binary) survives(id int) string {
	tests := b.reached[id]
	if len(tests) == 0 {
		return "not reached"
	}
	slices.SortFunc(tests, func(x, y string) int { return int(b.took[x] - b.took[y]) })
	for budget := time.Second; len(tests) > 0; budget = time.Hour {
		var sum time.Duration
		n := 0
		for n < len(tests) && sum <= budget {
			sum += b.took[tests[n]]
			n++
		}
		if _, ok := b.test(5*time.Second+5*sum, fmt.Sprint("MUTANT=", id), "-test.run", "^("+strings.Join(tests[:n], "|")+")$"); !ok {
			return ""
		}
		tests = tests[n:]
	}
	return "survives"
}
