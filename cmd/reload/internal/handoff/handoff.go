// Package handoff writes without waiting for the reader.
package handoff

import (
	"errors"
	"io"
	"sync"
	"time"
)

// ErrStuck means that the reader has stopped reading, as that of a full pipe or a terminal after Ctrl-S.
var ErrStuck = errors.New("its reader has stopped reading")

// Patience is how long [Writer.Close] waits for the reader.
const Patience = 2 * time.Second

// Writer hands what is written to a goroutine, which writes it to another writer. What the reader has not read is kept in
// memory. It is safe for concurrent use.
type Writer struct {
	w       io.Writer
	written chan struct{} // a value after each Write that has handed something over; closed by Close
	ended   chan struct{} // closed when the goroutine ends

	mu     sync.Mutex
	kept   []byte
	busy   bool // the goroutine writes, or is about to
	closed bool
	err    error // the first error of w; nothing is written after it
}

// NewWriter returns a Writer to w. The caller must close it.
func NewWriter(w io.Writer) *Writer {
	h := &Writer{w: w, written: make(chan struct{}, 1), ended: make(chan struct{})}
	go h.run()
	return h
}

// run writes what is kept until the Writer is closed.
func (h *Writer) run() {
	defer close(h.ended)
	for range h.written {
		for p := h.next(nil); p != nil; {
			_, err := h.w.Write(p)
			p = h.next(err)
		}
	}
}

// next returns what to write after a write that returned err, or nil if there is nothing.
func (h *Writer) next(err error) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.err, h.kept = err, nil
	}
	p := h.kept
	h.kept, h.busy = nil, len(p) > 0
	return p
}

// Write keeps p for the goroutine. It returns the error of an earlier write.
func (h *Writer) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.err != nil:
		return 0, h.err
	case h.closed:
		return 0, io.ErrClosedPipe
	}
	h.kept, h.busy = append(h.kept, p...), true
	select {
	case h.written <- struct{}{}:
	default: // the goroutine has not seen the value before
	}
	return len(p), nil
}

// Busy reports whether something was not written yet.
func (h *Writer) Busy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.busy
}

// Close waits until everything is written, but not longer than [Patience]. It returns the first error, which is [ErrStuck]
// after that time. The goroutine then ends when its write does, which may be never: a write to a pipe cannot be interrupted.
// A second Close returns the same error.
func (h *Writer) Close() error {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.written)
	}
	h.mu.Unlock()
	select {
	case <-h.ended:
	case <-time.After(Patience):
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy {
		h.err, h.kept = ErrStuck, nil
	}
	return h.err
}
