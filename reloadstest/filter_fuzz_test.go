package reloadstest

import (
	"strings"
	"testing"

	"github.com/reloads-go/reloads"
)

// Whatever the filter, it is refused or it answers; it does not panic or recurse without end.
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
			return // one more parenthesis may be nested too deeply
		}
		again, err := parseFilter("(" + s + ") and (" + s + ")")
		if err != nil || again(&r) != selects(&r) {
			t.Errorf("%q does not mean the same twice: %v", s, err)
		}
	})
}
