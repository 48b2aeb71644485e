package main

import (
	"bytes"
	"io"
	"sync"
)

// lineWriter is a writer that several processes can share. It writes one chunk of output at a time.
type lineWriter struct {
	mu        sync.Mutex
	w         io.Writer
	remaining int
	callback  func()
}

// afterSuccesses arranges for callback to be called once, after that number of further apps have succeeded.
func (l *lineWriter) afterSuccesses(apps int, callback func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remaining, l.callback = apps, callback
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remaining -= bytes.Count(p, []byte(" SUCCEEDED\n"))
	if l.callback != nil && l.remaining <= 0 {
		l.callback()
		l.callback = nil
	}
	return l.w.Write(p)
}
