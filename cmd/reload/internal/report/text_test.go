package report

import (
	"testing"
	"time"
)

func TestFormatDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 10 * time.Microsecond: "1ms", 850 * time.Millisecond: "850ms", time.Second: "1s",
		1250 * time.Millisecond: "1.3s", 59600 * time.Millisecond: "1m", 12*time.Minute + 3*time.Second: "12m 3s",
		8 * time.Minute: "8m", time.Hour: "1h", 90*time.Minute + 29*time.Second: "1h 30m", 30 * time.Hour: "30h",
		59*time.Minute + 59600*time.Millisecond: "1h",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                    "",
		"Umsätze, 売上, مبيعات": "Umsätze, 売上, مبيعات",
		"a\tb\nc":             "a\tb\nc",
		"\x1b[31m\x7f\u009b":  "\uFFFD[31m\uFFFD\uFFFD",
		"\u202etxt.exe\u2066": "\uFFFDtxt.exe\uFFFD",
		"not UTF-8: \xff":     "not UTF-8: \uFFFD",
	} {
		if got := clean(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	if got := cleanLine("  two\r\n lines\x00 "); got != "two lines\uFFFD" {
		t.Errorf("%q", got)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"äöü": "äöü", "äöüß": "äöü…"} {
		if got := cut(s, 3); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
