package reloads

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Summary is what the log of a record tells in figures; see [Reload.Summary]. A figure is nil if the log does not
// tell it, or in a way that this package does not understand; 0 is a figure.
type Summary struct {
	// RowsRead is how many rows were read from the sources.
	RowsRead *int64
	// RowsStored is how many rows the app stored.
	RowsStored *int64
}

// Summary reads the figures of the reload's log: since February 2026 the log of a record is a summary, which has the
// lines "In total 1200 rows read from sources." and "In total 900 rows stored.". It needs the record of [Client.Get], or
// of a list with [ListOptions].Log.
func (r *Reload) Summary() Summary {
	var s Summary
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

// logLines are the lines of a record's log, without their ends. The API page's example has its newlines as \n, spelled
// out.
func logLines(log string) []string {
	if !strings.Contains(log, "\n") {
		log = strings.ReplaceAll(log, `\n`, "\n")
	}
	return strings.Split(strings.ReplaceAll(log, "\r\n", "\n"), "\n")
}

// The most of a log that an error shows.
const (
	shownLines = 3
	shownLine  = 200 // bytes
)

// lastLines are the last lines of the log that matter: not the reload's id and figures, and what is said of the full log.
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

// oneLine makes control characters spaces: a server could forge lines of a log.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// shorten cuts a text to so many bytes, at the most, of whole characters.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
