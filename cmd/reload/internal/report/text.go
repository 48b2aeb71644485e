package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// clean replaces what is invisible or changes the direction of other text. Tabs and newlines remain.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// cleanLine is like clean, for texts of one line.
func cleanLine(s string) string {
	return clean(strings.Join(strings.Fields(s), " "))
}

// cut returns the beginning of a long text.
func cut(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// formatDuration formats a duration with two units at most.
func formatDuration(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Second:
		return max(d.Round(time.Millisecond), time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d.Round(time.Second) < time.Hour:
		return twoUnits(d.Round(time.Second), time.Minute, "m", time.Second, "s")
	}
	return twoUnits(d.Round(time.Minute), time.Hour, "h", time.Minute, "m")
}

// durationIfAny is like formatDuration, but "" for no time.
func durationIfAny(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return formatDuration(d)
}

// twoUnits formats d in a large and a small unit, without one that is 0.
func twoUnits(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	var parts []string
	if n := d / large; n > 0 {
		parts = append(parts, fmt.Sprintf("%d%s", n, largeName))
	}
	if n := d % large / small; n > 0 {
		parts = append(parts, fmt.Sprintf("%d%s", n, smallName))
	}
	return strings.Join(parts, " ")
}
