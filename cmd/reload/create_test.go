package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// setStatus sets the status of a reload of a tenant. It does not change by itself after that.
func setStatus(tenant *reloadstest.Tenant, id string, status reloads.Status) {
	for _, r := range tenant.Reloads() {
		if r.ID != id {
			continue
		}
		if r.Status = status; status.Ended() {
			r.EndTime = time.Now()
		}
		tenant.AddReload(r) // replaces it
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

// endings are the exit statuses of a command that waited for a reload, by its status.
var endings = map[reloads.Status]int{reloads.StatusSucceeded: statusOK, reloads.StatusFailed: statusFailed}

// The ID is known to a script before the reload has finished.
func TestCreateWritesTheIDAtOnce(t *testing.T) {
	t.Parallel()
	for status, want := range endings {
		t.Run(string(status), func(t *testing.T) {
			t.Parallel()
			tenant := yearlyTenant()
			_, env := serve(t, tenant)
			cmd := command(t, env, "create", "--appId", "yearly", "--wait", "--quiet")
			pipe, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			stdout := bufio.NewReader(pipe)
			id, _ := stdout.ReadString('\n')
			id = strings.TrimSpace(id)
			if all := tenant.Reloads(); len(all) != 1 || all[0].ID != id || all[0].Status != reloads.StatusQueued {
				t.Errorf("the first line is %q, want the ID of %v", id, all)
			}
			setStatus(tenant, id, status)
			if rest, err := io.ReadAll(stdout); len(rest) > 0 || err != nil {
				t.Errorf("the rest of stdout is %q, %v", rest, err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != want {
				t.Errorf("status %d, want %d", got, want)
			}
		})
	}
}

func TestCreateShowsTheIDFirst(t *testing.T) {
	t.Parallel()
	for status, want := range endings {
		t.Run(string(status), func(t *testing.T) {
			t.Parallel()
			tenant := yearlyTenant()
			_, env := serve(t, tenant)
			p := start(t, env, "create", "--appId", "yearly", "--wait")
			p.expect("of app yearly")
			id := tenant.Reloads()[0].ID
			p.expect("QUEUED")
			setStatus(tenant, id, status)
			p.expect(string(status))
			r := p.wait()
			if r.status != want || !strings.HasPrefix(r.stderr, "Reload "+id+" of app yearly\n") || !strings.Contains(r.stdout, string(status)) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// On a terminal, the ID and the statuses are above the status line, and the table is below them.
func TestCreateAndWaitOnATerminal(t *testing.T) {
	t.Parallel()
	_, env := serve(t, &scripted{})
	screen := onTerminal(t, append(env, "NO_COLOR=1"), "create", "--appId", "sales", "--wait", "--utc")
	got := remaining(screen)
	want := []string{"Reload 1 of app sales", "N.Ns QUEUED", "N.Ns RELOADING", "N.Ns SUCCEEDED", "ID 1", "App sales", "Status SUCCEEDED", "Created TIME"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%q", diff, screen)
	}
	if !strings.Contains(screen, "QUEUED …\r\x1b[K") {
		t.Errorf("the status line is missing: %q", screen)
	}
}

// A status line would be lost among the log of --verbose.
func TestVerboseOnATerminal(t *testing.T) {
	t.Parallel()
	_, env := serve(t, &scripted{})
	screen := onTerminal(t, env, "create", "--appId", "sales", "--wait", "--verbose")
	if strings.Contains(screen, "…") || !strings.Contains(screen, "operation=trigger") || !strings.Contains(screen, "RELOADING\r\n") {
		t.Errorf("%q", screen)
	}
}

// remaining returns the lines that remain on a screen, without repeated spaces. Each follows the text that it replaced.
func remaining(screen string) []string {
	var lines []string
	for line := range strings.Lines(screen) {
		line = strings.TrimRight(line, "\r\n")
		line = strings.TrimPrefix(line[strings.LastIndex(line, "\r")+1:], "\x1b[K")
		line = regexp.MustCompile(`\b\d+\.\ds\b`).ReplaceAllString(line, "N.Ns")
		line = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`).ReplaceAllString(line, "TIME")
		if text := strings.Join(strings.Fields(line), " "); text != "" {
			lines = append(lines, text)
		}
	}
	return lines
}

// The body of a record is written unchanged.
func TestRawRecordWithSimilarMembers(t *testing.T) {
	t.Parallel()
	const body = `{"id":"1","status":"SUCCEEDED","ID":5,"Id":"other"}`
	_, env := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	if r := run(t, env, "get", "1", "--raw"); r.stdout != body+"\n" {
		t.Errorf("%+v", r)
	}
}

// With --raw, the record of the reload is written, also if it was found in a list, or if the most recent response is another one.
func TestRawRecordOfAReload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args   []string
		status int
		want   reloads.Status
	}{
		{nil, statusOK, "QUEUED"},
		{[]string{"--wait", "--timeout", "3s"}, statusTimedOut, "QUEUED"},
		{[]string{"--wait", "--timeout", "3s", "--cancel-on-abort"}, statusTimedOut, "CANCELED"},
	} {
		var mu sync.Mutex
		var created string
		polls := 0
		_, env := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			record := fmt.Sprintf(`{"appId":"sales","creationTime":%q,"id":"1","more":2,"status":"QUEUED"}`, created)
			switch {
			case strings.HasSuffix(r.URL.Path, "/cancel"):
				_, _ = io.WriteString(w, `{"status":"CANCELED"}`)
			case r.Method == http.MethodPost:
				created = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
				w.WriteHeader(http.StatusBadGateway)
			case strings.HasSuffix(r.URL.Path, "/reloads"):
				_, _ = io.WriteString(w, `{"data":[`+record+`]}`)
			default:
				if polls++; polls == 1 { // an incomplete body
					_, _ = io.WriteString(w, record[:20])
					_ = http.NewResponseController(w).Flush()
					mu.Unlock()
					<-r.Context().Done()
					mu.Lock()
				}
			}
		}))
		r := run(t, env, append([]string{"create", "--appId", "sales", "--raw"}, c.args...)...)
		var got reloads.Reload
		err := json.Unmarshal([]byte(r.stdout), &got)
		if r.status != c.status || err != nil || got.ID != "1" || got.Status != c.want || string(got.Extra["more"]) != "2" {
			t.Errorf("%q: %+v, want the record, which is %s", c.args, r, c.want)
		}
	}
}
