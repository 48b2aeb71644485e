package reloads_test

import (
	"fmt"
	"testing"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestFilters(t *testing.T) {
	t.Parallel()
	failed := reloads.StatusIs(reloads.StatusFailed)
	hub := reloads.TypeIs(reloads.TypeHub)
	for _, c := range []struct {
		name string
		got  reloads.Filter
		want string
	}{
		{"the vendor's example", reloads.And(
			reloads.StatusIs(reloads.StatusFailed, reloads.StatusExceededLimit), reloads.PartialIs(false), reloads.TypeIs(reloads.TypeChronos),
		), `(status eq "FAILED" or status eq "EXCEEDED_LIMIT") and partial eq "false" and type eq "chronos"`},
		{"one status", failed, `status eq "FAILED"`},
		{"no status", reloads.StatusIs(), ""},
		{"no type", reloads.TypeIs(), ""},
		{"two types", reloads.TypeIs(reloads.TypeHub, "moon"), `type eq "hub" or type eq "moon"`},
		{"partial", reloads.PartialIs(true), `partial eq "true"`},
		{"and of nothing", reloads.And(), ""},
		{"or of nothing", reloads.Or(), ""},
		{"and of one", reloads.And(failed), `status eq "FAILED"`},
		{"empty operands", reloads.And("", failed, reloads.StatusIs(), " ", hub), `status eq "FAILED" and type eq "hub"`},
		{"only empty operands", reloads.Or("", reloads.And("", "")), ""},
		{"or in and", reloads.And(reloads.Or(failed, hub), reloads.PartialIs(true)), `(status eq "FAILED" or type eq "hub") and partial eq "true"`},
		{"and in or", reloads.Or(reloads.And(failed, hub), reloads.PartialIs(true)), `(status eq "FAILED" and type eq "hub") or partial eq "true"`},
		{"and in and", reloads.And(reloads.And(failed, hub), failed), `(status eq "FAILED" and type eq "hub") and status eq "FAILED"`},
		{"three levels", reloads.Or(reloads.And(reloads.Or(failed, hub), hub), failed), `((status eq "FAILED" or type eq "hub") and type eq "hub") or status eq "FAILED"`},
		{"quotes and backslashes", reloads.StatusIs(`a"b\c`), `status eq "a\"b\\c"`},
		{"a value that looks like an operator", reloads.And(reloads.StatusIs(`x" or "a) eq (b`), hub), `status eq "x\" or \"a) eq (b" and type eq "hub"`},
		{"spaces in a value", reloads.And(reloads.StatusIs("a b c"), hub), `status eq "a b c" and type eq "hub"`},
		{"control characters", reloads.StatusIs("a\nb"), `status eq "a\nb"`},
		{"raw text", reloads.And(`status eq "A" or status eq "B"`, hub), `(status eq "A" or status eq "B") and type eq "hub"`},
		{"raw text in parentheses", reloads.And(`(status eq "A" or status eq "B")`, hub), `(status eq "A" or status eq "B") and type eq "hub"`},
		{"raw text in two parentheses without spaces", reloads.And(`(a eq "1")or(b eq "2")`, hub), `((a eq "1")or(b eq "2")) and type eq "hub"`},
		{"raw text with a parenthesis in a quote", reloads.And(`(a eq ")"or b eq "2")`, hub), `(a eq ")"or b eq "2") and type eq "hub"`},
		{"raw text in two parentheses", reloads.And(`(a eq "1") or (b eq "2")`, hub), `((a eq "1") or (b eq "2")) and type eq "hub"`},
		{"raw text that is no comparison", reloads.And(`not (a eq "1")`, hub), `(not (a eq "1")) and type eq "hub"`},
		{"raw text with spaces around", reloads.And("  a eq \"1\"\t", hub), `a eq "1" and type eq "hub"`},
		{"raw text alone", reloads.And(`a eq "1" or b eq "2"`), `a eq "1" or b eq "2"`},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, c.got, c.want)
		}
	}
}

// Whatever the spelling, a filter selects what it says: the fake tenant reads it, by the rule that and binds tighter.
func TestFiltersSelectWhatTheySay(t *testing.T) {
	t.Parallel()
	const odd = reloads.Status(`x" or "a) eq (b`)
	tenant := reloadstest.NewTenant()
	for _, status := range []reloads.Status{reloads.StatusFailed, reloads.StatusSucceeded, odd} {
		for _, typ := range []reloads.Type{reloads.TypeHub, reloads.TypeChronos} {
			tenant.AddReload(reloads.Reload{AppID: "app", Status: status, Type: typ})
		}
	}
	failed, hub := reloads.StatusIs(reloads.StatusFailed), reloads.TypeIs(reloads.TypeHub)
	for filter, want := range map[reloads.Filter]int{
		failed:                   2,
		reloads.And(failed, hub): 1,
		reloads.Or(failed, hub):  4,
		reloads.And(reloads.Or(failed, hub), hub):                              3,
		reloads.Or(reloads.And(failed, hub), hub):                              3,
		reloads.And(reloads.StatusIs(odd), hub):                                1,
		reloads.StatusIs(reloads.StatusFailed, odd):                            4,
		reloads.And(`(status eq "FAILED")or(status eq "SUCCEEDED")`, hub):      2,
		reloads.And(reloads.Filter(fmt.Sprintf("%s or %s", failed, hub)), hub): 3,
	} {
		n := 0
		for _, err := range tenant.NewClient().All(t.Context(), reloads.ListOptions{Filter: filter}) {
			if err != nil {
				t.Fatalf("%s: %v", filter, err)
			}
			n++
		}
		if n != want {
			t.Errorf("%s selects %d reloads, want %d", filter, n, want)
		}
	}
}
