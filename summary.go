package reloads

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Summary is what [Reload.Summary] reads from the log of a record. A figure is nil if the log does not contain it in
// the known form.
type Summary struct {
	// RowsRead is the number of rows that were read from the sources.
	RowsRead *int64
	// RowsStored is the number of rows that the app stored.
	RowsStored *int64
	// LastLines are the last lines of the log, at most three of at most 200 bytes each. Lines that every log has are
	// left out. Nil if none remain.
	LastLines []string
}

// Summary reads the figures and the last lines of the reload's log. Since February 2026 the log of a record is a
// summary with the lines "In total 1200 rows read from sources." and "In total 900 rows stored.". The record must come
// from [Client.Get], or from a list with [ListOptions].Log.
func (r *Reload) Summary() Summary {
	s := Summary{LastLines: r.lastLines()}
	for _, line := range logLines(r.Log) {
		rest, ok := strings.CutPrefix(line, "In total ")
		figure, what, _ := strings.Cut(rest, " rows ")
		n, err := strconv.ParseUint(figure, 10, 63)
		if !ok || err != nil {
			continue
		}
		rows := int64(n)
		switch what {
		case "read from sources.":
			s.RowsRead = &rows
		case "stored.":
			s.RowsStored = &rows
		}
	}
	return s
}

// logLines returns the lines of a record's log, without line endings. The example on the API page has its line breaks
// as a backslash and an n.
func logLines(log string) []string {
	if !strings.Contains(log, "\n") {
		log = strings.ReplaceAll(log, `\n`, "\n")
	}
	return strings.Split(strings.ReplaceAll(log, "\r\n", "\n"), "\n")
}

const (
	shownLines = 3
	shownLine  = 200 // bytes
)

// lastLines returns the last informative lines of the log.
func (r *Reload) lastLines() (last []string) {
	for _, line := range slices.Backward(logLines(r.Log)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "ReloadID:") || strings.HasPrefix(line, "In total ") ||
			strings.HasPrefix(line, "(A detailed script progress log") {
			continue
		}
		if last = append(last, shorten(line, shownLine)); len(last) == shownLines {
			break
		}
	}
	slices.Reverse(last)
	return last
}

// ReloadError is a reload that did not succeed. The calls to the API were successful: an [*Error] is about the API, a
// ReloadError is about the job.
//
// With [errors.Is] it matches [ErrReloadFailed], [ErrReloadCanceled] or [ErrReloadExceededLimit]. With a status that
// this package does not know it matches none of them.
type ReloadError struct {
	// Reload is the finished reload. It is never nil in an error that this package returns.
	Reload *Reload
}

// The classes of a [*ReloadError], for [errors.Is].
var (
	// ErrReloadFailed means that the reload ended as FAILED.
	ErrReloadFailed = errors.New("reloads: reload failed")
	// ErrReloadCanceled means that the reload ended as CANCELED.
	ErrReloadCanceled = errors.New("reloads: reload canceled")
	// ErrReloadExceededLimit means that the reload ended as EXCEEDED_LIMIT.
	ErrReloadExceededLimit = errors.New("reloads: reload exceeded its limit")
)

// Error names the reload, its app and its status in one line. It adds the record's error code and message or, without
// a message, the last lines of the log.
func (e *ReloadError) Error() string {
	r := e.Reload
	if r == nil {
		return "reloads: reload did not succeed"
	}
	s := fmt.Sprintf("reloads: reload %s of app %s ended as %s", r.ID, r.AppID, r.Status)
	for _, why := range []string{r.ErrorCode, r.ErrorMessage} {
		if why != "" {
			s += ": " + why
		}
	}
	if lines := r.lastLines(); r.ErrorMessage == "" && len(lines) > 0 {
		s += "; its log ends: " + strings.Join(lines, " / ")
	}
	return oneLine(s)
}

// Is reports whether target is the class of the reload's status.
func (e *ReloadError) Is(target error) bool {
	if e.Reload == nil {
		return false
	}
	switch e.Reload.Status {
	case StatusFailed:
		return target == ErrReloadFailed
	case StatusCanceled:
		return target == ErrReloadCanceled
	case StatusExceededLimit:
		return target == ErrReloadExceededLimit
	default:
		return false
	}
}

// LogValue returns the group of the reload.
func (e *ReloadError) LogValue() slog.Value {
	if e.Reload == nil {
		return slog.Value{}
	}
	return e.Reload.LogValue()
}

// Err returns nil if the reload is active or SUCCEEDED, and a [*ReloadError] if it finished with another status.
func (r *Reload) Err() error {
	if !r.Ended() || r.Status == StatusSucceeded {
		return nil
	}
	return &ReloadError{Reload: r}
}

// oneLine replaces control characters with spaces, so that a server cannot forge lines of a log.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// shorten cuts s to at most limit bytes, at a character boundary.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
