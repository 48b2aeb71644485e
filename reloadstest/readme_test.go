package reloadstest_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// All Go code in the README is part of the Examples and tests in example_test.go, which are compiled and run.
func TestTheReadmesCodeIsThatOfTheExamples(t *testing.T) {
	t.Parallel()
	unindent := func(text string) string { return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(text, "") }
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) < 4 {
		t.Errorf("the README has %d code blocks, want at least 4", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(unindent(string(examples)), unindent(block[1])) {
			t.Errorf("example_test.go does not contain this code of the README:\n%s", block[1])
		}
	}
}
