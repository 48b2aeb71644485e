package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/reloads-go/reloads"
)

// row is a row of a table.
type row []cell

// cell is a text with a colour, as SGR has it; "" is none.
type cell struct{ text, colour string }

// statusCell is a status in its colour.
func statusCell(s reloads.Status) cell {
	switch s {
	case reloads.StatusSucceeded:
		return cell{string(s), "32"} // green
	case reloads.StatusFailed, reloads.StatusExceededLimit:
		return cell{string(s), "31"} // red
	case reloads.StatusCanceling, reloads.StatusCanceled:
		return cell{string(s), "33"} // yellow
	}
	return cell{string(s), "36"} // cyan
}

// header is that of the table of reloads.
func (o *output) header() row {
	h := row{{text: "ID"}, {text: "APP"}, {text: "STATUS"}, {text: "TYPE"}, {text: "CREATED"}, {text: "QUEUED"}, {text: "RAN"}}
	if o.withRows {
		h = append(h, cell{text: "READ"}, cell{text: "STORED"})
	}
	return append(h, cell{text: "ERROR"})
}

// cells are those of a reload under the header.
func (o *output) cells(r *reloads.Reload) row {
	cells := row{
		{text: r.ID}, {text: r.AppID}, statusCell(r.Status), {text: string(r.Type)}, {text: o.when(r.CreationTime)},
		{text: long(r.QueueTime())}, {text: long(r.RunTime())},
	}
	if o.withRows {
		s := r.Summary()
		cells = append(cells, cell{text: figure(s.RowsRead)}, cell{text: figure(s.RowsStored)})
	}
	return append(cells, cell{text: reason(r)})
}

// details are a reload, a field a row.
func (o *output) details(r *reloads.Reload) []row {
	rows := []row{{{text: "ID"}, {text: r.ID}}, {{text: "App"}, {text: r.AppID}}, {{text: "Status"}, statusCell(r.Status)}}
	add := func(name, value string) {
		if value != "" && value != "-" {
			rows = append(rows, row{{text: name}, {text: value}})
		}
	}
	add("Type", string(r.Type))
	if r.Partial {
		add("Partial", "yes")
	}
	if r.Weight > 0 {
		add("Weight", strconv.Itoa(r.Weight))
	}
	add("Created", o.when(r.CreationTime))
	add("Ended", o.when(r.EndTime))
	add("Queued", long(r.QueueTime()))
	add("Ran", long(r.RunTime()))
	s := r.Summary()
	add("Rows read", figure(s.RowsRead))
	add("Rows stored", figure(s.RowsStored))
	add("Error", reason(r))
	for i, line := range strings.Split(strings.TrimSpace(r.Log), "\n") {
		name := ""
		if i == 0 {
			name = "Log"
		}
		add(name, strings.TrimSpace(line))
	}
	return rows
}

// reason is why a reload failed, as far as its record has fields for it.
func reason(r *reloads.Reload) string {
	if r.ErrorCode != "" && r.ErrorMessage != "" {
		return r.ErrorCode + ": " + r.ErrorMessage
	}
	return r.ErrorCode + r.ErrorMessage
}

// figure shows a figure of the log's summary.
func figure(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}

// table writes rows with aligned columns; the last one is as long as it is.
func (o *output) table(header row, rows []row) {
	if header != nil {
		rows = append([]row{header}, rows...)
	}
	var widths []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(clean(c.text)))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, c := range r {
			text := clean(c.text)
			line.WriteString(o.paint(cell{text, c.colour}, o.stdoutTerminal))
			if i < len(r)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+2))
			}
		}
		fmt.Fprintln(o.stdout, strings.TrimRight(line.String(), " "))
	}
}

// paint is the cell as it is written.
func (o *output) paint(c cell, terminal bool) string {
	text := clean(c.text)
	if !terminal || !o.colour || c.colour == "" || text == "" {
		return text
	}
	return "\x1b[" + c.colour + "m" + text + "\x1b[0m"
}
