package report

import (
	"time"

	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// durationIfAny returns "" for no time.
func durationIfAny(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return show.Duration(d)
}
