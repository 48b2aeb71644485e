package main

import (
	"bytes"
	"encoding/xml"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// These tests run the commands in docs/command.md and docs/ci.md.

const docs = "../../docs"

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docs, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns the code blocks of a page in the given language.
func blocks(t *testing.T, page, language string) (found []string) {
	t.Helper()
	for _, match := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)\n```").FindAllStringSubmatch(readDoc(t, page), -1) {
		found = append(found, match[1])
	}
	if len(found) == 0 {
		t.Fatalf("%s has no code in the language %q", page, language)
	}
	return found
}

// planApps returns the apps of the steps in docs/nightly.yaml.
func planApps(t *testing.T) (apps []string) {
	t.Helper()
	var plan struct {
		Steps []struct{ App string }
	}
	if err := yaml.Unmarshal([]byte(readDoc(t, "nightly.yaml")), &plan); err != nil {
		t.Fatal(err)
	}
	for _, step := range plan.Steps {
		apps = append(apps, step.App)
	}
	return apps
}

// workDir returns a directory with the files that the documented commands read.
func workDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "docs"), 0o700); err != nil {
		t.Fatal(err)
	}
	plan := readDoc(t, "nightly.yaml")
	for name, text := range map[string]string{
		"apps.txt": "sales\nboard\n", "nightly.yaml": plan, "docs/nightly.yaml": plan,
		"api-key": reloadstest.DefaultToken, ".qlik-api-key": reloadstest.DefaultToken,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serveNight serves a fake tenant with the apps of docs/nightly.yaml, and returns the variables that select it.
func serveNight(t *testing.T) (tenant *reloadstest.Tenant, env []string) {
	t.Helper()
	tenant = reloadstest.NewTenant()
	for _, app := range planApps(t) {
		tenant.AddApp(app, reloadstest.App{})
	}
	server := httptest.NewServer(tenant)
	t.Cleanup(server.Close)
	return tenant, []string{"QLIK_TENANT_URL=" + server.URL, "QLIK_API_KEY=" + tenant.Token()}
}

// shell runs a command line in dir, where the reload command is in the PATH, and checks its exit status.
func shell(t *testing.T, dir, line string, status int, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-ec", line)
	cmd.Dir = dir
	path := filepath.Dir(binary) + string(os.PathListSeparator) + os.Getenv("PATH")
	cmd.Env = slices.Concat(environment, []string{"HOME=" + dir, "PATH=" + path, "NO_COLOR=1"}, env)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if r := newResult(t, cmd.Run(), &stdout, &stderr); r.status != status {
		t.Fatalf("%s\nexit status %d, want %d\nstdout: %s\nstderr: %s", line, r.status, status, r.stdout, r.stderr)
	}
}

// Each command is run with --fake, as the page says that a reader can do.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	commands := 0
	for _, block := range blocks(t, "command.md", "sh") {
		for line := range strings.Lines(block) {
			line, comment, _ := strings.Cut(strings.TrimSpace(line), "  # exit status ")
			status, err := strconv.Atoi(comment)
			if err != nil && comment != "" {
				t.Errorf("%s: %v", line, err)
			}
			if !regexp.MustCompile(`(^|\| )reload `).MatchString(line) {
				t.Errorf("not a reload command: %s", line)
			}
			commands++
			t.Run("", func(t *testing.T) {
				t.Parallel()
				dir := workDir(t)
				shell(t, dir, `reload() { command reload --fake "$@"; }; `+line, status)
				checkReports(t, dir, line)
			})
		}
	}
	if commands < 15 {
		t.Errorf("docs/command.md has %d commands", commands)
	}
}

// The section "Try it" says what happens when its command is run again: only the failed step is reloaded.
func TestDocumentedTrial(t *testing.T) {
	t.Parallel()
	tenant, env := serveNight(t)
	tenant.AddApp("web-model-fails", reloadstest.App{Outcome: reloads.StatusFailed})
	line, _, _ := strings.Cut(blocks(t, "command.md", "sh")[0], "  # ")
	want := map[string]int{"web-model-fails": 4} // it is reloaded twice each time, because the plan sets rerun to 1
	for _, app := range planApps(t) {
		if !slices.Contains([]string{"web-model", "campaigns", "board"}, app) {
			want[app] = 1
		}
	}
	for range 2 {
		shell(t, workDir(t), line, statusFailed, env...)
	}
	got := map[string]int{}
	for _, r := range tenant.Reloads() {
		got[r.AppID]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reloads by app (-want +got):\n%s", diff)
	}
}

// checkReports checks that the reports that a run writes to files are there.
func checkReports(t *testing.T, dir, line string) {
	t.Helper()
	for _, match := range regexp.MustCompile(`--(report|junit|json) (night\.\S+)`).FindAllStringSubmatch(line, -1) {
		text, err := os.ReadFile(filepath.Join(dir, match[2]))
		if err != nil || len(text) == 0 {
			t.Errorf("%s\n%s was not written: %v", line, match[2], err)
		}
		var tests struct{}
		if err := xml.Unmarshal(text, &tests); match[1] == "junit" && err != nil {
			t.Errorf("%s\n%s: %v", line, match[2], err)
		}
	}
}

// docs/command.md shows the plan as it is in the file, and a tenant that has its apps.
func TestDocumentedPlan(t *testing.T) {
	t.Parallel()
	plan := readDoc(t, "nightly.yaml")
	if got := blocks(t, "command.md", "yaml"); len(got) != 1 || got[0]+"\n" != plan {
		t.Error("docs/command.md does not show docs/nightly.yaml as it is")
	}
	schema := regexp.MustCompile(`^# yaml-language-server: \$schema=(\S+)\n`).FindStringSubmatch(plan)
	if schema == nil {
		t.Fatal("the first line of docs/nightly.yaml does not name the schema")
	}
	if _, err := os.Stat(filepath.Join(docs, schema[1])); err != nil {
		t.Error(err)
	}
	apps := strings.Join(planApps(t), " ")
	if want := "\ngo run ./examples/tenant " + apps + " web-model-fails\n"; !strings.Contains(readDoc(t, "command.md"), want) {
		t.Errorf("docs/command.md does not contain the line %s", want)
	}
}

// The table of exit statuses in docs/command.md is that of the code.
func TestDocumentedExitStatuses(t *testing.T) {
	t.Parallel()
	var got []int
	for _, match := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(readDoc(t, "command.md"), -1) {
		status, _ := strconv.Atoi(match[1])
		got = append(got, status)
	}
	want := []int{statusOK, statusFailed, statusUsage, statusRefused, statusUnreachable, statusTimedOut, statusInterrupted, 128 + 15}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The tables of the members of the progress and of the JSON report name those of the code.
func TestDocumentedMembers(t *testing.T) {
	t.Parallel()
	names := func(text, pattern string) (names []string) {
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			names = append(names, match[1])
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	for section, file := range map[string]string{"Watch it": "progress/event.go", "Read the report": "report/json.go"} {
		source, err := os.ReadFile(filepath.Join("internal", file))
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(readDoc(t, "command.md"), "\n## "+section+"\n")
		text, _, _ = strings.Cut(text, "\n## ")
		_, table, _ := strings.Cut(text, "\n| member | meaning |\n")
		var firsts []string
		for line := range strings.Lines(table) {
			if cells := strings.Split(line, " | "); len(cells) > 1 {
				firsts = append(firsts, cells[0])
			}
		}
		if diff := cmp.Diff(names(string(source), `json:"(\w+)`), names(strings.Join(firsts, "\n"), "`(\\w+)`")); diff != "" {
			t.Errorf("%s (-%s +documentation):\n%s", section, file, diff)
		}
	}
}

// The plan in the README is valid.
func TestReadmePlan(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	plan := filepath.Join(dir, "plan.yaml")
	if err := os.WriteFile(plan, []byte(blocks(t, "../README.md", "yaml")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	shell(t, dir, "reload run --fake --dry-run -f plan.yaml", 0)
}
