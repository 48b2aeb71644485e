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

// Patience is how long [Writer.Flush] and [Writer.Close] wait for the reader.
const Patience = 2 * time.Second

// Writer hands what is written to a goroutine, which writes it to another writer. What the reader has not read is kept in
// memory. It is safe for concurrent use.
type Writer struct {
	w       io.Writer
	written chan struct{} // a value after each Write that has handed something over; closed by Close

	mu     sync.Mutex
	kept   []byte
	busy   chan struct{} // closed when everything is written; nil if it is
	stuck  bool          // Flush has waited too long, and no write has returned since
	closed bool
	err    error // the first error of w; nothing is written after it
}

// NewWriter returns a Writer to w. The caller must close it.
func NewWriter(w io.Writer) *Writer {
	h := &Writer{w: w, written: make(chan struct{}, 1)}
	go h.run()
	return h
}

// run writes what is kept until the Writer is closed.
func (h *Writer) run() {
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
	h.kept, h.stuck = nil, false
	if len(p) == 0 && h.busy != nil {
		close(h.busy)
		h.busy = nil
	}
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
	h.kept = append(h.kept, p...)
	if h.busy == nil {
		h.busy = make(chan struct{})
	}
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
	return h.busy != nil
}

// Flush waits until everything is written, but not longer than [Patience]. It returns the first error of the writes, or
// [ErrStuck] if the time was too short. Then the next calls return that at once, until the reader reads again.
func (h *Writer) Flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	busy := h.busy
	if busy == nil || h.err != nil {
		return h.err
	}
	if !h.stuck {
		h.mu.Unlock()
		select {
		case <-busy:
		case <-time.After(Patience):
		}
		h.mu.Lock()
		h.stuck = h.busy == busy
	}
	if h.stuck {
		return ErrStuck
	}
	return h.err
}

// Close waits like Flush, and then gives up for good. It ends the goroutine, unless that is in a write, which may never return:
// a write to a pipe cannot be interrupted. A second Close returns the same error.
func (h *Writer) Close() error {
	h.mu.Lock()
	h.stuck = false
	h.mu.Unlock()
	err := h.Flush()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.err, h.kept = err, nil
	}
	if !h.closed {
		h.closed = true
		close(h.written)
	}
	return err
}
