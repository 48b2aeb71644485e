package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// fullPipe returns a pipe whose reader has stopped reading.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	if err := w.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(make([]byte, 10<<20)); err == nil || n == 0 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	return w
}

// A run does not wait for the reader of its progress: neither when it is to end, nor at its end.
func TestARunWhoseProgressIsNotRead(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"plain", "json", "auto"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			tenant := yearlyTenant()
			tenant.AddApp("bad", reloadstest.App{Outcome: reloads.StatusFailed})
			_, env := serve(t, tenant)
			file := filepath.Join(t.TempDir(), "night.json")
			cmd := command(t, env, "run", "bad", "yearly", "--progress", mode, "--timeout", "4s", "--json", file)
			cmd.Stderr = fullPipe(t)
			var stdout strings.Builder
			cmd.Stdout = &stdout
			if r := newResult(t, cmd.Run(), &stdout, &strings.Builder{}); r.status != statusTimedOut || !strings.Contains(r.stdout, "STOPPED WAITING") && !strings.Contains(r.stdout, "QUEUED") {
				t.Errorf("%+v", r)
			}
			if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), `"aborted"`) {
				t.Errorf("%v: %s", err, text)
			}
		})
	}
}
