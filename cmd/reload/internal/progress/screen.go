package progress

import (
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// screen keeps lines at the bottom of a terminal, with the cursor in the line below them. The progress package of go-pretty
// is not used, because it ignores errors of writing and the height of the terminal, and leaves lines that wrapped when the
// terminal became narrower.
type screen struct {
	w     io.Writer
	lines []string // at the bottom
}

// update replaces the lines at the bottom, in one write. The printed lines stay above them. Lines at the bottom are cut and
// printed lines are wrapped, each in less than the columns, since some terminals erase the last character of a full line.
func (s *screen) update(printed, lines []string, columns int) error {
	limit := max(columns-1, 1)
	cut := make([]string, len(lines))
	for i, line := range lines {
		cut[i] = text.Snip(line, limit, "…")
	}
	if len(printed) == 0 && slices.Equal(cut, s.lines) {
		return nil
	}
	var b strings.Builder
	// Erase whole lines one by one, before writing. When tmux wraps a line, what was erased behind a text counts as part of
	// the line. When it erases the whole screen, it keeps what was there in its history.
	b.WriteString("\r" + text.EraseLine.Sprint())
	b.WriteString(strings.Repeat(text.CursorUp.Sprint()+text.EraseLine.Sprint(), s.height(columns)))
	for _, p := range printed {
		for line := range strings.SplitSeq(text.WrapSoft(p, limit), "\n") {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	for _, line := range cut {
		b.WriteString(line + "\n")
	}
	s.lines = cut
	_, err := io.WriteString(s.w, b.String())
	return err
}

// height returns how many lines of the terminal the lines at the bottom take. When a terminal becomes narrower, it wraps
// the lines that it shows. A few, such as xterm, do not; there the next update erases lines above, too.
func (s *screen) height(columns int) int {
	height := 0
	for _, line := range s.lines {
		height++
		at := 0
		for _, r := range text.StripEscape(line) {
			width := text.RuneWidth(r)
			if at += width; at > columns {
				height++
				at = width
			}
		}
	}
	return height
}
