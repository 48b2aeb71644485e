package reloads_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The README's code is that of the Examples, which are compiled and run.
func TestTheReadmesCodeIsThatOfTheExamples(t *testing.T) {
	t.Parallel()
	unindent := func(text string) string { return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(text, "") }
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples []byte
	for _, file := range []string{"example_test.go", "examples/minimal/main.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		examples = append(examples, text...)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) < 2 {
		t.Errorf("the README has %d blocks of code", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(unindent(string(examples)), unindent(block[1])) {
			t.Errorf("no Example has this code of the README:\n%s", block[1])
		}
	}
	if n := strings.Count(string(readme), "\n"); n > 160 {
		t.Errorf("the README has %d lines, want at most 160", n)
	}
}
