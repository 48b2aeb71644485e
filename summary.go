package reloads

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Summary is what [Reload.Summary] reads from the log of a record. A figure is nil if the log does not contain it, or
// not in the known form.
type Summary struct {
	// RowsRead is the number of rows that were read from the sources.
	RowsRead *int64
	// RowsStored is the number of rows that the app stored.
	RowsStored *int64
	// LastLines are the last lines of the log, at most three of at most 200 bytes each. Lines that every log has
	// are left out.
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
