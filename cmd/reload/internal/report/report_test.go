package report

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
)

var update = flag.Bool("update", false, "write the golden files")

// formats are all reports, by the suffix of their files.
var formats = map[string]func(io.Writer, *batch.Batch) error{"html": HTML, "xml": JUnit, "json": JSON}

// write returns the report of a batch.
func write(t *testing.T, format string, b *batch.Batch) string {
	t.Helper()
	var out bytes.Buffer
	if err := formats[format](&out, b); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*batch.Batch{"night": night(), "interrupted": interruptedNight(), "resumed": resumedNight(), "empty": empty()} {
		for format := range formats {
			got := strings.Replace(write(t, format, b), pageCSS, "…", 1)
			got = regexp.MustCompile(`sha256-.*?=`).ReplaceAllString(got, "sha256-…") // of the style sheet
			file := filepath.Join("testdata", name+"."+format)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got; go test -update accepts it):\n%s", file, diff)
			}
		}
	}
}

// failingWriter fails after n bytes, as a full disk does.
type failingWriter struct {
	n   int
	err error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		p = p[:w.n]
		w.n = 0
		return len(p), w.err
	}
	w.n -= len(p)
	return len(p), nil
}

func TestErrorsOfWriting(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	for format, f := range formats {
		size := len(write(t, format, short()))
		for _, n := range []int{0, 100, size - 1} {
			if err := f(&failingWriter{n, full}, short()); !errors.Is(err, full) {
				t.Errorf("%s after %d of %d bytes: %v", format, n, size, err)
			}
		}
		if err := f(&failingWriter{size, full}, short()); err != nil {
			t.Errorf("%s with enough space: %v", format, err)
		}
	}
}

func TestReportsDoNotChangeTheBatch(t *testing.T) {
	t.Parallel()
	b := inProgress()
	for format := range formats {
		write(t, format, b)
	}
	if diff := cmp.Diff(inProgress(), b); diff != "" {
		t.Error(diff)
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	b := night()
	if got := end(b); got != at(723) {
		t.Errorf("the batch ended at %v", got)
	}
	b.Ended = time.Time{}
	if got := end(b); got != at(723) {
		t.Errorf("without an end, its last step ended at %v", got)
	}
	b = inProgress()
	b.Offset = time.Second
	if got := end(b); got != at(3) {
		t.Errorf("the last reload started at %v by the clock of this machine, want 3 s after the beginning", got)
	}
	if got := end(empty()); got != began {
		t.Errorf("a batch without steps ended at %v", got)
	}
}
