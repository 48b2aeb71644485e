package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/reloads-go/reloads"
)

// output is what the flags say of it, and where it goes.
type output struct {
	json, quiet, raw, utc bool

	stdout, stderr                 io.Writer
	stdoutTerminal, stderrTerminal bool
	colour                         bool

	withRows bool   // the tables have the figures of the log
	rows     []row  // of the table that flush writes
	more     string // the cursor of what is not shown
	answer   bytes.Buffer
}

// open finds out whether people are looking.
func (o *output) open(stdout, stderr *os.File) {
	o.stdout, o.stderr = stdout, stderr
	o.stdoutTerminal, o.stderrTerminal = term.IsTerminal(int(stdout.Fd())), term.IsTerminal(int(stderr.Fd()))
	o.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// people reports whether the output is a table.
func (o *output) people() bool { return !o.json && !o.quiet && !o.raw }

// record keeps the body of the latest answer, for --raw.
func (o *output) record(base http.RoundTripper) http.RoundTripper {
	if !o.raw {
		return base
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err == nil {
			o.answer.Reset()
			resp.Body = struct {
				io.Reader
				io.Closer
			}{io.TeeReader(resp.Body, &o.answer), resp.Body}
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// writeRaw writes the latest answer.
func (o *output) writeRaw() error {
	if o.answer.Len() == 0 {
		return nil
	}
	_, err := fmt.Fprintf(o.stdout, "%s\n", bytes.TrimRight(o.answer.Bytes(), "\n"))
	return err
}

func (o *output) writeJSON(v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintf(o.stdout, "%s\n", line)
	}
	return err
}

// one writes a single reload.
func (o *output) one(r *reloads.Reload) error {
	switch {
	case o.raw:
		return o.writeRaw()
	case o.people():
		o.table(nil, o.details(r))
		return nil
	}
	return o.row(r)
}

// row writes one reload of several: at once, or in the table that flush writes.
func (o *output) row(r *reloads.Reload) error {
	switch {
	case o.json:
		return o.writeJSON(r)
	case o.quiet:
		_, err := fmt.Fprintln(o.stdout, clean(r.ID))
		return err
	}
	o.rows = append(o.rows, o.cells(r))
	return nil
}

// canceled writes the answer to a cancel.
func (o *output) canceled(id string, status reloads.Status) error {
	switch {
	case o.raw:
		return o.writeRaw()
	case o.json:
		return o.writeJSON(map[string]any{"id": id, "status": status})
	case o.quiet:
		_, err := fmt.Fprintln(o.stdout, clean(id))
		return err
	}
	o.table(nil, []row{{{text: "ID"}, {text: id}}, {{text: "Status"}, statusCell(status)}})
	return nil
}

// when shows a time.
func (o *output) when(t time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case o.utc:
		return t.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	switch ago := time.Since(t); {
	case ago < 0:
		return "just now" // by the service's clock
	case ago < time.Minute:
		return fmt.Sprintf("%ds ago", int(ago.Seconds()))
	case ago < time.Hour:
		return fmt.Sprintf("%dm ago", int(ago.Minutes()))
	case ago < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(ago.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(ago.Hours()/24))
	}
}

// long shows a duration; "-" if it is not known.
func long(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// clean makes control characters spaces: what a server sends must not control the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
