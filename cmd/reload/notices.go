package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// sink is a writer to another one, which may change.
type sink struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// to changes the writer to w. It returns the one before.
func (s *sink) to(w io.Writer) (before io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.w = s.w, w
	return before
}

// maxNotices is how many kinds of failures are shown.
const maxNotices = 20

// notices is a [slog.Handler] of the client. It shows failures in spite of which the client continues, such as failed polls:
// the first one of each kind, in a line. It is safe for concurrent use.
type notices struct {
	w io.Writer

	mu    sync.Mutex
	shown map[string]bool
}

// Enabled reports whether a level is that of a failure.
func (n *notices) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// WithAttrs returns n, because the client sets no attributes for all its records.
func (n *notices) WithAttrs([]slog.Attr) slog.Handler { return n }

// WithGroup returns n.
func (n *notices) WithGroup(string) slog.Handler { return n }

// Handle shows a record with an error.
func (n *notices) Handle(_ context.Context, r slog.Record) error {
	var text string
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			text = nestedPrefix.ReplaceAllString(a.Value.String(), "$1")
		}
		return text == ""
	})
	kind := r.Message + kindOf(text)
	n.mu.Lock()
	defer n.mu.Unlock()
	if text == "" || n.shown[kind] || len(n.shown) == maxNotices {
		return nil
	}
	n.shown[kind] = true
	text = strings.TrimPrefix(r.Message, "reloads: ") + ": " + text
	_, err := fmt.Fprintln(n.w, "reload:", show.Cut(show.Line(text), show.MaxProblem))
	return err
}

// httpStatus matches the status of a response in the text of an error.
var httpStatus = regexp.MustCompile(`: \d{3} [A-Z]`)

// kindOf returns the part of the text of an error that is the same for all reloads: the status of the response or, without
// one, the last cause.
func kindOf(text string) string {
	if status := httpStatus.FindString(text); status != "" {
		return status
	}
	return text[strings.LastIndexByte(text, ':')+1:]
}
