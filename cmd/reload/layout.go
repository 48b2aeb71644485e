package main

import (
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// column is a column of a table.
type column struct {
	name     string
	optional bool   // left out if the terminal is too narrow
	label    string // in front of the value if the terminal is too narrow for columns
}

const (
	gap          = "  " // between columns, and in front of the further lines of a row
	minLastWidth = 16   // of a last column that wraps
)

// formatTable returns rows with aligned columns in at most width columns of a terminal; 0 means no limit. The last column
// wraps. If the optional columns do not fit, they are left out. If the others do not fit either, each row becomes a few
// lines with all values.
func formatTable(columns []column, rows [][]string, width int) string {
	all := [][]string{make([]string, len(columns))}
	for i, c := range columns {
		all[0][i] = c.name
	}
	all = append(all, rows...)
	if last := lastWidth(all, width); last >= 0 {
		return align(all, last)
	}
	required := make([][]string, len(all))
	for i, r := range all {
		for j, value := range r {
			if !columns[j].optional {
				required[i] = append(required[i], value)
			}
		}
	}
	if last := lastWidth(required, width); last >= 0 {
		return align(required, last)
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, stack(columns, r, width)...)
	}
	return strings.Join(lines, "\n")
}

// formatDetails returns rows of a name and a value. The values wrap at width. A value with a word that does not fit beside
// the names is below its name, so that an ID stays whole.
func formatDetails(rows [][]string, width int) string {
	names := 0
	for _, r := range rows {
		names = max(names, displayWidth(r[0]))
	}
	available := width - names - len(gap)
	var lines []string
	for _, r := range rows {
		name, value := r[0], []string{r[1]}
		if width > 0 {
			if longest := longestWord(r[1]); available <= 0 || longest > available && longest <= width-len(gap) {
				lines = append(append(lines, name), indent(r[1], width)...)
				continue
			}
			value = strings.Split(text.WrapSoft(r[1], available), "\n")
		}
		for _, line := range value {
			lines = append(lines, strings.TrimRight(text.Pad(name, names, ' ')+gap+line, " "))
			name = ""
		}
	}
	return strings.Join(lines, "\n")
}

// longestWord returns the width of the longest word of a text.
func longestWord(s string) int {
	longest := 0
	for word := range strings.FieldsSeq(s) {
		longest = max(longest, displayWidth(word))
	}
	return longest
}

// displayWidth returns how many columns of a terminal a text takes. Colors take none.
func displayWidth(s string) int { return text.StringWidthWithoutEscSequences(s) }

// lastWidth returns how wide the last column can be if rows are at most width wide: 0 if there is no limit, and -1 if the
// rows do not fit.
func lastWidth(rows [][]string, width int) int {
	if width == 0 {
		return 0
	}
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, value := range r {
			widths[i] = max(widths[i], displayWidth(value))
		}
	}
	last := len(widths) - 1
	available := width - last*len(gap)
	for _, w := range widths[:last] {
		available -= w
	}
	if available < min(widths[last], minLastWidth) {
		return -1
	}
	return available
}

// align returns rows with aligned columns. The last column wraps at last, unless it is 0.
func align(rows [][]string, last int) string {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", gap
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	for _, r := range rows {
		cells := make(table.Row, len(r))
		for i, value := range r {
			cells[i] = value
		}
		t.AppendRow(cells)
		t.SetColumnConfigs([]table.ColumnConfig{{Number: len(r), WidthMax: last, WidthMaxEnforcer: text.WrapSoft}})
	}
	return t.Render()
}

// stack returns the values of a row in lines of at most width. All lines but the first are indented.
func stack(columns []column, values []string, width int) []string {
	var lines []string
	for i, value := range values {
		if value == "" || value == "-" {
			continue
		}
		if label := columns[i].label; label != "" {
			value = label + " " + value
		}
		last := len(lines) - 1
		switch {
		case last < 0:
			lines = strings.Split(text.WrapSoft(value, width), "\n")
		case displayWidth(lines[last]+gap+value) <= width:
			lines[last] += gap + value
		default:
			lines = append(lines, indent(value, width)...)
		}
	}
	return lines
}

// indent returns a text in indented lines of at most width.
func indent(s string, width int) []string {
	lines := strings.Split(text.WrapSoft(s, max(width-len(gap), 1)), "\n")
	for i, line := range lines {
		lines[i] = gap + strings.TrimRight(line, " ")
	}
	return lines
}
