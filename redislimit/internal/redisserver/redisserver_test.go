package redisserver

import (
	"strings"
	"testing"
)

// Two servers that chose the same port must not be taken for one another.
func TestThePortOfAnotherServer(t *testing.T) {
	t.Parallel()
	first, err := Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(first.Stop)
	second := &Server{Addr: first.Addr, path: first.path, args: []string{"--dir", t.TempDir(), "--save", ""}}
	if err := second.Restart(); err == nil || !strings.Contains(err.Error(), "another server responds") {
		t.Errorf("got %v, want an error that says that another server responds", err)
	}
}
