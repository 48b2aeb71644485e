package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/reloads-go/reloads"
)

func TestServesATenantOnLoopback(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stdout, w := io.Pipe()
	status := make(chan int)
	go func() { status <- run(ctx, []string{"-addr", "127.0.0.1:0"}, w, io.Discard) }()

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
	url := line(`(http://127\.0\.0\.1:\d+)`)
	token := line(`token: (\S+)`)
	uuid := `app: ([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}) .*`
	first, _, failing := line(uuid), line(uuid), line(uuid)

	client, err := reloads.NewClient(url, reloads.APIKey(token))
	if err != nil {
		t.Fatal(err)
	}
	reload, err := client.Trigger(ctx, reloads.Request{AppID: first})
	if err != nil || reload.Status != reloads.StatusQueued {
		t.Errorf("Trigger returned %v, %v", reload, err)
	}
	if _, err := client.Run(ctx, reloads.Request{AppID: failing}); !errors.Is(err, reloads.ErrReloadFailed) {
		t.Errorf("the reload of the last app returned %v, want ErrReloadFailed", err)
	}
	cancel()
	if got := <-status; got != 0 {
		t.Errorf("the exit status is %d, want 0", got)
	}
}

func TestBadUsageIsStatusTwo(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"surplus"}, {"-addr", "example"}, {"-addr", "0.0.0.0:0"}, {"-addr", ":0"}} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), args, &stdout, &stderr); status != 2 || stdout.Len() > 0 || strings.TrimSpace(stderr.String()) == "" {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, &stdout, &stderr)
		}
	}
}
