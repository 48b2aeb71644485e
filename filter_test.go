package reloads_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
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
		), `(status eq "FAILED" or status eq "EXCEEDED_LIMIT") and (partial eq "false") and (type eq "chronos")`},
		{"one status", failed, `status eq "FAILED"`},
		{"no status", reloads.StatusIs(), ""},
		{"no type", reloads.TypeIs(), ""},
		{"two types", reloads.TypeIs(reloads.TypeHub, "moon"), `type eq "hub" or type eq "moon"`},
		{"partial", reloads.PartialIs(true), `partial eq "true"`},
		{"and of nothing", reloads.And(), ""},
		{"or of nothing", reloads.Or(), ""},
		{"and of one", reloads.And(failed), `status eq "FAILED"`},
		{"empty operands", reloads.And("", failed, reloads.StatusIs(), " ", hub), `(status eq "FAILED") and (type eq "hub")`},
		{"only empty operands", reloads.Or("", reloads.And("", "")), ""},
		{"or in and", reloads.And(reloads.Or(failed, hub), reloads.PartialIs(true)), `((status eq "FAILED") or (type eq "hub")) and (partial eq "true")`},
		{"and in or", reloads.Or(reloads.And(failed, hub), reloads.PartialIs(true)), `((status eq "FAILED") and (type eq "hub")) or (partial eq "true")`},
		{"and in and", reloads.And(reloads.And(failed, hub), failed), `((status eq "FAILED") and (type eq "hub")) and (status eq "FAILED")`},
		{"three levels", reloads.Or(reloads.And(reloads.Or(failed, hub), hub), failed), `(((status eq "FAILED") or (type eq "hub")) and (type eq "hub")) or (status eq "FAILED")`},
		{"quotes and backslashes", reloads.StatusIs(`a"b\c`), `status eq "a\"b\\c"`},
		{"a value that looks like an operator", reloads.And(reloads.StatusIs(`x" or "a) eq (b`), hub), `(status eq "x\" or \"a) eq (b") and (type eq "hub")`},
		{"spaces in a value", reloads.And(reloads.StatusIs("a b c"), hub), `(status eq "a b c") and (type eq "hub")`},
		{"control characters", reloads.StatusIs("a\nb"), `status eq "a\nb"`},
		{"raw text", reloads.And(`status eq "A" or status eq "B"`, hub), `(status eq "A" or status eq "B") and (type eq "hub")`},
		{"raw text in parentheses", reloads.And(`(status eq "A" or status eq "B")`, hub), `((status eq "A" or status eq "B")) and (type eq "hub")`},
		{"raw text in two parentheses without spaces", reloads.And(`(a eq "1")or(b eq "2")`, hub), `((a eq "1")or(b eq "2")) and (type eq "hub")`},
		{"raw text that is no comparison", reloads.And(`not (a eq "1")`, hub), `(not (a eq "1")) and (type eq "hub")`},
		{"raw text with spaces around", reloads.And("  a eq \"1\"\t", hub), `(a eq "1") and (type eq "hub")`},
		{"raw text alone", reloads.And(`a eq "1" or b eq "2"`), `a eq "1" or b eq "2"`},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, c.got, c.want)
		}
	}
}

// The fake tenant evaluates the filters. In its grammar, "and" has precedence over "or".
func TestFiltersSelectReloads(t *testing.T) {
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

func TestListOptionsInQuery(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, c := range []struct {
		opts reloads.ListOptions
		want string
	}{
		{reloads.ListOptions{}, ""},
		{reloads.ListOptions{AppID: "a/b c&d"}, "appId=a%2Fb+c%26d"},
		{reloads.ListOptions{Filter: `status eq "FAILED"`}, "filter=status+eq+%22FAILED%22"},
		{reloads.ListOptions{PageSize: 1}, "limit=1"},
		{reloads.ListOptions{PageSize: 100}, "limit=100"},
		{reloads.ListOptions{Log: true}, "log=true"},
		{reloads.ListOptions{Partial: &yes}, "partial=true"},
		{reloads.ListOptions{Partial: &no}, "partial=false"},
		{reloads.ListOptions{Sort: reloads.SortOldestFirst}, "sort=%2BcreationTime"},
		{reloads.ListOptions{Sort: reloads.SortNewestFirst}, "sort=-creationTime"},
		{reloads.ListOptions{Sort: "status"}, "sort=status"},
		{reloads.ListOptions{Next: "ab=="}, "next=ab%3D%3D"},
		{reloads.ListOptions{Prev: "a+b/c&d=é"}, "prev=a%2Bb%2Fc%26d%3D%C3%A9"},
		{
			reloads.ListOptions{AppID: "a", Filter: "f", PageSize: 7, Log: true, Partial: &yes, Sort: "+endTime", Next: "n"},
			"appId=a&filter=f&limit=7&log=true&next=n&partial=true&sort=%2BendTime",
		},
		// A link carries the options that it was made with.
		{reloads.ListOptions{AppID: "b", PageSize: 7, Next: "?next=x&appId=b"}, "next=x&appId=b"},
		{reloads.ListOptions{AppID: "b", Next: "?next=x"}, "next=x"},
		{reloads.ListOptions{Next: "https://elsewhere.example.com/api/v1/reloads?next=x#f"}, "next=x"},
		{reloads.ListOptions{Prev: "/reloads?prev=%2B+%zz"}, "prev=%2B+%zz"},
		{reloads.ListOptions{Next: "?a b\n\x00é\x7f"}, "a%20b%0A%00%C3%A9%7F"},
		{reloads.ListOptions{Next: "?a=b?c"}, "a=b?c"},
		{reloads.ListOptions{Next: "a#b?c"}, "next=a%23b%3Fc"},
	} {
		client, requests := serve(t, always(http.StatusOK, emptyPage))
		if _, err := client.List(t.Context(), c.opts); err != nil {
			t.Errorf("%+v: %v", c.opts, err)
			continue
		}
		r := requests.requests()[0]
		if path, query, _ := strings.Cut(r.URI, "?"); query != c.want || path != prefix+"/api/v1/reloads" || r.Method != "GET" {
			t.Errorf("%+v: sent %s %s, want the query %s", c.opts, r.Method, r.URI, c.want)
		}
	}
}

func TestInvalidListOptionsAreNotSent(t *testing.T) {
	t.Parallel()
	client, requests := serve(t, always(http.StatusOK, emptyPage))
	for _, c := range []struct {
		opts     reloads.ListOptions
		contains []string
	}{
		{reloads.ListOptions{PageSize: -1}, []string{"PageSize", "-1", "1 to 100"}},
		{reloads.ListOptions{PageSize: 101}, []string{"PageSize", "101", "1 to 100"}},
		{reloads.ListOptions{Next: "a", Prev: "b"}, []string{"Next and Prev", `"a"`, `"b"`}},
		{reloads.ListOptions{AppID: "a", Next: "?next=x&appId=b"}, []string{"AppID", `"a"`, `"b"`}},
		{reloads.ListOptions{AppID: "a", Prev: "/reloads?appId=&appId=b"}, []string{"AppID", `"a"`}},
		{reloads.ListOptions{Next: "?"}, []string{"cursor", `"?"`}},
		{reloads.ListOptions{Prev: "https://t.example.com/?#a"}, []string{"cursor", "https://t.example.com"}},
	} {
		_, err := client.List(t.Context(), c.opts)
		refusedBeforeSending(t, err, c.contains...)
		ids, errs, err := collect(client.All(t.Context(), c.opts))
		if refusedBeforeSending(t, err, c.contains...); errs != 1 || ids != nil {
			t.Errorf("%+v: All yields %v and %d errors", c.opts, ids, errs)
		}
		n := 0
		for page, err := range client.Pages(t.Context(), c.opts) {
			if n++; page != nil || !errors.Is(err, reloads.ErrBadRequest) {
				t.Errorf("%+v: Pages yields %v and %v", c.opts, page, err)
			}
		}
		if n != 1 {
			t.Errorf("%+v: Pages yields %d times", c.opts, n)
		}
	}
	if n := len(requests.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
