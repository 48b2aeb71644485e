package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
)

// serve runs the program until the test ends, and returns a client of its tenant and the line with the apps.
func serve(t *testing.T, args ...string) (client *reloads.Client, apps string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stdout, w := io.Pipe()
	status := make(chan int)
	go func() {
		status <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), w, io.Discard)
	}()
	t.Cleanup(func() {
		cancel()
		if got := <-status; got != 0 {
			t.Errorf("the exit status is %d, want 0", got)
		}
	})
	lines := bufio.NewScanner(stdout)
	line := func(pattern string) string {
		t.Helper()
		lines.Scan()
		match := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(lines.Text())
		if match == nil {
			t.Fatalf("got the line %q, want %s", lines.Text(), pattern)
		}
		return match[1]
	}
	url, key := line(`export QLIK_TENANT_URL=(http://127\.0\.0\.1:\d+)`), line(`export QLIK_API_KEY=(\S+)`)
	client, err := reloads.NewClient(url, reloads.APIKey(key))
	if err != nil {
		t.Fatal(err)
	}
	return client, line(`# apps: (.*)`)
}

func TestServesTheAppsOfItsArguments(t *testing.T) {
	t.Parallel()
	client, apps := serve(t, "sales", "this-fails")
	if apps != "sales this-fails" {
		t.Errorf("the apps are %q", apps)
	}
	for r := range client.RunAll(t.Context(), []reloads.Request{{AppID: "sales"}, {AppID: "this-fails"}}) {
		fails := r.Request.AppID == "this-fails"
		if errors.Is(r.Err, reloads.ErrReloadFailed) != fails || r.Reload == nil || r.Reload.RunTime() < time.Second || r.Reload.RunTime() > 2*time.Second {
			t.Errorf("the reload of %s returned %+v, %v", r.Request.AppID, r.Reload, r.Err)
		}
	}
	if _, err := client.Trigger(t.Context(), reloads.Request{AppID: "stock"}); !errors.Is(err, reloads.ErrNotFound) {
		t.Errorf("the trigger of another app returned %v, want ErrNotFound", err)
	}
}

func TestHasAppsWithoutArguments(t *testing.T) {
	t.Parallel()
	client, _ := serve(t)
	for _, app := range defaultApps {
		if reload, err := client.Trigger(t.Context(), reloads.Request{AppID: app}); err != nil || reload.Status != reloads.StatusReloading {
			t.Errorf("the trigger of %s returned %v, %v", app, reload, err)
		}
	}
}

func TestBadUsageIsStatusTwo(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-nonsense"}, {"-addr", "example"}, {"-addr", "0.0.0.0:0"}, {"-addr", ":0"}, {"sales", ""}, {"sales", "-addr", "127.0.0.1:0"}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // it must not serve
		var stdout, stderr bytes.Buffer
		if status := run(ctx, args, &stdout, &stderr); status != 2 || stdout.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, &stdout, &stderr)
		}
	}
}
