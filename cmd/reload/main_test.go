package main

import (
	"bufio"
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
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads/reloadstest"
)

// These tests build the command and run it as a process. With the flag -test.gocoverdir, the processes write their coverage
// there, too.

var update = flag.Bool("update", false, "write the golden files")

var (
	binary      string
	environment []string // of every process, beside that of the test
)

func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("16") // most tests only wait for a process
	}
	dir, err := os.MkdirTemp("", "reload")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "reload")
	build := []string{"build", "-o", binary}
	if covered := flag.Lookup("test.gocoverdir").Value.String(); covered != "" {
		build = append(build, "-covermode="+testing.CoverMode(), "-coverpkg=./...")
		environment = []string{"GOCOVERDIR=" + covered}
	}
	if out, err := exec.Command("go", append(build, ".")...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// secret is part of every token in the tests. It must not appear in any output.
const secret = "test-token-"

// command returns the command with the given environment and an empty home directory. It is killed if it hangs.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = slices.Concat(environment, []string{"HOME=" + t.TempDir(), "TERM=xterm"}, env)
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

// process is a command in progress.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	lines          *bufio.Reader // of stderr
}

// start starts the command.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: command(t, env, args...)}
	p.cmd.Stdout = &p.stdout
	pipe, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewReader(io.TeeReader(pipe, &p.stderr))
	return p
}

// expect reads the next line of stderr, which must end with text.
func (p *process) expect(text string) {
	p.t.Helper()
	if line, err := p.lines.ReadString('\n'); err != nil || !strings.HasSuffix(line, text+"\n") {
		p.t.Fatalf("the next line of stderr is %q (%v), want %q", line, err, text)
	}
}

// signal sends a signal to the command.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits until the command exits.
func (p *process) wait() result {
	p.t.Helper()
	if _, err := io.Copy(io.Discard, p.lines); err != nil {
		p.t.Fatal(err)
	}
	return newResult(p.t, p.cmd.Wait(), &p.stdout, &p.stderr)
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

// Finished reloads of the fake tenant.
const (
	fakeSucceeded = "5be59decca62aa0000000001"
	fakeFailed    = "5be59decca62aa0000000005"
)

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"ls":              {"ls", "--filter", `type eq "chronos"`, "--limit", "12"},
		"ls-log":          {"ls", "--appId", "sales", "--log", "--utc"},
		"ls-json":         {"ls", "--appId", "stock", "--limit", "2", "--json"},
		"ls-quiet":        {"ls", "--appId", "stock", "--all", "-q"},
		"ls-all":          {"ls", "--appId", "stock", "--all"},
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
		"wait":            {"wait", fakeFailed},
		"wait-json":       {"wait", fakeSucceeded, "--json"},
		"wait-quiet":      {"wait", fakeSucceeded, "--quiet"},
		"wait-unknown":    {"wait", "nothing"},
		"watch":           {"watch", fakeFailed},
		"watch-quiet":     {"watch", fakeFailed, "--quiet"},
		"watch-json":      {"watch", fakeFailed, "--json"},
		"log":             {"log", fakeFailed},
		"log-raw":         {"log", fakeSucceeded, "--raw"},
		"log-tail":        {"log", fakeSucceeded, "--tail", "1"},
		"log-none":        {"log", fakeLong},
		"log-follow":      {"log", fakeShort, "--follow", "--tail", "3"},
		"log-failed":      {"log", fakeFailed, "--follow"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--fake"}, args...)
			golden(t, name, run(t, nil, args...), args...)
		})
	}
}

// Every help text is compared with a golden file, explains the exit statuses and fits 100 columns.
func TestHelp(t *testing.T) {
	t.Parallel()
	root := newRoot(&app{})
	root.InitDefaultCompletionCmd()
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			r := run(t, nil, args...)
			golden(t, strings.Join(append([]string{"help"}, args[:len(args)-1]...), "-"), r, args...)
			if !strings.HasSuffix(r.stdout, statusHelp) {
				t.Error("the exit statuses are missing")
			}
			for line := range strings.Lines(r.stdout) {
				if columns := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); columns > 100 {
					t.Errorf("the line has %d columns: %s", columns, line)
				}
			}
		})
		for _, child := range cmd.Commands() {
			visit(child)
		}
	}
	visit(root)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var agent string
	_, env := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { agent = r.UserAgent() }))
	r := run(t, env, "--version")
	name, version, _ := strings.Cut(strings.TrimSpace(r.stdout), " ")
	if r.status != statusOK || name != "reload" || !regexp.MustCompile(`^(devel|v\d\S+)$`).MatchString(version) {
		t.Errorf("%+v", r)
	}
	run(t, env, "get", "x", "--retry", "0")
	if !strings.HasPrefix(agent, "reload/"+version+" ") {
		t.Errorf("the User-Agent is %q, want the version %q", agent, version)
	}
}

func TestVerbose(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	_, env := serve(t, tenant)
	if r := run(t, env, "get", "x", "-v"); r.status != statusRefused || !strings.Contains(r.stderr, "operation=get path=/api/v1/reloads/x attempt=1 status=404") {
		t.Errorf("%+v", r) // run also checks that there is no token
	}
}
