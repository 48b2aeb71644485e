package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/report"
)

// reports are the files that the results are written to. "" means none, "-" means standard output.
type reports struct {
	html, junit, json string
	open              []openReport // in the order in which they are written: standard output is last
	stdout            bool         // one of them goes to standard output
}

// openReport is a report that is written when the batch has ended.
type openReport struct {
	write  func(io.Writer, *batch.Batch) error
	path   string    // of the file that it replaces
	file   *os.File  // a file that cannot be replaced, such as a device; or nil
	stdout io.Writer // standard output; or nil
}

// create finds out whether all reports can be written, so that a wrong name is found before the batch begins. No report may
// replace another one, or one of the inputs, which are files by their flags.
func (r *reports) create(stdout io.Writer, inputs map[string]string) error {
	var last []openReport
	var used []usedFile
	for flag, path := range inputs {
		used = append(used, newUsedFile(flag, path))
	}
	for _, report := range []struct {
		flag, path string
		write      func(io.Writer, *batch.Batch) error
	}{{"--report", r.html, report.HTML}, {"--junit", r.junit, report.JUnit}, {"--json", r.json, report.JSON}} {
		if report.path == "" {
			continue
		}
		o, name := openReport{write: report.write, path: report.path}, report.path
		var file usedFile
		if isStdout(report.path) {
			name, o.stdout, r.stdout = "standard output", stdout, true
			last = append(last, o)
			file = newUsedStream(report.flag, name, os.Stdout)
		} else if err := o.create(); err != nil {
			return err
		} else {
			r.open = append(r.open, o)
			file = newUsedFile(report.flag, report.path)
		}
		if i := slices.IndexFunc(used, file.is); i >= 0 {
			return fmt.Errorf("%s and %s cannot both be %s", used[i].flag, report.flag, name)
		}
		used = append(used, file)
	}
	r.open = append(r.open, last...)
	return nil
}

// usedFile is a file that a flag names.
type usedFile struct {
	flag, place string
	info        os.FileInfo // nil if it does not exist
}

func newUsedFile(flag, path string) usedFile {
	if path == "-" {
		return newUsedStream(flag, "standard input", os.Stdin)
	}
	info, _ := os.Stat(path)
	return usedFile{flag, place(path), info}
}

func newUsedStream(flag, name string, stream *os.File) usedFile {
	info, _ := stream.Stat()
	return usedFile{flag, name, info}
}

// is reports whether two files are the same, under whatever names.
func (f usedFile) is(other usedFile) bool {
	return f.place == other.place || f.info != nil && f.info.Mode().IsRegular() && os.SameFile(f.info, other.info)
}

// place returns the absolute path of a file, without links. The file itself need not exist.
func place(path string) string {
	if file, err := filepath.EvalSymlinks(path); err == nil {
		path = file
	} else if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return path
}

// isStdout reports whether a path is that of standard output, such as - or /dev/stdout.
func isStdout(path string) bool {
	if path == "-" {
		return true
	}
	file, err := os.Stat(path)
	if err != nil {
		return false
	}
	stdout, err := os.Stdout.Stat()
	return err == nil && os.SameFile(file, stdout)
}

// create opens the file of a report if it cannot be replaced: a device, a FIFO or a link. It does not wait for a reader of a
// FIFO. Otherwise, it creates a temporary file beside it and removes it again, so that nothing is left if the batch is killed.
func (o *openReport) create() error {
	info, err := os.Lstat(o.path)
	if err == nil && !info.Mode().IsRegular() {
		o.file, err = os.OpenFile(o.path, os.O_WRONLY|os.O_CREATE|syscall.O_NONBLOCK, 0o666) //nolint:gosec // the umask decides
		return err
	}
	f, err := createBeside(o.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// createBeside creates a temporary file beside a file, with the permissions of that file.
func createBeside(path string) (*os.File, error) {
	f, err := os.OpenFile(path+"."+rand.Text(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // the umask decides
	var failed *os.PathError
	if errors.As(err, &failed) {
		failed.Path = path
	}
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil {
		_ = f.Chmod(info.Mode().Perm())
	}
	return f, nil
}

// finish writes all reports.
func (r *reports) finish(b *batch.Batch) error {
	var errs []error
	for _, o := range r.open {
		if o.stdout != nil {
			errs = append(errs, o.write(o.stdout, b))
		} else if err := o.finish(b); err != nil {
			errs = append(errs, &writeError{"the report", err})
		}
	}
	return errors.Join(errs...)
}

// finish writes a report to its file, which it replaces when the report is complete.
func (o *openReport) finish(b *batch.Batch) error {
	if f := o.file; f != nil {
		var err error
		if info, failed := f.Stat(); failed == nil && info.Mode().IsRegular() { // behind a link
			err = f.Truncate(0)
		}
		return errors.Join(err, o.write(f, b), f.Close())
	}
	f, err := createBeside(o.path)
	if err != nil {
		return err
	}
	if err = errors.Join(o.write(f, b), f.Close()); err == nil {
		err = os.Rename(f.Name(), o.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
