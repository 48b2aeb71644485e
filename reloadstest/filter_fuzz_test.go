package reloadstest

import (
	"strings"
	"testing"

	"github.com/reloads-go/reloads"
)

// The parser either accepts or refuses any filter. It does not panic, and its recursion is limited.
func FuzzFilter(f *testing.F) {
	f.Add(`(status eq "FAILED" or status eq "EXCEEDED_LIMIT") and partial eq "false" and type eq "chronos"`)
	f.Add(`((`)
	f.Add(`status eq "\"`)
	f.Fuzz(func(t *testing.T, s string) {
		selects, err := parseFilter(s)
		if err != nil {
			return
		}
		r := reloads.Reload{Status: reloads.StatusFailed, Type: reloads.TypeHub}
		if strings.Count(s, "(") >= 100 {
			return // the added parentheses may exceed the limit
		}
		again, err := parseFilter("(" + s + ") and (" + s + ")")
		if err != nil || again(&r) != selects(&r) {
			t.Errorf("%q combined with itself selects other reloads: %v", s, err)
		}
	})
}

// Filters that are built with package reloads can be parsed, and select the right reloads.
func FuzzBuiltFilter(f *testing.F) {
	f.Add([]byte("s0 t1 p& |"), "FAILED", "hub")
	f.Add([]byte("sp&t|sp&&"), `a"b\`, "(status eq \"x\") or")
	f.Add([]byte("ss|tt|&pp&|"), "\x00\xff\u2028", "<é>")
	f.Fuzz(func(t *testing.T, program []byte, status, kind string) {
		status, kind = strings.ToValidUTF8(status, "\uFFFD"), strings.ToValidUTF8(kind, "\uFFFD")
		type built struct {
			filter  reloads.Filter
			selects func(*reloads.Reload) bool
		}
		var stack []built
		for _, op := range program[:min(len(program), 50)] {
			n := len(stack)
			switch {
			case op == 's':
				stack = append(stack, built{reloads.StatusIs(reloads.Status(status), reloads.StatusQueued), func(r *reloads.Reload) bool {
					return r.Status == reloads.Status(status) || r.Status == reloads.StatusQueued
				}})
			case op == 't':
				stack = append(stack, built{reloads.TypeIs(reloads.Type(kind)), func(r *reloads.Reload) bool { return r.Type == reloads.Type(kind) }})
			case op == 'p':
				stack = append(stack, built{reloads.PartialIs(true), func(r *reloads.Reload) bool { return r.Partial }})
			case op == '&' && n > 1:
				a, b := stack[n-2], stack[n-1]
				stack = append(stack[:n-2], built{reloads.And(a.filter, "", b.filter), func(r *reloads.Reload) bool { return a.selects(r) && b.selects(r) }})
			case op == '|' && n > 1:
				a, b := stack[n-2], stack[n-1]
				stack = append(stack[:n-2], built{reloads.Or(a.filter, b.filter, " "), func(r *reloads.Reload) bool { return a.selects(r) || b.selects(r) }})
			}
		}
		for _, b := range stack {
			parsed, err := parseFilter(string(b.filter))
			if err != nil {
				t.Fatalf("%s: %v", b.filter, err)
			}
			for _, s := range []string{status, string(reloads.StatusQueued), "other"} {
				for _, k := range []string{kind, "other"} {
					for _, partial := range []bool{true, false} {
						r := reloads.Reload{Status: reloads.Status(s), Type: reloads.Type(k), Partial: partial}
						if parsed(&r) != b.selects(&r) {
							t.Errorf("%s on %s, %s, %v: %v", b.filter, s, k, partial, parsed(&r))
						}
					}
				}
			}
		}
	})
}
