package main

import (
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
	took    map[string]time.Duration // the CPU time of each test
}

// test runs tests. It returns their output, how much CPU time they took, and whether they succeeded.
func (b *binary) test(timeout time.Duration, env []string, args ...string) (out string, took time.Duration, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout+10*time.Second) // the binary ends itself before
	defer cancel()
	args = append([]string{"-test.short", "-test.failfast", "-test.paniconexit0", "-test.timeout", timeout.String()}, args...)
	cmd := exec.CommandContext(ctx, b.path, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = b.dir, append(os.Environ(), env...), time.Second
	all, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil {
		took = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return string(all), took, err == nil
}

var isTest = regexp.MustCompile(`(?m)^(Test|Example|Fuzz)\S*$`)

// trace runs each test without a mutant, and notes which mutants it reaches.
func (b *binary) trace(parallel int) error {
	list, _, ok := b.test(time.Minute, nil, "-test.list", ".")
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
	out, took, ok := "", time.Duration(0), false
	for try := 0; !ok && try < 3; try++ { // a machine that is too busy for a test must not end the whole run
		out, took, ok = b.test(10*time.Minute, []string{"MUTANT_TRACE=" + file}, "-test.run", "^"+name+"$")
	}
	if !ok {
		return fmt.Errorf("%s fails without a mutant:\n%s", name, out)
	}
	trace, _ := os.ReadFile(file) // a missing file is empty
	b.mu.Lock()
	defer b.mu.Unlock()
	b.took[name] = took
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
		// A loop without an end uses CPU time. Wall time says little on a busy machine.
		env := []string{fmt.Sprint("MUTANT=", id), fmt.Sprint("MUTANT_CPU=", 2*time.Second+4*sum)}
		if _, _, ok := b.test(20*time.Second+10*sum, env, "-test.run", "^("+strings.Join(tests[:n], "|")+")$"); !ok {
			return ""
		}
		tests = tests[n:]
	}
	return "survives"
}
