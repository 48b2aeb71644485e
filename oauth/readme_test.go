package oauth_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The code in README.md is the code of the examples, which are compiled and run.
func TestReadmeCodeIsInTheExamples(t *testing.T) {
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
	if len(blocks) < 2 {
		t.Errorf("the README has %d code blocks, want at least 2", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(unindent(string(examples)), unindent(block[1])) {
			t.Errorf("no example contains this code of the README:\n%s", block[1])
		}
	}
}
