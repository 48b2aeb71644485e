package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

func TestOutputsOfRunThatFail(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--report", "/dev/full"}, {"--junit", "/dev/full"}, {"--json", "/dev/full"}, {"--report", "-"}, {"--json", "-"}, {"--junit", "-"}, {"-q"}, {}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := command(t, nil, append([]string{"run", "--fake", "sales"}, args...)...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		r := newResult(t, cmd.Run(), &bytes.Buffer{}, &stderr)
		full.Close()
		if r.status == statusOK || !strings.Contains(r.stderr, "no space left") {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

// entries returns the names of the files in a directory.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// A report replaces a file when it is complete. Until then, the file is as it was, and no other file is beside it.
func TestReportsReplaceFiles(t *testing.T) {
	t.Parallel()
	tenant := yearlyTenant()
	_, env := serve(t, tenant)
	dir := t.TempDir()
	file, link, target := filepath.Join(dir, "night.json"), filepath.Join(dir, "night.html"), filepath.Join(dir, "target.html")
	old := strings.Repeat("old ", 10_000)
	for _, name := range []string{file, target} {
		if err := os.WriteFile(name, []byte(old), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	p := start(t, env, "run", "yearly", "--cancel-on-abort", "--progress", "plain", "--json", file, "--report", link, "--junit", filepath.Join(dir, "night.xml"))
	line, err := p.lines.ReadString('\n') // the reload is queued
	if text, failed := os.ReadFile(file); err != nil || failed != nil || string(text) != old {
		t.Errorf("%q: %v, %v: %.20s", line, err, failed, text)
	}
	if diff := cmp.Diff([]string{"night.html", "night.json", "target.html"}, entries(t, dir)); diff != "" {
		t.Errorf("during the run (-want +got):\n%s", diff)
	}
	p.signal(os.Interrupt)
	if r := p.wait(); r.status != statusInterrupted {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff([]string{"night.html", "night.json", "night.xml", "target.html"}, entries(t, dir)); diff != "" {
		t.Errorf("after the run (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(file); err != nil || !json.Valid(text) {
		t.Errorf("%v: %s", err, text)
	}
	if text, err := os.ReadFile(target); err != nil || !bytes.HasSuffix(text, []byte("</html>\n")) {
		t.Errorf("%v: %.100s", err, text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
}

// /dev/stdout is the same as -, so that the table does not overwrite the report.
func TestAReportToStandardOutput(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "night.json")
	stdout, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	cmd := command(t, nil, "run", "--fake", "sales", "--json", "/dev/stdout")
	cmd.Stdout = stdout
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(file); err != nil || !json.Valid(text) {
		t.Errorf("%v: %s", err, text)
	}
}

// As in reload run 2>&1 | tee night.log, of which a Ctrl-C ends tee first.
func TestARunWhoseOutputsAreClosed(t *testing.T) {
	t.Parallel()
	tenant := yearlyTenant()
	_, env := serve(t, tenant)
	file := filepath.Join(t.TempDir(), "night.json")
	cmd := command(t, env, "run", "yearly", "--cancel-on-abort", "--progress", "json", "--json", file)
	cmd.Stdout = closedPipe(t)
	events, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(events, make([]byte, len(`{"time":`))); err != nil { // the reload is active
		t.Fatal(err)
	}
	_ = events.Close()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := newResult(t, cmd.Wait(), &bytes.Buffer{}, &bytes.Buffer{}); r.status != statusInterrupted {
		t.Errorf("status %d", r.status)
	}
	if status := tenant.Reloads()[0].Status; status != reloads.StatusCanceled {
		t.Errorf("the reload is %s", status)
	}
	if text, err := os.ReadFile(file); err != nil || !json.Valid(text) {
		t.Errorf("the report: %v: %s", err, text)
	}
}

// A run whose progress cannot be written goes on. The exit status tells it.
func TestProgressThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"plain", "json"} {
		cmd := command(t, nil, "run", "--fake", "sales", "--progress", mode)
		var stdout bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, full(t)
		if r := newResult(t, cmd.Run(), &stdout, &bytes.Buffer{}); r.status != statusFailed || !strings.Contains(r.stdout, "1 succeeded") {
			t.Errorf("%s: %+v", mode, r)
		}
	}
}

func TestTimesInUTC(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--utc"}, {}} {
		r := run(t, []string{"TZ=Asia/Tokyo"}, append([]string{"run", "--fake", "sales", "--json", "-"}, args...)...)
		if r.status != statusOK || strings.Contains(r.stdout, "+09:00") != (len(args) == 0) {
			t.Errorf("%q: %+v", args, r)
		}
	}
}
