// Package show prepares what people read: texts of the service, and durations.
package show

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Text replaces what could control a terminal or hide a part of the text, by U+FFFD: control characters, those that change
// the direction of text, and bytes that are not UTF-8. Tabs and newlines remain.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && hidden(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// hidden reports whether a character could control a terminal or hide a part of a text.
func hidden(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// JSON escapes what [Text] replaces, in the strings of a JSON text. Package json escapes only a part of it.
func JSON(text []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(text) {
		if r != '\n' && hidden(r) { // a newline is between two tokens
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}

// Line is like [Text], but returns one line, with single spaces.
func Line(s string) string { return Text(strings.Join(strings.Fields(s), " ")) }

// MaxProblem is how many characters of a problem people see at once. A service may send a long one.
const MaxProblem = 500

// Cut returns the beginning of a text of more than most characters.
func Cut(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// Duration formats a duration with two units at most.
func Duration(d time.Duration) string {
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

// twoUnits formats d in a large and a small unit, without one that is 0.
func twoUnits(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	var text string
	if n := d / large; n > 0 {
		text = fmt.Sprintf("%d%s", n, largeName)
	}
	if n := d % large / small; n > 0 {
		text += fmt.Sprintf("%d%s", n, smallName)
	}
	return text
}
