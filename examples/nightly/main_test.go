package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// nightly runs the program with its fake tenant.
func nightly(ctx context.Context, terminal bool, stdin string, args ...string) (status int, stdout, stderr string) {
	return nightlyAt(ctx, nil, terminal, stdin, args...)
}

// nightlyAt runs the program with the given environment variables.
func nightlyAt(ctx context.Context, vars map[string]string, terminal bool, stdin string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(ctx, args, environment{func(name string) string { return vars[name] }, strings.NewReader(stdin), &out, &errs, terminal})
	return status, out.String(), errs.String()
}

func TestTheSummaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status, stdout, _ := nightly(t.Context(), false, "", "sales", "stock", "sales")
		want := `APP    STATUS     QUEUED  RAN  ERROR
sales  SUCCEEDED  1s      1s   
stock  SUCCEEDED  1s      2s   

2 apps in 3s: 2 succeeded, 0 failed
`
		if diff := cmp.Diff(want, stdout); diff != "" || status != 0 {
			t.Errorf("text: status %d (-want +got):\n%s", status, diff)
		}

		status, stdout, _ = nightly(t.Context(), false, "", "-summary", "junit")
		var suite testSuite
		if err := xml.Unmarshal([]byte(stdout), &suite); err != nil {
			t.Fatal(err)
		}
		last := suite.Cases[11]
		if status != 1 || suite.Tests != 12 || suite.Failures != 1 || last.Failure == nil || last.Failure.Type != "FAILED" ||
			!strings.HasSuffix(last.Failure.Message, "the data source did not respond") || last.Time != 5 {
			t.Errorf("junit: status %d, %+v\n%s", status, suite, stdout)
		}

		status, stdout, _ = nightly(t.Context(), false, "", "-summary", "json")
		var summary struct {
			Succeeded, Failed int
			Apps              []entry
		}
		if err := json.Unmarshal([]byte(stdout), &summary); err != nil {
			t.Fatal(err)
		}
		if status != 1 || summary.Succeeded != 11 || summary.Failed != 1 || summary.Apps[11].Status != "FAILED" || summary.Apps[0].RunTime != 1 {
			t.Errorf("json: status %d, %s", status, stdout)
		}
	})
}

func TestTheProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, stderr := nightly(t.Context(), false, "", "sales")
		want := `    0.0s  sales  QUEUED  (1 of 1 triggered, 1 queued, 0 running, 0 finished, 0 failed)
    1.0s  sales  RELOADING  (1 of 1 triggered, 0 queued, 1 running, 0 finished, 0 failed)
    2.0s  sales  SUCCEEDED  (1 of 1 triggered, 0 queued, 0 running, 1 finished, 0 failed)
`
		stderr = regexp.MustCompile(`\.[0-9]s`).ReplaceAllString(stderr, ".0s") // polls have jitter
		if diff := cmp.Diff(want, stderr); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}

		var apps []string
		for i := range 60 {
			apps = append(apps, string(rune('a'+i%26))+string(rune('a'+i/26)))
		}
		_, _, stderr = nightly(t.Context(), true, strings.Join(apps, "\n"), "-f", "-")
		for _, part := range []string{"50 of 60 triggered", "10 waiting for the rate limit", "about ", "60 finished, 5 failed\n"} {
			if !strings.Contains(stderr, part) {
				t.Errorf("on a terminal, %q is never shown", part)
			}
		}
		if n := strings.Count(stderr, "\n"); n != 1 {
			t.Errorf("on a terminal the output has %d lines, want 1", n)
		}
	})
}

func TestTheInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps")
	if err := os.WriteFile(path, []byte("b\n\n# a comment\n c \na\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readApps([]string{"a", "a"}, path, nil)
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestBadUsageIsStatusTwo(t *testing.T) {
	url := map[string]string{"QLIK_TENANT_URL": "https://tenant.example.com"}
	for _, c := range []struct {
		vars map[string]string
		args []string
	}{
		{nil, []string{"-nonsense"}}, {nil, []string{"-summary", "pdf"}}, {nil, []string{"-timeout", "-1s"}},
		{nil, []string{"-f", "does/not/exist"}}, {nil, []string{"-f", "-"}}, {url, nil}, {url, []string{"app"}},
	} {
		if status, stdout, stderr := nightlyAt(t.Context(), c.vars, false, "", c.args...); status != 2 || stdout != "" || stderr == "" {
			t.Errorf("%q: status %d, stdout %q, stderr %q", c.args, status, stdout, stderr)
		}
	}
}

func TestAnUnsetVariableIsNamed(t *testing.T) {
	vars := map[string]string{"QLIK_TENANT_URL": "https://tenant.example.com"}
	if _, _, stderr := nightlyAt(t.Context(), vars, false, "", "app"); stderr != "nightly: QLIK_API_KEY is not set\n" {
		t.Errorf("stderr %q", stderr)
	}
}

func TestATenantThatRefusesTheKeyIsStatusThree(t *testing.T) {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	server := httptest.NewServer(tenant)
	defer server.Close()
	vars := map[string]string{"QLIK_TENANT_URL": server.URL, "QLIK_API_KEY": "wrong-test-token"}
	if status, stdout, _ := nightlyAt(t.Context(), vars, false, "", "sales"); status != 3 || !strings.Contains(stdout, "NOT_TRIGGERED") {
		t.Errorf("status %d, stdout:\n%s", status, stdout)
	}
	vars["QLIK_API_KEY"] = tenant.Token()
	if status, _, stderr := nightlyAt(t.Context(), vars, false, "", "sales"); status != 0 {
		t.Errorf("with the right key: status %d, stderr:\n%s", status, stderr)
	}
}

func TestStatus(t *testing.T) {
	failed := &reloads.ReloadError{Reload: &reloads.Reload{Status: reloads.StatusFailed}}
	for want, errs := range map[int][]error{
		0: {nil},
		1: {failed, reloads.ErrNotStarted, &reloads.Error{StatusCode: http.StatusForbidden}, context.DeadlineExceeded},
		3: {io.ErrUnexpectedEOF, &reloads.Error{StatusCode: http.StatusBadGateway}, errors.New("no route to host")},
	} {
		for _, err := range errs {
			if got := status([]reloads.Result{{}, {Err: err}, {}}); got != want {
				t.Errorf("%v: status %d, want %d", err, got, want)
			}
		}
	}
}

func TestGivingUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		status, stdout, _ := nightly(t.Context(), false, "", "-timeout", "1500ms", "-cancel-on-abort", "-attach", "sales")
		if status != 1 || time.Since(began) != 1500*time.Millisecond || !strings.Contains(stdout, "CANCELED") && !strings.Contains(stdout, "CANCELING") {
			t.Errorf("status %d after %v, stdout:\n%s", status, time.Since(began), stdout)
		}
	})
}
