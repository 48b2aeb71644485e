package main

import (
	"bytes"
	"io"
	"sync"
)

// lines writes the lines of several processes, one at a time.
type lines struct {
	mu   sync.Mutex
	w    io.Writer
	when int
	then func()
}

// after calls then, once, after so many more apps that succeeded.
func (l *lines) after(apps int, then func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.when, l.then = apps, then
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.when -= bytes.Count(p, []byte(" SUCCEEDED\n"))
	if l.then != nil && l.when <= 0 {
		l.then()
		l.then = nil
	}
	return l.w.Write(p)
}
