package reloads_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/reloads-go/reloads"
)

func TestEveryListOptionGoesOverTheWire(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, c := range []struct {
		opts reloads.ListOptions
		want string
	}{
		{reloads.ListOptions{}, ""},
		{reloads.ListOptions{AppID: "a/b c&d"}, "appId=a%2Fb+c%26d"},
		{reloads.ListOptions{Filter: `status eq "FAILED"`}, "filter=status+eq+%22FAILED%22"},
		{reloads.ListOptions{Limit: 1}, "limit=1"},
		{reloads.ListOptions{Limit: 100}, "limit=100"},
		{reloads.ListOptions{Log: true}, "log=true"},
		{reloads.ListOptions{Partial: &yes}, "partial=true"},
		{reloads.ListOptions{Partial: &no}, "partial=false"},
		{reloads.ListOptions{Sort: reloads.SortOldestFirst}, "sort=%2BcreationTime"},
		{reloads.ListOptions{Sort: reloads.SortNewestFirst}, "sort=-creationTime"},
		{reloads.ListOptions{Sort: "status"}, "sort=status"},
		{reloads.ListOptions{Next: "ab=="}, "next=ab%3D%3D"},
		{reloads.ListOptions{Prev: "a+b/c&d=é"}, "prev=a%2Bb%2Fc%26d%3D%C3%A9"},
		{
			reloads.ListOptions{AppID: "a", Filter: "f", Limit: 7, Log: true, Partial: &yes, Sort: "+endTime", Next: "n"},
			"appId=a&filter=f&limit=7&log=true&next=n&partial=true&sort=%2BendTime",
		},
		// A link carries the options that it was made with.
		{reloads.ListOptions{AppID: "a", Limit: 7, Next: "?next=x&appId=b"}, "next=x&appId=b"},
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

func TestListOptionsThatTheServiceWouldRefuseAreNotSent(t *testing.T) {
	t.Parallel()
	client, requests := serve(t, always(http.StatusOK, emptyPage))
	for _, c := range []struct {
		opts reloads.ListOptions
		says []string
	}{
		{reloads.ListOptions{Limit: -1}, []string{"Limit", "-1", "1 to 100"}},
		{reloads.ListOptions{Limit: 101}, []string{"Limit", "101", "1 to 100"}},
		{reloads.ListOptions{Next: "a", Prev: "b"}, []string{"Next and Prev", `"a"`, `"b"`}},
		{reloads.ListOptions{Next: "?"}, []string{"cursor", `"?"`}},
		{reloads.ListOptions{Prev: "https://t.example.com/?#a"}, []string{"cursor", "https://t.example.com"}},
	} {
		_, err := client.List(t.Context(), c.opts)
		refusedBeforeSending(t, err, c.says...)
		ids, errs, err := collect(client.All(t.Context(), c.opts))
		if refusedBeforeSending(t, err, c.says...); errs != 1 || ids != nil {
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

// A link may say anything: requests only ever go to the client's own host.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{
		"", "?", "?next=abc==", "https://evil.example.com/?next=1", "//evil.example.com?a b", "abc", "a?b#c", "?\x00\r\nHost: evil.example.com", "?é%zz", "#?x", "\\\\evil?x",
		"?@evil.example.com/", "?\"<>`{}|^\\",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		for _, opts := range []reloads.ListOptions{{Next: cursor}, {Prev: cursor}} {
			var sent *url.URL
			wire := plays(func(r *http.Request) (*http.Response, error) {
				sent = r.URL
				return answer(200, emptyPage)(r)
			})
			_, err := scriptedClient(t, wire, reloads.WithLimiters(unlimited)).List(t.Context(), opts)
			if err != nil {
				if sent != nil {
					t.Errorf("%q: sent, and then %v", cursor, err)
				}
				refusedBeforeSending(t, err)
				continue
			}
			if sent.Scheme != "https" || sent.Host != "tenant.example.com" || sent.User != nil || sent.Path != "/api/v1/reloads" || sent.Fragment != "" {
				t.Errorf("%q leads to %v", cursor, sent)
			}
			if strings.ContainsFunc(sent.RawQuery, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }) {
				t.Errorf("%q: the query %q has bytes that it may not hold", cursor, sent.RawQuery)
			}
			if (cursor != "") != (sent.RawQuery != "") {
				t.Errorf("%q becomes the query %q", cursor, sent.RawQuery)
			}
		}
	})
}
