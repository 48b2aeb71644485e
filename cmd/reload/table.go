package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// row is a row of a table.
type row []cell

// cell is a text with an SGR color code. "" means no color.
type cell struct{ text, color string }

// statusCell returns a cell with the status in its color.
func statusCell(s reloads.Status) cell {
	switch s {
	case reloads.StatusSucceeded:
		return cell{string(s), "32"} // green
	case reloads.StatusFailed, reloads.StatusExceededLimit:
		return cell{string(s), "31"} // red
	case reloads.StatusCanceling, reloads.StatusCanceled:
		return cell{string(s), "33"} // yellow
	default:
		return cell{string(s), "36"} // cyan
	}
}

// columns returns the columns of the table of reloads.
func (o *output) columns() []column {
	columns := []column{
		{name: "ID"}, {name: "APP"}, {name: "STATUS"}, {name: "TYPE", optional: true}, {name: "CREATED"},
		{name: "QUEUED", optional: true, label: "queued"}, {name: "RAN", label: "ran"},
	}
	if o.withRows {
		columns = append(columns, column{name: "READ", label: "read"}, column{name: "STORED", label: "stored"})
	}
	return append(columns, column{name: "ERROR"})
}

// cells returns the row of a reload in that table.
func (o *output) cells(r *reloads.Reload) row {
	cells := row{
		{text: r.ID}, {text: r.AppID}, statusCell(r.Status), {text: string(r.Type)}, {text: o.formatTime(r.CreationTime)},
		{text: formatDuration(r.QueueTime())}, {text: formatDuration(r.RunTime())},
	}
	if o.withRows {
		s := r.Summary()
		cells = append(cells, cell{text: formatCount(s.RowsRead)}, cell{text: formatCount(s.RowsStored)})
	}
	return append(cells, cell{text: batch.Reason(r)})
}

// details returns a table with one row for each field of a reload.
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
	add("Created", o.formatTime(r.CreationTime))
	add("Ended", o.formatTime(r.EndTime))
	add("Queued", formatDuration(r.QueueTime()))
	add("Ran", formatDuration(r.RunTime()))
	s := r.Summary()
	add("Rows read", formatCount(s.RowsRead))
	add("Rows stored", formatCount(s.RowsStored))
	add("Error", batch.Reason(r))
	for i, line := range strings.Split(strings.TrimSpace(r.Log), "\n") {
		name := ""
		if i == 0 {
			name = "Log"
		}
		add(name, strings.TrimSpace(line))
	}
	return rows
}

// formatCount formats a number of rows; "-" if it is unknown.
func formatCount(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}

// writeTable writes rows with aligned columns. On a terminal, it cuts long texts.
func (o *output) writeTable(columns []column, rows []row) error {
	if o.stdoutTerminal {
		for _, r := range rows {
			for i := range r {
				r[i].text = show.Cut(show.Line(r[i].text), show.MaxProblem)
			}
		}
	}
	_, err := fmt.Fprintln(o.stdout, formatTable(columns, o.paintRows(rows), o.width))
	return err
}

// writeDetails writes rows of a name and a value.
func (o *output) writeDetails(rows []row) error {
	_, err := fmt.Fprintln(o.stdout, formatDetails(o.paintRows(rows), o.width))
	return err
}

// paintRows returns the texts of rows for standard output.
func (o *output) paintRows(rows []row) [][]string {
	texts := make([][]string, len(rows))
	for i, r := range rows {
		for _, c := range r {
			texts[i] = append(texts[i], o.paint(c, o.stdoutTerminal))
		}
	}
	return texts
}

// paint returns the text of a cell, in color if the output is a terminal that supports it.
func (o *output) paint(c cell, terminal bool) string {
	text := show.Line(c.text)
	if !terminal || !o.color || c.color == "" || text == "" {
		return text
	}
	return "\x1b[" + c.color + "m" + text + "\x1b[0m"
}
