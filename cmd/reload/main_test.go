package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

// These tests build the command and run it as a process.

var update = flag.Bool("update", false, "write the golden files")

var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "reload")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "reload")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// secret is part of every token in the tests. It must not appear in any output.
const secret = "test-token-"

// command returns the command with the given environment and an empty home directory.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "TERM=xterm"}, env...)
	return cmd
}

// result is the output and the exit status of a command.
type result struct {
	stdout, stderr string
	status         int
}

// run runs the command and waits until it exits.
func run(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := command(t, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	return newResult(t, cmd.Run(), &stdout, &stderr)
}

// newResult returns the result of a command from the error of its Run or Wait method.
func newResult(t *testing.T, err error, stdout, stderr fmt.Stringer) result {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	if exit != nil {
		r.status = exit.ExitCode()
	}
	if strings.Contains(r.stdout+r.stderr, secret) {
		t.Errorf("the output contains a token:\n%s%s", r.stdout, r.stderr)
	}
	return r
}

// replacements replace the parts of an output that differ between runs.
var replacements = []struct {
	pattern *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`\b\d+s ago( ?) *`), "Ns ago$1"},
	{regexp.MustCompile(`(?m)^ +\d+\.\ds  (\w)`), "    N.Ns  $1"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`), "TIME"},
	{regexp.MustCompile(`next=[\w%=-]+`), "next=CURSOR"},
}

// golden compares the transcript of a command with testdata/name.golden.
func golden(t *testing.T, name string, r result, args ...string) {
	t.Helper()
	got := fmt.Sprintf("$ reload %s\n%s-- stderr\n%s-- status %d\n", strings.Join(args, " "), r.stdout, r.stderr, r.status)
	for _, r := range replacements {
		got = r.pattern.ReplaceAllString(got, r.replace)
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got; go test -update accepts it):\n%s", diff)
	}
}

const fakeFailed = "5be59decca62aa0000000005"

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"ls":              {"ls", "--filter", `type eq "chronos"`, "--limit", "12"},
		"ls-log":          {"ls", "--appId", "sales", "--log", "--utc"},
		"ls-json":         {"ls", "--appId", "stock", "--limit", "2", "--json"},
		"ls-quiet":        {"ls", "--appId", "stock", "--all", "-q"},
		"ls-all":          {"ls", "--appId", "stock", "--all", "--limit", "1"},
		"ls-more":         {"ls", "--appId", "stock", "--limit", "2", "--sort", "+creationTime"},
		"ls-raw":          {"ls", "--appId", "stock", "--limit", "1", "--raw"},
		"ls-partial":      {"ls", "--appId", "stock", "--partial", "--json"},
		"get":             {"get", fakeFailed},
		"get-json":        {"get", fakeFailed, "--json"},
		"get-raw":         {"get", fakeFailed, "--raw"},
		"get-unknown":     {"get", "nothing"},
		"create":          {"create", "--appId", "sales", "--partial", "--weight", "7", "--variables", "vFrom=1,vTo=2"},
		"create-quiet":    {"create", "--appId", "sales", "-q"},
		"create-quota":    {"create", "--appId", "often"},
		"create-unknown":  {"create", "--appId", "nothing"},
		"create-pending":  {"create", "--appId", "forecast"},
		"create-wait":     {"create", "--appId", "sales", "--wait", "-q"},
		"cancel":          {"cancel", fakeLong},
		"cancel-json":     {"cancel", fakeLong, "--json"},
		"cancel-finished": {"cancel", fakeFailed},
		"wait":            {"wait", fakeFailed, fakeShort, "5be59decca62aa0000000001"},
		"watch-json":      {"watch", fakeFailed, "--json"},
		"log":             {"log", fakeFailed},
		"log-raw":         {"log", "5be59decca62aa0000000001", "--raw"},
		"log-tail":        {"log", "5be59decca62aa0000000001", "--tail", "1"},
		"log-none":        {"log", fakeLong},
		"log-follow":      {"log", fakeShort, "--follow", "--tail", "3"},
		"help":            {"--help"},
		"help-create":     {"create", "--help"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--fake"}, args...)
			golden(t, name, run(t, nil, args...), args...)
		})
	}
}

// The statuses during the reload are removed here, because a slow machine may miss one. TestTheProgress tests them.
func TestCreateAndWait(t *testing.T) {
	t.Parallel()
	for name, app := range map[string]string{"succeeded": "sales", "failed": "stock"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"--fake", "create", "--appId", app, "--wait"}
			r := run(t, nil, args...)
			r.stderr = regexp.MustCompile(`(?m)^ +\d+\.\ds  \w+\n`).ReplaceAllString(r.stderr, "")
			golden(t, "create-wait-"+name, r, args...)
		})
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"nonsense"}, `unknown command "nonsense"`},
		{[]string{"--fake", "ls", "--nonsense"}, "--nonsense"},
		{[]string{"--fake", "ls", "extra"}, "extra"},
		{[]string{"--fake", "ls", "--limit", "101"}, "must be 1 to 100"},
		{[]string{"--fake", "ls", "--next", "a", "--prev", "b"}, "next prev"},
		{[]string{"--fake", "ls", "--json", "--quiet"}, "only one of"},
		{[]string{"--fake", "create"}, `"appId"`},
		{[]string{"--fake", "create", "--appId", "a", "--attach"}, "require --wait"},
		{[]string{"--fake", "create", "--appId", "a", "--weight", "11"}, "must be 1 to 10"},
		{[]string{"--fake", "create", "--appId", "a", "--variables", secret}, "must be k=v"},
		{[]string{"--fake", "get"}, "accepts 1 arg"},
		{[]string{"--fake", "get", ".."}, `".."`},
		{[]string{"--fake", "wait"}, "at least 1 arg"},
		{[]string{"--fake", "wait", ""}, "a reload ID is empty"},
		{[]string{"--fake", "log", "x", "--tail", "-1"}, "--tail"},
		{[]string{"--fake", "ls", "--timeout", "-1s"}, "--timeout"},
		{[]string{"--fake", "--server", "https://x.example.com", "ls"}, "fake"},
		{[]string{"ls"}, "QLIK_TENANT_URL is not set"},
		{[]string{"ls", "--server", "http://tenant.example.com", "--api-key-file", "testdata/ls.golden"}, "loopback"},
		{[]string{"ls", "--server", "https://tenant.example.com", "--api-key-file", "testdata/ls.golden"}, "token"},
		{[]string{"ls", "--server", "https://tenant.example.com"}, "QLIK_API_KEY is not set"},
		{[]string{"ls", "--server", "https://tenant.example.com", "--api-key-file", "does/not/exist"}, "does/not/exist"},
	} {
		if r := run(t, nil, c.args...); r.status != statusUsage || r.stdout != "" || !strings.Contains(r.stderr, c.says) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%q: status %d, stdout %q, stderr %q, want 2 and a line with %q", c.args, r.status, r.stdout, r.stderr, c.says)
		}
	}
}

func TestExitStatuses(t *testing.T) {
	t.Parallel()
	failed := &reloads.ReloadError{Reload: &reloads.Reload{Status: reloads.StatusFailed}}
	refused := &reloads.Error{StatusCode: http.StatusBadRequest}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, statusOK}, {failed, statusFailed}, {fmt.Errorf("%w; %w", failed, io.EOF), statusFailed},
		{usagef("x"), statusUsage}, {reloads.ErrBadRequest, statusUsage},
		{refused, statusRefused}, {&reportedError{refused}, statusRefused},
		{io.ErrUnexpectedEOF, statusUnreachable}, {errors.New("no route to host"), statusUnreachable},
		{context.DeadlineExceeded, statusTimedOut}, {fmt.Errorf("%w: %w", refused, context.DeadlineExceeded), statusTimedOut},
		{context.Canceled, statusInterrupted},
	} {
		if got := exitStatus(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for shell, mark := range map[string]string{"bash": "complete -o default -F __start_reload reload", "zsh": "#compdef reload", "fish": "complete -c reload"} {
		r := run(t, nil, "completion", shell)
		if r.status != 0 || !strings.Contains(r.stdout, mark) || !strings.Contains(r.stdout, "__complete") {
			t.Errorf("%s: status %d, %d bytes without %q", shell, r.status, len(r.stdout), mark)
		}
	}
	// The completion scripts call the hidden command __complete.
	for command, want := range map[string][]string{
		"":       {"ls", "create", "get", "cancel", "wait", "watch", "log", "completion"},
		"create": {"--wait", "--attach", "--cancel-on-abort", "--variables", "--timeout"},
	} {
		args := []string{"__complete", ""}
		if command != "" {
			args = []string{"__complete", command, "--appId", "x", "--"}
		}
		r := run(t, nil, args...)
		for _, word := range want {
			if !strings.Contains(r.stdout, word+"\t") {
				t.Errorf("%q is not offered after %q:\n%s", word, command, r.stdout)
			}
		}
	}
}
