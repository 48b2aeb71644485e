package handoff

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a writer that writes only while it is open.
type gate struct {
	strings.Builder
	opened chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.opened
	return g.Builder.Write(p)
}

func TestAReaderThatIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{opened: make(chan struct{})}
		w := NewWriter(g)
		for _, text := range []string{"one ", "two ", "three"} {
			if n, err := io.WriteString(w, text); n != len(text) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			synctest.Wait()
		}
		if !w.Busy() {
			t.Error("not busy")
		}
		time.AfterFunc(Patience-1, func() { close(g.opened) })
		if err := w.Close(); err != nil || w.Close() != nil || w.Busy() || g.String() != "one two three" {
			t.Errorf("%v, %q", err, g.String())
		}
		if _, err := io.WriteString(w, "late"); err == nil {
			t.Error("a write after Close succeeds")
		}
	})
}

func TestAReaderThatHasStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{opened: make(chan struct{})}
		w := NewWriter(g)
		_, _ = io.WriteString(w, "one")
		synctest.Wait()
		_, _ = io.WriteString(w, "two")
		began := time.Now()
		if err := w.Close(); !errors.Is(err, ErrStuck) || time.Since(began) != Patience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		close(g.opened) // so that the goroutine ends, which synctest checks
		synctest.Wait()
		if err := w.Close(); !errors.Is(err, ErrStuck) || g.String() != "one" {
			t.Errorf("%v, %q", err, g.String())
		}
	})
}

// Nothing is lost if the reader pauses for longer than Flush waits. Flush waits once for each pause.
func TestAReaderThatPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{opened: make(chan struct{})}
		w := NewWriter(g)
		began := time.Now()
		for _, text := range []string{"one ", "two ", "three "} {
			_, _ = io.WriteString(w, text)
			if err := w.Flush(); !errors.Is(err, ErrStuck) || time.Since(began) != Patience {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		close(g.opened)
		synctest.Wait()
		if _, err := io.WriteString(w, "four"); err != nil || w.Flush() != nil || w.Close() != nil || g.String() != "one two three four" {
			t.Errorf("%v, %q", err, g.String())
		}
		if since := time.Since(began); since != Patience {
			t.Errorf("it took %v", since)
		}
	})
}

// failing is a writer that fails.
type failing struct{ writes int }

func (f *failing) Write([]byte) (int, error) { f.writes++; return 0, io.ErrShortWrite }

func TestAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &failing{}
		w := NewWriter(f)
		_, _ = io.WriteString(w, "one")
		synctest.Wait()
		if _, err := io.WriteString(w, "two"); !errors.Is(err, io.ErrShortWrite) {
			t.Error(err)
		}
		if err := w.Close(); !errors.Is(err, io.ErrShortWrite) || f.writes != 1 {
			t.Errorf("%v after %d writes", err, f.writes)
		}
	})
}

// Several goroutines may write. The race detector watches this test.
func TestConcurrentWrites(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := NewWriter(&out)
	var writing sync.WaitGroup
	for range 10 {
		writing.Go(func() {
			for range 100 {
				_, _ = io.WriteString(w, "line\n")
				w.Busy()
			}
		})
	}
	writing.Wait()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if lines := slices.Collect(strings.Lines(out.String())); len(lines) != 1000 || slices.ContainsFunc(lines, func(l string) bool { return l != "line\n" }) {
		t.Errorf("%d lines", len(lines))
	}
}
