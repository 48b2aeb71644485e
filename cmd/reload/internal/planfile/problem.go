package planfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxProblems is how many problems an error contains.
const maxProblems = 10

// problem is something wrong in a document.
type problem struct {
	line, column int
	text         string
}

// report adds a problem at node n.
func (d *document) report(n *yaml.Node, format string, args ...any) {
	d.reportAt(n.Line, n.Column, fmt.Sprintf(format, args...))
}

func (d *document) reportAt(line, column int, text string) {
	d.problems = append(d.problems, problem{max(line, 1), max(column, 1), text})
}

// err returns the problems in order of their positions, one a line, or nil if there are none.
func (d *document) err() error {
	slices.SortFunc(d.problems, func(a, b problem) int {
		return cmp.Or(a.line-b.line, a.column-b.column, strings.Compare(a.text, b.text))
	})
	var errs []error
	for i, p := range d.problems {
		if i == maxProblems {
			errs = append(errs, fmt.Errorf("%s: and %d more errors", d.name, len(d.problems)-i))
			break
		}
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s", d.name, p.line, p.column, p.text))
	}
	return errors.Join(errs...)
}

// maxQuoted is how many characters of a text an error contains.
const maxQuoted = 64

// quote quotes the beginning of s.
func quote(s string) string {
	if runes := []rune(s[:min(len(s), 4*maxQuoted+4)]); len(runes) > maxQuoted {
		return fmt.Sprintf("%q…", string(runes[:maxQuoted]))
	}
	return fmt.Sprintf("%q", s)
}

// quoteKey quotes a key. Where a user forgot the space after a colon, the key contains the value, which may be secret. It
// leaves that out.
func quoteKey(key string) string {
	if i := strings.IndexAny(key, ":="); i >= 0 {
		return quote(key[:i] + "…")
	}
	return quote(key)
}

// suggest returns the end of an error that names the candidate that is most similar to s, or "" if none is.
func suggest(s string, candidates []string) string {
	best, distance := "", 1+min(2, len(s)/3)
	for _, c := range candidates {
		if abs := len(c) - len(s); abs >= distance || -abs >= distance {
			continue
		}
		if n := editDistance(s, c); n < distance {
			best, distance = c, n
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + quote(best) + "?"
}

// editDistance returns how many bytes to insert, delete or replace to make b from a (Levenshtein distance).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
