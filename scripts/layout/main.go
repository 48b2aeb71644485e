// Command layout checks the structure of the root package: every file may refer only to itself and to files below it in the
// list under "Layout" in CONTRIBUTING.md, and functions and files stay short. Run it in the root directory:
//
//	go run ./scripts/layout
package main

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxFiles         = 32
	maxTestFiles     = 29
	maxLines         = 6486 // of all files that are not tests
	maxFileLines     = 300
	maxFunctionLines = 45
)

func main() {
	problems, err := check()
	if err != nil {
		fmt.Fprintln(os.Stderr, "layout:", err)
		os.Exit(2)
	}
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, "layout:", p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

func check() (problems []string, err error) {
	manual, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		return nil, err
	}
	listed := listedFiles(string(manual))
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		return nil, err
	}
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, name := range slices.Concat(listed, pkg.GoFiles) {
		if !slices.Contains(listed, name) {
			report("%s is not listed in CONTRIBUTING.md", name)
		}
		if !slices.Contains(pkg.GoFiles, name) {
			report("%s is listed in CONTRIBUTING.md but does not exist", name)
		}
	}
	if n := len(pkg.GoFiles); n > maxFiles {
		report("%d files, at most %d are allowed", n, maxFiles)
	}
	if n := len(pkg.TestGoFiles) + len(pkg.XTestGoFiles); n > maxTestFiles {
		report("%d test files, at most %d are allowed", n, maxTestFiles)
	}

	fset := token.NewFileSet()
	var files []*ast.File
	lines := 0
	for _, name := range pkg.GoFiles {
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		n := fset.File(f.Pos()).LineCount() - 1
		lines += n
		if n > maxFileLines {
			report("%s has %d lines, at most %d are allowed", name, n, maxFileLines)
		}
		for _, d := range f.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				if n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1; n > maxFunctionLines {
					report("%v: %s has %d lines, at most %d are allowed", fset.Position(f.Pos()), f.Name.Name, n, maxFunctionLines)
				}
			}
		}
	}
	if lines > maxLines {
		report("%d lines of code, at most %d are allowed", lines, maxLines)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	root, err := config.Check(pkg.Name, fset, files, info)
	if err != nil {
		return nil, err
	}
	for id, object := range info.Uses {
		if object.Pkg() != root || object.Pos() == token.NoPos {
			continue
		}
		from, to := fset.Position(id.Pos()), fset.Position(object.Pos())
		if slices.Index(listed, to.Filename) < slices.Index(listed, from.Filename) {
			report("%v refers to %s in %s, which is above it", from, object.Name(), to.Filename)
		}
	}
	slices.Sort(problems)
	return problems, nil
}

// listedFiles returns the files of the code block under "Layout", from top to bottom.
func listedFiles(manual string) (files []string) {
	_, section, _ := strings.Cut(manual, "\n## Layout\n")
	_, block, _ := strings.Cut(section, "```\n")
	block, _, _ = strings.Cut(block, "```")
	for line := range strings.Lines(block) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if filepath.Ext(name) == ".go" {
			files = append(files, name)
		}
	}
	return files
}
