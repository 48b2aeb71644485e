package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

const testKey = secret + "of-a-user"

// serve serves a tenant over HTTP. It returns its URL, and the environment variables with the URL and testKey.
func serve(t *testing.T, tenant http.Handler) (url string, env []string) {
	t.Helper()
	server := httptest.NewServer(tenant)
	t.Cleanup(server.Close)
	return server.URL, []string{"QLIK_TENANT_URL=" + server.URL, "QLIK_API_KEY=" + testKey}
}

// closedServer returns a URL whose port refuses connections. Nobody else can listen on it before the end of the test,
// because it is that of a socket that is connected to another one.
func closedServer(t *testing.T) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return "http://" + conn.LocalAddr().String()
}

func TestATenantOverHTTP(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	tenant.AddApp("sales", reloadstest.App{FullLog: "one\ntwo\n"})
	tenant.AddApp("yearly", reloadstest.App{QueueFor: time.Hour})
	_, env := serve(t, tenant)

	id := strings.TrimSpace(run(t, env, "create", "--appId", "sales", "--wait", "--quiet").stdout)
	if r := run(t, env, "get", id, "--quiet"); r.stdout != id+"\n" || r.status != statusOK {
		t.Errorf("get: %+v", r)
	}
	if r := run(t, env, "log", id); r.stdout != "one\ntwo\n" || r.status != statusOK {
		t.Errorf("log: %+v", r)
	}
	if r := run(t, env, "ls", "--appId", "sales", "-q"); r.stdout != id+"\n" || r.status != statusOK {
		t.Errorf("ls: %+v", r)
	}
	second := strings.TrimSpace(run(t, env, "create", "--appId", "sales", "--wait", "--quiet").stdout)
	r := run(t, env, "ls", "--appId", "sales", "--limit", "1")
	_, cursor, _ := strings.Cut(strings.TrimSuffix(r.stderr, "'\n"), "--next '")
	if !strings.Contains(r.stdout, second) || strings.Contains(r.stdout, id) {
		t.Errorf("the first page: %+v", r)
	}
	if r := run(t, env, "ls", "--next", cursor, "-q"); r.stdout != id+"\n" || r.status != statusOK {
		t.Errorf("the page after %q: %+v", cursor, r)
	}
	if r := run(t, env, "ls"); r.status != statusRefused || !strings.Contains(r.stderr, "HTTP-400") {
		t.Errorf("ls of the tenant: %+v, want a refusal", r)
	}
	long := strings.TrimSpace(run(t, env, "create", "--appId", "yearly", "--quiet").stdout)
	if r := run(t, env, "create", "--appId", "yearly", "--wait", "--attach", "--quiet", "--timeout", "2s"); r.stdout != long+"\n" || r.status != statusTimedOut {
		t.Errorf("attaching to %s: %+v", long, r)
	}
	if r := run(t, env, "cancel", long); r.status != statusOK || !strings.Contains(r.stdout, "CANCELED") {
		t.Errorf("cancel: %+v", r)
	}
	env[1] = "QLIK_API_KEY=" + secret + "that-is-wrong"
	if r := run(t, env, "get", id); r.status != statusRefused || !strings.Contains(r.stderr, "HTTP-401") {
		t.Errorf("a wrong key: %+v", r)
	}
}

func TestSigningInByOAuth2(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "client", Secret: secret + "of-a-client"})
	_, env := serve(t, tenant)
	env[1] = "QLIK_CLIENT_ID=client"
	if r := run(t, append(env, "QLIK_CLIENT_SECRET="+secret+"of-a-client"), "create", "--appId", "sales", "--wait"); r.status != statusOK {
		t.Errorf("%+v", r)
	}
	if r := run(t, append(env, "QLIK_CLIENT_SECRET="+secret+"that-is-wrong"), "ls"); r.status != statusRefused || !strings.Contains(r.stderr, "invalid_client") {
		t.Errorf("with a wrong secret: %+v", r)
	}
}

// Each command is a process of its own, but the commands of a user share a token.
func TestCommandsShareAToken(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant()
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "client", Secret: secret + "of-a-client", MaxTokens: 1})
	_, env := serve(t, tenant)
	home := t.TempDir()
	env = append(env[:1], "QLIK_CLIENT_ID=client", "QLIK_CLIENT_SECRET="+secret+"of-a-client", "HOME="+home)
	var running sync.WaitGroup
	for range 5 {
		running.Go(func() {
			if r := run(t, env, "ls"); r.status != statusOK {
				t.Errorf("%+v", r)
			}
		})
	}
	running.Wait()
	files, err := filepath.Glob(filepath.Join(home, ".cache", "reload", "tokens", "*"))
	if len(files) == 0 || err != nil {
		t.Errorf("no token is stored: %v", err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

func TestTheCommandSaysWhyATokenIsNotShared(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant()
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "client", Secret: secret + "of-a-client"})
	_, env := serve(t, tenant)
	home := t.TempDir()
	dir := filepath.Join(home, ".cache", "reload", "tokens")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	client := []string{env[0], "QLIK_CLIENT_ID=client", "QLIK_CLIENT_SECRET=" + secret + "of-a-client", "HOME=" + home}
	for _, args := range [][]string{{"ls"}, {"ls", "--verbose"}} {
		r := run(t, client, args...)
		if r.status != statusOK || strings.Count(r.stderr, "does not share its token with others: ") != 1 || !strings.Contains(r.stderr, dir) {
			t.Errorf("%q: %+v", args, r)
		}
	}
	for _, quiet := range [][]string{append(env, "HOME="+home), client} {
		if r := run(t, quiet, "create", "--appId", "sales", "--quiet"); strings.Contains(r.stderr, "share") {
			t.Errorf("with an API key, or with --quiet: %+v", r)
		}
	}
}

// scripted is a tenant with one reload. The reload and its log advance by one step with each poll.
type scripted struct {
	mu    sync.Mutex
	polls int
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	statuses := []reloads.Status{reloads.StatusQueued, reloads.StatusReloading, reloads.StatusSucceeded}
	logs := []string{"", "one\r\ntw", "one\r\ntwo\r\nthree"}
	s.mu.Lock()
	defer s.mu.Unlock()
	step := min(s.polls, len(statuses)-1)
	switch {
	case strings.Contains(r.URL.Path, "/logs/"):
		step = min(max(s.polls-1, 0), len(statuses)-1)
		if logs[step] == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, logs[step])
		return
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusCreated)
		s.polls = 0
	}
	s.polls++
	created := time.Now().Add(-10 * time.Second).UTC().Format(time.RFC3339)
	_, _ = fmt.Fprintf(w, `{"id":"1","appId":"sales","status":%q,"creationTime":%q,"future":true}`, statuses[step], created)
}

func TestTheProgress(t *testing.T) {
	t.Parallel()
	_, env := serve(t, &scripted{})
	args := []string{"create", "--appId", "sales", "--wait", "--json"}
	golden(t, "progress", run(t, env, args...), args...)
}

// On a terminal, the status is in color and a status line shows the elapsed time.
func TestATerminal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env   []string
		color bool
	}{"color": {nil, true}, "NO_COLOR": {[]string{"NO_COLOR=1"}, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, env := serve(t, &scripted{})
			screen := onTerminal(t, slices.Concat(env, c.env), "watch", "1")
			var want []string
			for _, status := range []string{"\x1b[36mQUEUED", "\x1b[36mRELOADING", "\x1b[32mSUCCEEDED"} {
				if status += "\x1b[0m"; !c.color {
					status = status[len("\x1b[36m") : len(status)-len("\x1b[0m")]
				}
				want = append(want, status)
			}
			for i := range want {
				want[i] = "N.Ns " + want[i]
			}
			if diff := cmp.Diff(want, remaining(screen)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%q", diff, screen)
			}
			if !strings.Contains(screen, strings.TrimPrefix(want[0], "N.Ns ")+" …\r\x1b[K") {
				t.Errorf("the status line is missing: %q", screen)
			}
		})
	}
	screen := onTerminal(t, nil, "--fake", "ls", "--appId", "stock")
	if !strings.Contains(screen, "\x1b[31mFAILED\x1b[0m     5h ago") || !strings.Contains(screen, "\x1b[32mSUCCEEDED\x1b[0m  8h ago") {
		t.Errorf("the table is not in color or not aligned: %q", screen)
	}
}

// onTerminal runs the command on a pseudo terminal and returns its output.
func onTerminal(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := command(t, env, args...)
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	screen, _ := io.ReadAll(terminal) // on Linux, the end is an EIO error
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, screen)
	}
	if bytes.Contains(screen, []byte(secret)) {
		t.Error("the screen contains a token")
	}
	return string(screen)
}
