package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ciFile returns the file in docs/ci.md with the given name, which is in its first line.
func ciFile(t *testing.T, language, name string) string {
	t.Helper()
	for _, block := range blocks(t, "ci.md", language) {
		if strings.HasPrefix(block, "# "+name+"\n") {
			return block
		}
	}
	t.Fatalf("docs/ci.md has no file %s", name)
	return ""
}

// decodeStrict decodes YAML into v, which has all keys that are allowed.
func decodeStrict(t *testing.T, text string, v any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(v); err != nil {
		t.Fatal(err)
	}
}

// buildEnv returns the variables with which go builds as it does for the user who runs the test.
func buildEnv(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	values := strings.Split(string(out), "\n")
	return []string{"GOCACHE=" + values[0], "GOMODCACHE=" + values[1], "GOPROXY=" + values[2], "GOWORK="}
}

// checkout puts this repository into dir.
func checkout(t *testing.T, dir string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err == nil {
		err = os.Symlink(root, filepath.Join(dir, "reloads"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// githubWorkflow has the keys of the workflow for GitHub Actions.
type githubWorkflow struct {
	Name string
	On   struct {
		Schedule         []struct{ Cron string }
		WorkflowDispatch *struct{} `yaml:"workflow_dispatch"`
	}
	Permissions map[string]string
	Concurrency struct {
		Group            string
		CancelInProgress *bool `yaml:"cancel-in-progress"`
	}
	Jobs map[string]struct {
		RunsOn         string `yaml:"runs-on"`
		TimeoutMinutes int    `yaml:"timeout-minutes"`
		Steps          []githubStep
	}
}

type githubStep struct {
	Uses, If, Run string
	With, Env     map[string]string
}

func TestGitHubActions(t *testing.T) {
	t.Parallel()
	var workflow githubWorkflow
	decodeStrict(t, ciFile(t, "yaml", ".github/workflows/nightly.yml"), &workflow)
	job := workflow.Jobs["reload"]
	if workflow.Concurrency.Group == "" || job.RunsOn == "" || job.TimeoutMinutes <= 5*60 || job.TimeoutMinutes > 6*60 {
		t.Errorf("the workflow is %+v", workflow)
	}
	if len(workflow.On.Schedule) != 1 || !cronSchedule.MatchString(workflow.On.Schedule[0].Cron+" ") {
		t.Errorf("the schedule is %+v", workflow.On.Schedule)
	}
	dir := workDir(t)
	checkout(t, dir)
	_, env := serveNight(t)
	env = slices.Concat(env, buildEnv(t), []string{"RUNNER_TEMP=" + t.TempDir(), "GITHUB_RUN_ID=1"})
	commands := 0
	for _, step := range job.Steps {
		if (step.Uses == "") == (step.Run == "") {
			t.Errorf("a step must have either uses or run: %+v", step)
		}
		if step.Run != "" {
			shell(t, dir, step.Run, 0, env...)
			checkReports(t, dir, step.Run)
			commands++
		}
		for _, name := range strings.Fields(step.With["path"]) {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("a step uses a path that does not exist: %v", err)
			}
		}
	}
	if commands != 2 {
		t.Errorf("the job has %d commands", commands)
	}
}

// gitlabPipeline has the keys of the pipeline for GitLab CI.
type gitlabPipeline struct {
	Nightly struct {
		Image, Timeout string
		Rules          []struct{ If string }
		Interruptible  *bool
		ResourceGroup  string `yaml:"resource_group"`
		Variables      map[string]string
		BeforeScript   []string `yaml:"before_script"`
		Script         []string
		Artifacts      struct {
			When    string
			Paths   []string
			Reports struct{ JUnit string }
		}
	}
}

func TestGitLabCI(t *testing.T) {
	t.Parallel()
	var pipeline gitlabPipeline
	decodeStrict(t, ciFile(t, "yaml", ".gitlab-ci.yml"), &pipeline)
	job := pipeline.Nightly
	if job.Interruptible == nil || job.ResourceGroup == "" || job.Timeout != "5h 30m" || job.Artifacts.When != "always" || len(job.Rules) != 1 {
		t.Errorf("the job is %+v", job)
	}
	dir := workDir(t)
	checkout(t, dir)
	clone, build := job.BeforeScript[0], job.BeforeScript[1]
	if clone != `git clone --depth 1 "$RELOADS" /tmp/reloads` || job.Variables["RELOADS"] == "" || len(job.BeforeScript) != 2 {
		t.Errorf("the job is prepared by %q", job.BeforeScript)
	}
	shell(t, dir, strings.NewReplacer("/tmp/", dir+"/", "/usr/local/bin/", dir+"/").Replace(build), 0, buildEnv(t)...)
	_, env := serveNight(t)
	env = append(env, "CI_PIPELINE_ID=1")
	for _, line := range job.Script {
		shell(t, dir, strings.Replace(line, "reload run", "./reload run", 1), 0, env...)
		checkReports(t, dir, line)
	}
	for _, name := range append(job.Artifacts.Paths, job.Artifacts.Reports.JUnit) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("the job uploads a file that it does not write: %v", err)
		}
	}
}

// cronSchedule matches five fields of numbers, ranges, steps and lists.
var cronSchedule = regexp.MustCompile(`^(?:[0-9*][0-9*,/-]* +){5}`)

func TestCrontab(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("flock is a command of Linux")
	}
	_, env := serveNight(t)
	env = env[:1] // without the key, which is in a file
	commands := 0
	for line := range strings.Lines(ciFile(t, "crontab", "crontab -e")) {
		line = strings.TrimSpace(line)
		name, value, set := strings.Cut(line, "=")
		schedule := cronSchedule.FindString(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case schedule != "":
			commands++
			line = line[len(schedule):]
			if strings.Contains(line, "%") {
				t.Errorf("cron replaces %% by a newline: %s", line)
			}
			dir := workDir(t)
			shell(t, dir, line, 0, env...)
			checkReports(t, dir, line)
		case set && name == "QLIK_TENANT_URL": // replaced by the fake tenant
		case set && name == "PATH":
			env = append(env, "PATH="+filepath.Dir(binary)+":"+value) // where the reload command is installed
		default:
			t.Errorf("neither a variable nor a command with a schedule: %s", line)
		}
	}
	if commands != 1 {
		t.Errorf("the crontab has %d commands", commands)
	}
}

func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	const service, timer = "reload-nightly.service", "reload-nightly.timer"
	_, env := serveNight(t)
	replace := strings.NewReplacer("/usr/local/bin/reload", binary, "/etc/reload/", dir+"/",
		"QLIK_TENANT_URL=https://your-tenant.us.qlikcloud.com", env[0])
	for _, name := range []string{service, timer} {
		text := replace.Replace(ciFile(t, "ini", "/etc/systemd/system/"+name))
		for line := range strings.Lines(text) {
			if !regexp.MustCompile(`^(?:#.*|\[[A-Z][a-z]+\]|[A-Z][A-Za-z]+=\S.*|)\n?$`).MatchString(line) {
				t.Errorf("%s: %s", name, line)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verifyUnits(t, filepath.Join(dir, service), filepath.Join(dir, timer))

	text, err := os.ReadFile(filepath.Join(dir, service))
	if err != nil {
		t.Fatal(err)
	}
	value := func(key string) string {
		match := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindSubmatch(text)
		if match == nil {
			t.Fatalf("%s has no %s", service, key)
		}
		return string(match[1])
	}
	line := strings.ReplaceAll(value("ExecStart"), "%d/", dir+"/")
	shell(t, dir, line, 0, value("Environment"))
	checkReports(t, dir, line)
	if got := value("LoadCredential"); got != "api-key:"+dir+"/api-key" {
		t.Errorf("LoadCredential is %s", got)
	}
}

// The page says how to install what the units use.
func TestInstallationForSystemd(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	if err := errors.Join(os.Symlink(binary, filepath.Join(dir, "reload")), os.Mkdir(filepath.Join(dir, "bin"), 0o700)); err != nil {
		t.Fatal(err)
	}
	commands := 0
	for line := range strings.Lines(blocks(t, "ci.md", "sh")[0]) {
		if !strings.HasPrefix(line, "systemctl ") {
			shell(t, dir, strings.NewReplacer("/usr/local/", dir+"/", "/etc/", dir+"/etc/").Replace(line), 0)
			commands++
		}
	}
	for name, want := range map[string]os.FileMode{"bin/reload": 0o755, "etc/reload/nightly.yaml": 0o644, "etc/reload/api-key": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if commands != 3 {
		t.Errorf("the page has %d commands", commands)
	}
}

// verifyUnits checks units with systemd-analyze, if it is installed. It reports a misspelled key, but its exit status is 0 then.
func verifyUnits(t *testing.T, units ...string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("the units are not verified: ", err)
		return
	}
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"--man=no", "verify"}, units...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil || strings.Contains(out.String(), filepath.Dir(units[0])) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, &out)
	}
}
