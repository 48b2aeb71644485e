package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

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

// No command waits for the reader of its standard error, and the log of the client does not delay a cancel.
func TestACommandWhoseStandardErrorIsNotRead(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct {
		status  int
		signal  bool
		reloads reloads.Status
	}{
		"create --appId yearly --wait --cancel-on-abort --timeout 2s --verbose": {statusTimedOut, false, reloads.StatusCanceled},
		"create --appId yearly --wait --cancel-on-abort":                        {statusTerminated, true, reloads.StatusCanceled},
		"wait 0123456789abcdef01234567 --timeout 2s":                            {statusTimedOut, false, reloads.StatusReloading},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			tenant := yearlyTenant()
			if strings.HasPrefix(line, "wait") {
				tenant.AddReload(reloads.Reload{ID: "0123456789abcdef01234567", AppID: "yearly", Status: reloads.StatusReloading})
			}
			_, env := serve(t, tenant)
			cmd := command(t, env, strings.Fields(line)...)
			cmd.Stderr = fullPipe(t)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if want.signal {
				for len(tenant.Reloads()) == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				_ = cmd.Process.Signal(syscall.SIGTERM)
			}
			r := newResult(t, cmd.Wait(), &strings.Builder{}, &strings.Builder{})
			if rs := tenant.Reloads(); r.status != want.status || len(rs) != 1 || rs[0].Status != want.reloads {
				t.Errorf("status %d and %+v", r.status, rs)
			}
		})
	}
}

// On a terminal, nothing erases the results, which follow the live view.
func TestTheResultsOfARunOnATerminal(t *testing.T) {
	t.Parallel()
	for range 3 {
		tenant := yearlyTenant()
		tenant.AddApp("sales", reloadstest.App{RunFor: time.Second})
		_, env := serve(t, tenant)
		cmd := command(t, append(env, "NO_COLOR=1", "GOMAXPROCS=1"), "run", "sales")
		terminal, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		screen, _ := io.ReadAll(terminal) // on Linux, the end is an EIO error
		_ = terminal.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		_, results, ok := strings.Cut(string(screen), "STEP") // the head of the table
		if !ok || strings.Contains(results, "\x1b") || !strings.Contains(results, "1 step in ") {
			t.Errorf("%q", screen)
		}
	}
}
