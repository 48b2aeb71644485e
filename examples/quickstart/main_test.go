package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// quickstart runs the program without environment variables.
func quickstart(ctx context.Context, terminal bool, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(ctx, args, func(string) string { return "" }, &out, &errs, terminal)
	return status, out.String(), errs.String()
}

func TestShowsAReloadSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status, stdout, stderr := quickstart(t.Context(), false)
		want := `reload 5be59decca62aa0000000001 of app 116dbfae-7fb9-4983-8e23-5ccd8c508722
   0.0s  QUEUED
   1.0s  RELOADING
   4.0s  SUCCEEDED

log:
  ReloadID: 5be59decca62aa0000000001
  Reload finished successfully
  In total 1000 rows read from sources.
  In total 900 rows stored.

history:
  2000-01-01T00:00:00Z  5be59decca62aa0000000001  SUCCEEDED  queued 1s, ran 3s
`
		// Polls have jitter, so a status is seen up to a few tenths of a second late. The times are rounded down.
		stdout = strings.NewReplacer("1.1s", "1.0s", "1.2s", "1.0s", "4.1s", "4.0s", "4.2s", "4.0s", "4.3s", "4.0s", "4.4s", "4.0s").Replace(stdout)
		if diff := cmp.Diff(want, stdout); diff != "" || status != 0 || stderr != "" {
			t.Errorf("status %d, stderr %q, stdout (-want +got):\n%s", status, stderr, diff)
		}
	})
}

func TestAFailedReloadIsStatusOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status, stdout, stderr := quickstart(t.Context(), false, "-fail")
		if status != 1 || !strings.Contains(stderr, "EngineConnectionError: failed to complete reload") || !strings.Contains(stdout, "FAILED") {
			t.Errorf("status %d, stdout:\n%s\nstderr:\n%s", status, stdout, stderr)
		}
	})
}

func TestOneLineIsWrittenOverOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, stdout, _ := quickstart(t.Context(), true)
		if n := strings.Count(stdout, "\r\x1b[K"); n < 35 {
			t.Errorf("the line was written %d times in 4 s, want about 40:\n%q", n, stdout)
		}
		live, _, _ := strings.Cut(stdout, "\n\nlog:")
		if n := strings.Count(live, "\n"); n != 1 {
			t.Errorf("the output has %d lines, want 1:\n%q", n, live)
		}
	})
}

func TestBadUsageIsStatusTwo(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"surplus"}, {"-app", "x"}, {"-app", "x", "-fail"}} {
		if status, stdout, stderr := quickstart(t.Context(), false, args...); status != 2 || stdout != "" || stderr == "" {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
		}
	}
}

func TestAnUnsetVariableIsNamed(t *testing.T) {
	if _, _, stderr := quickstart(t.Context(), false, "-app", "x"); stderr != "quickstart: QLIK_TENANT_URL is not set\n" {
		t.Errorf("stderr %q", stderr)
	}
}

func TestAnInterruptStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		began := time.Now()
		if status, _, _ := quickstart(ctx, false); status != 1 || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("status %d after %v, want 1 after 1.5s", status, time.Since(began))
		}
	})
}
