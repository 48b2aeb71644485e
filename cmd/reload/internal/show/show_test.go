package show

import (
	"encoding/json"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                    "",
		"Umsätze, 売上, مبيعات": "Umsätze, 売上, مبيعات",
		"  a\tb\nc":           "  a\tb\nc",
		"\x1b[31m\x7f\u009b":  "\uFFFD[31m\uFFFD\uFFFD",
		"\u202etxt.exe\u2066": "\uFFFDtxt.exe\uFFFD",
		"not UTF-8: \xff\x9b": "not UTF-8: \uFFFD\uFFFD",
	} {
		if got := Text(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"  two\r\n lines\x00 ":                 "two lines\uFFFD",
		"\ta\r\n\x1b[31m b\u2028\u009b \x9b1m": "a \uFFFD[31m b \uFFFD \uFFFD1m",
		"\u202etxt.exe":                        "\uFFFDtxt.exe",
	} {
		if got := Line(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"äöü": "äöü", "äöüß": "äöü…"} {
		if got := Cut(s, 3); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	text := "\x1b[31m\u009b1m\x7f \u202etxt.exe\u2066 Umsätze 売上 😀 <&>\n"
	encoded, err := json.MarshalIndent([]string{text}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got := JSON(encoded)
	if string(got) != "[\n  \"\\u001b[31m\\u009b1m\\u007f \\u202etxt.exe\\u2066 Umsätze 売上 😀 \\u003c\\u0026\\u003e\\n\"\n]" {
		t.Errorf("%s", got)
	}
	var back []string
	if err := json.Unmarshal(got, &back); err != nil || back[0] != text {
		t.Errorf("%q, %v", back, err)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 10 * time.Microsecond: "1ms", 850 * time.Millisecond: "850ms", time.Second: "1s",
		1250 * time.Millisecond: "1.3s", 59600 * time.Millisecond: "1m", 12*time.Minute + 3*time.Second: "12m3s",
		8 * time.Minute: "8m", time.Hour: "1h", 90*time.Minute + 29*time.Second: "1h30m", 30 * time.Hour: "30h",
		59*time.Minute + 59600*time.Millisecond: "1h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
