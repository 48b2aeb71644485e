package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestOutputsOfRunThatFail(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("/dev/full is a device of Linux")
	}
	for _, args := range [][]string{{"--report", "/dev/full"}, {"--junit", "/dev/full"}, {"--json", "/dev/full"}, {"--report", "-"}, {"--json", "-"}, {"--junit", "-"}, {"-q"}, {}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := command(t, nil, append([]string{"run", "--fake", "sales"}, args...)...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		r := newResult(t, cmd.Run(), &bytes.Buffer{}, &stderr)
		_ = full.Close()
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

// A report replaces neither what the run reads nor another report, under whatever name.
func TestReportsThatWouldReplaceEachOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(path("home/.qlik"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"plan.yaml": "steps: [{app: sales}]\n", "key": secret + "x", "home/.qlik/contexts.yml": "{}"} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"link": "plan.yaml", "dir": ".", "later": "night.xml"} {
		if err := os.Symlink(target, path(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(path("plan.yaml"), path("hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("hard", path("soft")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--json", "soft"}, "--file and --json cannot both be soft"},
		{[]string{"--json", "home/.qlik/contexts.yml"}, "the contexts of qlik-cli and --json cannot both be home/.qlik/contexts.yml"},
		{[]string{"--json", "-"}, "--file and --json cannot both be standard output"},
		{[]string{"--json", "plan.yaml"}, "--file and --json cannot both be standard output"},
		{[]string{"-f", "-", "--json", "plan.yaml"}, "--file and --json cannot both be plan.yaml"},
		{[]string{"--report", "plan.yaml"}, "--file and --report cannot both be plan.yaml"},
		{[]string{"--junit", "./dir/plan.yaml"}, "--file and --junit cannot both be ./dir/plan.yaml"},
		{[]string{"--json", "link"}, "--file and --json cannot both be link"},
		{[]string{"--json", "key"}, "--api-key-file and --json cannot both be key"},
		{[]string{"--junit", "a", "--json", path("a")}, "--junit and --json cannot both be " + path("a")},
		{[]string{"--junit", "a", "--json", "dir/a"}, "--junit and --json cannot both be dir/a"},
		{[]string{"--report", "later", "--junit", "night.xml"}, "--report and --junit cannot both be night.xml"},
		{[]string{"--report", "night.xml", "--junit", "later"}, "--report and --junit cannot both be later"},
	} {
		cmd := command(t, []string{"HOME=" + path("home")}, append([]string{"run", "-f", "plan.yaml", "--server", "https://tenant.example.com", "--api-key-file", "key"}, c.args...)...)
		cmd.Dir = dir
		stream, err := os.OpenFile(path("plan.yaml"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = stream, &stderr
		if strings.HasSuffix(c.says, "standard output") {
			cmd.Stdout = stream
		}
		if r := newResult(t, cmd.Run(), &bytes.Buffer{}, &stderr); r.status != statusUsage || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%q: %+v, want %q", c.args, r, c.says)
		}
		_ = stream.Close()
	}
	if text, err := os.ReadFile(path("plan.yaml")); err != nil || string(text) != "steps: [{app: sales}]\n" {
		t.Errorf("%v: %s", err, text)
	}
}

// A FIFO is written if somebody reads it. Otherwise, the run does not wait.
func TestAReportToAFIFO(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "night.json")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	args := []string{"run", "--fake", "sales", "--json", fifo}
	if r := run(t, nil, args...); r.status != statusUsage || !strings.Contains(r.stderr, fifo) {
		t.Errorf("%+v", r)
	}
	reader, err := os.OpenFile(fifo, os.O_RDWR, 0) // a reader that is there before
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if r := run(t, nil, args...); r.status != statusOK {
		t.Errorf("%+v", r)
	}
	var report struct{ Version int }
	if err := json.NewDecoder(reader).Decode(&report); err != nil || report.Version != 1 {
		t.Errorf("%v, %+v", err, report)
	}
}

// floodingTenant is a tenant with an app whose reloads fail with a long message that could control a terminal.
func floodingTenant(t *testing.T) (env []string) {
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	tenant.AddApp("bad", reloadstest.App{Outcome: reloads.StatusFailed, ErrorMessage: "\u009b31m\u202e" + strings.Repeat("x", 100_000)})
	_, env = serve(t, tenant)
	return env
}

// On a terminal and in the progress, a long problem is cut.
func TestALongProblem(t *testing.T) {
	t.Parallel()
	env := floodingTenant(t)
	for _, mode := range []string{"auto", "plain"} {
		if r := run(t, env, "run", "bad", "--progress", mode); len(r.stderr) > 1000 || !strings.Contains(r.stderr, "xxx…\n") || len(r.stdout) < 100_000 {
			t.Errorf("%s: %d bytes on stdout, and on stderr: %.2000s", mode, len(r.stdout), r.stderr)
		}
	}
	cmd := command(t, env, "run", "bad")
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	screen, _ := io.ReadAll(terminal) // on Linux, the end is an EIO error
	if _ = cmd.Wait(); len(screen) > 20_000 || !bytes.Contains(screen, []byte("xxx…")) {
		t.Errorf("%d bytes: %.5000s", len(screen), screen)
	}
}

// JSON contains a long problem whole, and escapes what could control a terminal.
func TestAProblemInJSON(t *testing.T) {
	t.Parallel()
	r := run(t, floodingTenant(t), "run", "bad", "--json", "-", "--progress", "json")
	var report struct{ Steps []struct{ Error string } }
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || !strings.HasPrefix(report.Steps[0].Error, "\u009b31m\u202exxx") || len(report.Steps[0].Error) < 100_000 {
		t.Errorf("%v: %.1000s", err, r.stdout)
	}
	for _, text := range []string{r.stdout, r.stderr} {
		if strings.ContainsAny(text, "\u009b\u202e") || len(text) < 100_000 {
			t.Errorf("%.3000s", text)
		}
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
