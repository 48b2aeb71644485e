package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/reloads-go/reloads"
)

func TestExitStatuses(t *testing.T) {
	t.Parallel()
	failed := &reloads.ReloadError{Reload: &reloads.Reload{Status: reloads.StatusFailed}}
	refused := &reloads.Error{StatusCode: http.StatusBadRequest}
	lost := &writeError{"the result", io.ErrShortWrite}
	terminated := &signalError{context.Canceled, syscall.SIGTERM}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, statusOK}, {failed, statusFailed}, {fmt.Errorf("%w; %w", failed, io.EOF), statusFailed}, {lost, statusFailed},
		{usagef("x"), statusUsage}, {reloads.ErrBadRequest, statusUsage},
		{refused, statusRefused}, {&reportedError{refused}, statusRefused}, {fmt.Errorf("%w; %w", lost, refused), statusRefused},
		{&unreachableError{io.ErrUnexpectedEOF}, statusUnreachable}, {os.ErrDeadlineExceeded, statusUnreachable},
		{&writeError{"the progress", os.ErrDeadlineExceeded}, statusFailed}, {syscall.ENOSPC, statusRefused}, {reloads.ErrCursorLoop, statusRefused},
		{&stepsError{error: io.EOF, cause: terminated, status: statusRefused}, statusRefused},
		{context.DeadlineExceeded, statusTimedOut}, {fmt.Errorf("%w: %w", refused, context.DeadlineExceeded), statusTimedOut},
		{context.Canceled, statusInterrupted}, {fmt.Errorf("%w: %w", context.DeadlineExceeded, context.Canceled), statusTimedOut}, {&signalError{context.Canceled, os.Interrupt}, statusInterrupted},
		{terminated, statusTerminated}, {fmt.Errorf("%w: %w", terminated, failed), statusTerminated},
	} {
		if got := exitStatus(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
		if help := fmt.Sprintf("\n%5d  ", c.want); !strings.Contains(statusHelp, help) {
			t.Errorf("the help does not explain the status %d", c.want)
		}
	}
}

func TestATenantThatIsNotThere(t *testing.T) {
	t.Parallel()
	env := []string{"QLIK_TENANT_URL=" + closedServer(t), "QLIK_API_KEY=" + testKey}
	for _, args := range [][]string{{"ls"}, {"get", "x"}, {"cancel", "x"}, {"create", "--appId", "x"}, {"log", "x"}} {
		if r := run(t, env, append(args, "--retry", "0")...); r.status != statusUnreachable || r.stdout != "" ||
			!strings.Contains(r.stderr, "connection refused") || !strings.Contains(r.stderr, "\nhint: check the URL") {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

// Whatever prevents a complete response, the tenant is unreachable.
func TestATenantThatCannotBeRead(t *testing.T) {
	t.Parallel()
	cut, env := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "{")
	}))
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells that its certificate was refused
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for server, says := range map[string]string{
		cut: "unexpected EOF", secure.URL: "certificate", strings.Replace(cut, "http:", "https:", 1): "server gave HTTP response to HTTPS client",
	} {
		for _, credentials := range [][]string{env[1:], {"QLIK_CLIENT_ID=client", "QLIK_CLIENT_SECRET=" + secret + "of-a-client"}} {
			if server == cut && len(credentials) > 1 {
				continue // oauth does not tell an incomplete response from an invalid one
			}
			if r := run(t, append(credentials, "QLIK_TENANT_URL="+server), "get", "x", "--retry", "0"); r.status != statusUnreachable || !strings.Contains(r.stderr, says) {
				t.Errorf("%s: %+v, want %q", server, r, says)
			}
		}
	}
}

func TestATimeout(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"create", "--appId", "yearly", "--wait", "--quiet"}, {"wait", fakeLong}, {"watch", fakeLong}, {"log", fakeLong, "--follow"},
	} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			r := run(t, nil, append(args, "--fake", "--timeout", "2s")...)
			if r.status != statusTimedOut || !strings.Contains(r.stderr, "reload: timed out: ") {
				t.Errorf("%+v", r)
			}
		})
	}
	t.Run("cancel-on-abort", func(t *testing.T) {
		t.Parallel()
		r := run(t, nil, "--fake", "create", "--appId", "yearly", "--wait", "--cancel-on-abort", "--timeout", "2s")
		if r.status != statusTimedOut || !strings.Contains(r.stderr, "reload: timed out: ") || !strings.Contains(r.stdout, "CANCELING") || strings.Contains(r.stderr, "goes on") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no response", func(t *testing.T) {
		t.Parallel()
		_, env := serve(t, hanging(t, nil))
		if r := run(t, env, "ls", "--timeout", "2s"); r.status != statusTimedOut || r.stdout != "" {
			t.Errorf("%+v", r)
		}
	})
}

// hanging is a tenant that does not respond until the test has ended. It sends a value to requests, unless that is nil.
func hanging(t *testing.T, requests chan<- struct{}) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if requests != nil {
			requests <- struct{}{}
		}
		<-r.Context().Done()
	})
}

// finishing are command lines that write a result to standard output.
var finishing = map[string][]string{
	"ls":              {"ls"},
	"ls all":          {"ls", "--all"},
	"get":             {"get", fakeFailed},
	"create":          {"create", "--appId", "sales"},
	"create and wait": {"create", "--appId", "sales", "--wait"},
	"cancel":          {"cancel", fakeLong},
	"wait":            {"wait", fakeSucceeded},
	"watch":           {"watch", fakeSucceeded},
	"log":             {"log", fakeSucceeded},
	"log follow":      {"log", fakeSucceeded, "--follow"},
	"help":            {"ls", "--help"},
	"version":         {"--version"},
	"completion":      {"completion", "bash"},
}

// forEachFormat calls test with each of the command lines in finishing, and each of the output formats it has.
func forEachFormat(t *testing.T, test func(t *testing.T, args []string)) {
	t.Helper()
	for name, args := range finishing {
		for _, format := range []string{"--utc", "--json", "--quiet", "--raw"} {
			if format == "--raw" && slices.Contains([]string{"wait", "watch", "version", "completion"}, name) ||
				strings.HasPrefix(name, "log") && (format == "--json" || format == "--quiet") {
				continue
			}
			t.Run(name+" "+format, func(t *testing.T) {
				t.Parallel()
				test(t, slices.Concat([]string{"--fake"}, args, []string{format}))
			})
		}
	}
}

// full opens a device that is always full.
func full(t *testing.T) *os.File {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("/dev/full is a device of Linux")
	}
	device, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = device.Close() })
	return device
}

// closedPipe returns a pipe that nobody reads.
func closedPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	_ = r.Close()
	return w
}

const lostResult = "reload: the result could not be written: write /dev/stdout: no space left on device\n"

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	forEachFormat(t, func(t *testing.T, args []string) {
		cmd := command(t, nil, args...)
		cmd.Stdout = full(t)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		r := newResult(t, cmd.Run(), &stderr, &stderr)
		if r.status != statusFailed || strings.Count(r.stderr, lostResult) != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// A result that could not be written hides no other error.
func TestAFullDiskAndAnotherError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"create":  {[]string{"create", "--appId", "stock", "--wait"}, statusFailed, "ended as FAILED"},
		"quiet":   {[]string{"create", "--appId", "stock", "--wait", "--quiet"}, statusFailed, "ended as FAILED"},
		"wait":    {[]string{"wait", fakeFailed}, statusFailed, "ended as FAILED"},
		"json":    {[]string{"wait", fakeFailed, fakeSucceeded, "--json"}, statusFailed, "ended as FAILED"},
		"watch":   {[]string{"watch", fakeFailed}, statusFailed, "ended as FAILED"},
		"refused": {[]string{"wait", fakeSucceeded, "nothing", "--quiet"}, statusRefused, "404 Not Found"},
		"timeout": {[]string{"create", "--appId", "yearly", "--wait", "--quiet", "--timeout", "2s"}, statusTimedOut, "timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := command(t, nil, append(c.args, "--fake")...)
			cmd.Stdout = full(t)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			r := newResult(t, cmd.Run(), &stderr, &stderr)
			if r.status != c.status || !strings.Contains(r.stderr, c.says) || strings.Count(r.stderr, lostResult) != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A closed pipe is an error like a full disk, as in reload ls | true.
func TestAClosedPipe(t *testing.T) {
	t.Parallel()
	forEachFormat(t, func(t *testing.T, args []string) {
		cmd := command(t, nil, args...)
		cmd.Stdout = closedPipe(t)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		r := newResult(t, cmd.Run(), &stderr, &stderr)
		if r.status != statusFailed || strings.Count(r.stderr, "reload: the result could not be written: write /dev/stdout: broken pipe\n") != 1 {
			t.Errorf("%+v", r)
		}
	})
}
