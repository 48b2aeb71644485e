package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// pkg is a package and its mutants.
type pkg struct {
	dir     string
	files   map[string][]byte
	mutants []*mutant

	fset     *token.FileSet
	importer types.Importer
	info     *types.Info
	types    *types.Package
}

// load finds the mutants of the package in a directory.
func load(dir string) (*pkg, error) {
	p := &pkg{dir: dir, files: map[string][]byte{}, fset: token.NewFileSet(), info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}}
	listed, err := p.goCommand("list", "-f", `{{join .GoFiles "\n"}}`)
	if err != nil {
		return nil, err
	}
	for _, name := range strings.Fields(listed) {
		if p.files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	// The packages are those that the package imports, and those that the helpers import.
	exported, err := p.goCommand("list", "-export", "-deps", "-f", `{{.ImportPath}} {{.Export}}`, ".", "os", "runtime/metrics", "strconv")
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for line := range strings.Lines(exported) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	p.importer = importer.ForCompiler(p.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })

	asts, errs := p.check(p.files)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	for _, file := range asts {
		f := &finder{pkg: p, file: p.fset.File(file.Pos()), skip: map[ast.Expr]bool{}}
		f.name = filepath.Base(f.file.Name())
		f.src = p.files[f.name]
		ast.PreorderStack(file, nil, f.visit)
	}
	if err := p.dropInvalid(); err != nil {
		return nil, err
	}
	return p, p.markEquivalent()
}

func (p *pkg) goCommand(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = p.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

// check parses the files and checks their types.
func (p *pkg) check(files map[string][]byte) (parsed []*ast.File, errs []error) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file, err := parser.ParseFile(p.fset, name, files[name], parser.SkipObjectResolution)
		if err != nil {
			return nil, []error{err}
		}
		parsed = append(parsed, file)
	}
	config := types.Config{Importer: p.importer, Error: func(err error) { errs = append(errs, err) }}
	p.types, _ = config.Check(parsed[0].Name.Name, p.fset, parsed, p.info)
	return parsed, errs
}

// span is the region of a mutant in the changed file.
type span struct {
	m          *mutant
	start, end int
}

// render returns a file with all its mutants.
func (p *pkg) render(name string) (out []byte, spans []*span) {
	type edit struct {
		pos, order int
		apply      func()
	}
	var edits []edit
	var mutants []*mutant
	for _, m := range p.mutants {
		if m.file == name {
			mutants = append(mutants, m)
		}
	}
	slices.SortStableFunc(mutants, func(a, b *mutant) int { return b.end - b.start - (a.end - a.start) }) // outer ones first
	src, done := p.files[name], 0
	for i, m := range mutants {
		s := &span{m: m}
		spans = append(spans, s)
		edits = append(edits, edit{m.end, -i, func() {
			out = append(out, m.suffix...)
			s.end = len(out)
		}}, edit{m.start, 1 + i, func() {
			s.start = len(out)
			out = append(out, m.prefix...)
		}})
		if m.operator > 0 {
			edits = append(edits, edit{m.operator, 0, func() {
				out = append(out, ',')
				done++
			}})
		}
	}
	slices.SortStableFunc(edits, func(a, b edit) int {
		if a.pos != b.pos {
			return a.pos - b.pos
		}
		return a.order - b.order
	})
	for _, e := range edits {
		out = append(out, src[done:e.pos]...)
		done = e.pos
		e.apply()
	}
	return append(out, src[done:]...), spans
}

// overlay returns the files with all mutants, and a file with the functions that these call.
func (p *pkg) overlay() (files map[string][]byte, spans map[string][]*span) {
	files, spans = map[string][]byte{}, map[string][]*span{}
	for name := range p.files {
		files[name], spans[name] = p.render(name)
	}
	files["mutants__.go"] = fmt.Appendf(nil, helpers, p.types.Name(), len(p.mutants)+1)
	return files, spans
}

// dropInvalid removes the mutants that do not compile.
func (p *pkg) dropInvalid() error {
	for {
		files, spans := p.overlay()
		_, errs := p.check(files)
		if len(errs) == 0 {
			return nil
		}
		invalid := map[*mutant]bool{}
		for _, err := range errs {
			var e types.Error
			if !errors.As(err, &e) {
				return err
			}
			at := p.fset.Position(e.Pos)
			var found *span // the innermost one, or else the last one before
			for _, s := range spans[at.Filename] {
				in := s.start <= at.Offset && at.Offset < s.end
				switch {
				case in && (found == nil || found.end <= at.Offset || s.start > found.start):
					found = s
				case !in && s.end <= at.Offset && (found == nil || s.end > found.end && found.end <= at.Offset):
					found = s
				}
			}
			if found == nil {
				return err
			}
			invalid[found.m] = true
		}
		p.mutants = slices.DeleteFunc(p.mutants, func(m *mutant) bool { return invalid[m] })
	}
}

// build compiles the test binary.
func (p *pkg) build(work string) (*binary, error) {
	dir, err := filepath.Abs(p.dir)
	if err != nil {
		return nil, err
	}
	files, _ := p.overlay()
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for name, code := range files {
		overlay.Replace[filepath.Join(dir, name)] = filepath.Join(work, name)
		if err := os.WriteFile(filepath.Join(work, name), code, 0o600); err != nil {
			return nil, err
		}
	}
	list, _ := json.Marshal(overlay) // strings can always be encoded
	name := filepath.Join(work, "overlay.json")
	if err := os.WriteFile(name, list, 0o600); err != nil {
		return nil, err
	}
	b := &binary{path: filepath.Join(work, "mutants.test"), dir: dir, work: work, reached: map[int][]string{}, took: map[string]time.Duration{}}
	_, err = p.goCommand("test", "-c", "-vet=off", "-o", b.path, "-overlay", name)
	return b, err
}

const helpers = `package %s

import (
	"os"
	"runtime/metrics"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	mutant__active, _ = strconv.Atoi(os.Getenv("MUTANT"))
	mutant__trace     = os.Getenv("MUTANT_TRACE") != ""
	mutant__file      = mutant__start()
	mutant__reached   [%d + 1<<16]atomic.Bool
)

func mutant__start() *os.File {
	if mutant__active > 0 {
		limit, _ := time.ParseDuration(os.Getenv("MUTANT_CPU"))
		memory := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
		var timer *time.Timer // not a goroutine, because tests may look for those that are left
		timer = time.AfterFunc(time.Hour, func() {
			var cpu syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &cpu)
			metrics.Read(memory)
			if memory[0].Value.Uint64() > 1<<30 || time.Duration(cpu.Utime.Nano()+cpu.Stime.Nano()) > limit {
				os.Exit(3)
			}
			timer.Reset(50 * time.Millisecond)
		})
		timer.Reset(50 * time.Millisecond)
	}
	file, _ := os.OpenFile(os.Getenv("MUTANT_TRACE"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return file
}

func mutant__on(id int) bool {
	if mutant__trace {
		mutant__reach(id)
	}
	return id == mutant__active
}

func mutant__reach(id int) {
	if !mutant__reached[id].Swap(true) {
		_, _ = mutant__file.WriteString(strconv.Itoa(id) + "\n")
	}
}

type mutant__number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

func mutant__int[T mutant__number](on bool, original, mutant T) T {
	if on {
		return mutant
	}
	return original
}

func mutant__add[T mutant__number](on bool, a, b T) T {
	if on {
		return a - b
	}
	return a + b
}

func mutant__sub[T mutant__number](on bool, a, b T) T {
	if on {
		return a + b
	}
	return a - b
}

func mutant__mul[T mutant__number](on bool, a, b T) T {
	if on {
		return a / b
	}
	return a * b
}

func mutant__quo[T mutant__number](on bool, a, b T) T {
	if on {
		return a * b
	}
	return a / b
}
`
