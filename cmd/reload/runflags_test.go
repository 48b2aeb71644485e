package main

import (
	"strings"
	"testing"
)

// Flags of run that are wrong, conflict, or are not where cobra looks for them. A variable that is not set makes a value empty.
func TestWrongFlagsOfRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--json", "run", "sales", "stock"}, "put --json FILE after run"},
		{[]string{"--server", "https://x.example.com", "--json", "-v", "run", "sales", "stock"}, "put --json FILE after run"},
		{[]string{"--fake", "run", "sales", "--server", "https://x.example.com"}, "fake server"},
		{[]string{"--fake", "run", "sales", "--api-key-file", "does/not/exist"}, "api-key-file fake"},
		{[]string{"--fake", "run", "sales", "--context", "x"}, "context fake"},
		{[]string{"--fake", "run", "a", "--once", ""}, "once must be a key"},
		{[]string{"--fake", "run", "a", "--once", "a\nb"}, "once must be a key without control characters"},
		{[]string{"--fake", "run", "a", "--report", ""}, "the file of --report is empty"},
		{[]string{"--fake", "run", "a", "--junit="}, "the file of --junit is empty"},
		{[]string{"--fake", "run", "a", "--json", ""}, "the file of --json is empty"},
	} {
		if r := run(t, nil, c.args...); r.status != statusUsage || r.stdout != "" || !strings.Contains(r.stderr, c.says) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%q: %+v, want status 2 and a line with %q", c.args, r, c.says)
		}
	}
}
