package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// output writes the results of a command in the format that the flags select.
type output struct {
	json, quiet, raw, utc bool

	written                        *resultWriter
	stdout, stderr                 io.Writer // stdout is written
	stdoutTerminal, stderrTerminal bool
	log                            sink // of the client: standard error, below the lines of a display
	color                          bool // use colors on a terminal
	width                          int  // of the terminal on standard output; 0 means no limit

	withRows bool                         // the table has columns for the rows read and stored
	rows     []row                        // collected for flush
	footer   string                       // a line below the table, for standard error
	response atomic.Pointer[bytes.Buffer] // the body of the most recent complete response, if raw is set; nil before
}

// open sets the output streams and detects whether they are terminals.
func (o *output) open(stdout, stderr *os.File) {
	o.written = &resultWriter{w: stdout}
	o.stdout, o.stderr = o.written, stderr
	o.stdoutTerminal, o.stderrTerminal = term.IsTerminal(int(stdout.Fd())), term.IsTerminal(int(stderr.Fd()))
	if o.stdoutTerminal {
		o.width = terminalWidth(stdout)
	}
	o.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// terminalWidth returns the number of columns of a terminal.
func terminalWidth(f *os.File) int {
	if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
		return columns
	}
	return 80
}

// resultWriter is standard output. It keeps the first error, so that no command exits with 0 if its result was lost. A
// command that waits for reloads goes on after such an error, because its exit status says how they ended.
type resultWriter struct {
	mu  sync.Mutex
	w   io.Writer
	err error
}

func (w *resultWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.w.Write(p)
	if err != nil {
		w.err = cmp.Or[error](w.err, &writeError{"the result", err})
	}
	return n, w.err
}

// failure returns the first error, or nil.
func (w *resultWriter) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// table reports whether the output is a table, which is the default format.
func (o *output) table() bool { return !o.json && !o.quiet && !o.raw }

// record returns a transport that records the body of the most recent complete response for --raw.
func (o *output) record(base http.RoundTripper) http.RoundTripper {
	if !o.raw {
		return base
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err == nil {
			resp.Body = &recordedBody{ReadCloser: resp.Body, done: o.response.Store}
		}
		return resp, err
	})
}

// recordedBody passes a body on when it is complete. Several bodies can be read at once: a cancel does not wait for a poll.
type recordedBody struct {
	io.ReadCloser
	text bytes.Buffer
	done func(*bytes.Buffer)
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.text.Write(p[:n])
	if err == io.EOF {
		b.done(&b.text)
	}
	return n, err
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// writeRaw writes the body of the most recent response.
func (o *output) writeRaw() error {
	body := o.response.Load()
	if body == nil || body.Len() == 0 {
		return nil
	}
	_, err := fmt.Fprintf(o.stdout, "%s\n", bytes.TrimRight(body.Bytes(), "\n"))
	return err
}

// writeRawReload writes the body of the most recent response if that is the record of the reload. It is not if a reload was found
// in a list or canceled. Then, it is encoded again.
func (o *output) writeRawReload(r *reloads.Reload) error {
	var record reloads.Reload
	if body := o.response.Load(); body != nil && json.Unmarshal(body.Bytes(), &record) == nil && strings.EqualFold(record.ID, r.ID) {
		return o.writeRaw()
	}
	return o.writeJSON(r)
}

// writeJSON writes v as one line of JSON.
func (o *output) writeJSON(v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintf(o.stdout, "%s\n", show.JSON(line))
	}
	return err
}

// writeReload writes the only reload of a command.
func (o *output) writeReload(r *reloads.Reload) error {
	switch {
	case o.raw:
		return o.writeRawReload(r)
	case o.table():
		return o.writeDetails(o.details(r))
	}
	return o.writeRow(r)
}

// writeRow writes one of several reloads. If the format is a table, it collects the row for flush.
func (o *output) writeRow(r *reloads.Reload) error {
	switch {
	case o.json:
		return o.writeJSON(r)
	case o.quiet:
		_, err := fmt.Fprintln(o.stdout, show.Line(r.ID))
		return err
	}
	o.rows = append(o.rows, o.cells(r))
	return nil
}

// writeCancel writes the result of a cancel request.
func (o *output) writeCancel(id string, status reloads.Status) error {
	switch {
	case o.raw:
		return o.writeRaw()
	case o.json:
		return o.writeJSON(map[string]any{"id": id, "status": status})
	case o.quiet:
		_, err := fmt.Fprintln(o.stdout, show.Line(id))
		return err
	}
	return o.writeDetails([]row{{{text: "ID"}, {text: id}}, {{text: "Status"}, statusCell(status)}})
}

// formatTime formats a time, relative to now unless --utc is set; "-" if it is zero.
func (o *output) formatTime(t time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case o.utc:
		return t.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	switch ago := time.Since(t); {
	case ago < 0:
		return "just now" // the clock of the service may be ahead
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

// formatDuration formats a duration; "-" if it is unknown.
func formatDuration(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return show.Duration(d)
}
