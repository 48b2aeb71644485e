package main

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
)

func TestTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for ago, want := range map[time.Duration]string{
			-time.Second: "just now", 0: "0s ago", time.Minute: "1m ago", 47 * time.Hour: "47h ago", 50 * time.Hour: "2d ago",
		} {
			if got := (&output{}).formatTime(time.Now().Add(-ago)); got != want {
				t.Errorf("%v ago: got %q, want %q", ago, got, want)
			}
		}
	})
}

// The elapsed time of a long wait has no fractions of a second.
func TestElapsedTimeOfALiveDisplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shown bytes.Buffer
		l := (&output{log: sink{w: io.Discard}}).newLive(&shown, false)
		defer l.stop()
		time.Sleep(1500 * time.Millisecond)
		_ = l.change(&reloads.Reload{Status: reloads.StatusReloading})
		time.Sleep(time.Hour)
		_ = l.change(&reloads.Reload{Status: reloads.StatusSucceeded})
		if want := "    1.5s  RELOADING\n  1h0m2s  SUCCEEDED\n"; shown.String() != want {
			t.Errorf("got\n%s\nwant\n%s", &shown, want)
		}
	})
}
