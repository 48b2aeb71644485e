package report

import (
	"time"

	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// cut returns the beginning of a long text.
func cut(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// durationIfAny returns "" for no time.
func durationIfAny(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return show.Duration(d)
}
