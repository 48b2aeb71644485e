package reloads_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestList(t *testing.T) {
	t.Parallel()
	client, requests := serve(t, always(http.StatusOK, testdata(t, "page.json")))
	got, err := client.List(t.Context(), reloads.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The links of the documented example have no query. This is an error only when they are used as cursors.
	want := &reloads.Page{Reloads: []reloads.Reload{documented}, Next: "?", Prev: "?", Self: "http://example.com"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the page (-want +got):\n%s", diff)
	}
	if r := requests.requests()[0]; r.Method != "GET" || r.URI != prefix+"/api/v1/reloads" || r.Body != "" {
		t.Errorf("sent %s %s %q, want no query and no body", r.Method, r.URI, r.Body)
	}
}

// Only the query of a link is used, and no address in a body is contacted. An empty page is not the end.
func TestAllForward(t *testing.T) {
	t.Parallel()
	client, requests := servePages(t, threePages)
	all := client.All(t.Context(), reloads.ListOptions{})
	if n := len(requests.requests()); n != 0 {
		t.Errorf("%d requests before the range", n)
	}
	for _, all := range []iter.Seq2[*reloads.Reload, error]{all, all} { // ranging again starts again
		ids, _, err := collect(all)
		if diff := cmp.Diff([]string{"a", "b", "c", "d"}, ids); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	once := []string{"", "appId=a&next=2", "next=3%3D%3D"}
	if diff := cmp.Diff(slices.Repeat(once, 2), queries(requests)); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

func TestAllBackward(t *testing.T) {
	t.Parallel()
	client, requests := servePages(t, threePages)
	ids, _, err := collect(client.All(t.Context(), reloads.ListOptions{PageSize: 2, Prev: "last"}))
	if diff := cmp.Diff([]string{"d", "c", "b2", "b", "a"}, ids); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"limit=2&prev=last", "prev=2", "prev=1"}, queries(requests)); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

func TestPagesFromCursor(t *testing.T) {
	t.Parallel()
	client, _ := servePages(t, threePages)
	var got []reloads.Page
	for page, err := range client.Pages(t.Context(), reloads.ListOptions{Next: "?appId=a&next=2"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, *page)
	}
	want := []reloads.Page{
		{Reloads: []reloads.Reload{}, Next: "?next=3%3D%3D", Prev: "?prev=1"},
		{Reloads: []reloads.Reload{{ID: "c"}, {ID: "d"}}, Prev: "?prev=2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBreakSendsNoFurtherRequest(t *testing.T) {
	t.Parallel()
	client, requests := servePages(t, threePages)
	for r, err := range client.All(t.Context(), reloads.ListOptions{}) {
		if err != nil || r.ID == "b" {
			break
		}
	}
	for _, err := range client.Pages(t.Context(), reloads.ListOptions{}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if diff := cmp.Diff([]string{"", ""}, queries(requests)); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

// Changes to the options after the call have no effect.
func TestListOptionsAreCopied(t *testing.T) {
	t.Parallel()
	client, requests := serve(t, always(http.StatusOK, emptyPage))
	partial := true
	opts := reloads.ListOptions{AppID: "a", Partial: &partial}
	all := client.All(t.Context(), opts)
	partial, opts.AppID = false, "b"
	for range 2 {
		if _, _, err := collect(all); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"appId=a&partial=true", "appId=a&partial=true"}, queries(requests)); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

func TestErrorEndsIteration(t *testing.T) {
	t.Parallel()
	client, requests := servePages(t, map[string]string{"": pageJSON(`{"next":{"href":"?next=2"}}`, "a")})
	ids, errs, err := collect(client.All(t.Context(), reloads.ListOptions{}))
	if diff := cmp.Diff([]string{"a"}, ids); diff != "" || errs != 1 || !errors.Is(err, reloads.ErrBadRequest) {
		t.Errorf("%d errors, the last %v (-want +got):\n%s", errs, err, diff)
	}
	if n := len(requests.requests()); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ids, errs, err := collect(client.All(ctx, reloads.ListOptions{})); ids != nil || errs != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("with a canceled context: %v, %d errors, the last %v", ids, errs, err)
	}
}

// One record that cannot be decoded makes the page an error, which names it.
func TestListWithInvalidRecord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ record, id string }{
		"status of another kind": {`{"id":"odd-1","status":{"of":"another kind"}}`, `"odd-1"`},
		"weight of another kind": {`{"id":"odd-1","weight":"heavy"}`, `"odd-1"`},
		"time of another kind":   {`{"status":"FAILED","endTime":"yesterday","id":"odd-1"}`, `"odd-1"`},
		"numeric id":             {`{"id":4711,"status":"FAILED"}`, `"4711"`},
		"no id":                  {`{"status":"FAILED"}`, `record 1 (id "")`},
		"not an object":          {`17`, `record 1 (id "")`},
		"null":                   {`null`, `record 1 (id "")`},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"data":[{"id":"a"},` + c.record + `,{"id":"b"}],"links":{"next":{"href":"?next=2"}}}`
			client, requests := servePages(t, map[string]string{"": body})
			page, err := client.List(t.Context(), reloads.ListOptions{})
			if e := asError(t, err); page != nil || e.StatusCode != http.StatusOK || !strings.Contains(err.Error(), c.id) {
				t.Errorf("List: got %+v, %v, want an error with %s", page, err, c.id)
			}
			ids, errs, err := collect(client.All(t.Context(), reloads.ListOptions{}))
			if len(ids) != 0 || errs != 1 || !strings.Contains(fmt.Sprint(err), c.id) {
				t.Errorf("All: got %q and %d errors, the last %v, want one with %s", ids, errs, err, c.id)
			}
			if n := len(requests.requests()); n != 2 {
				t.Errorf("%d requests, want 2: a retry would bring the same page", n)
			}
		})
	}
}

// The memory that a page of invalid records needs is proportional to its size. Each error shows the beginning of the page.
func TestMemoryOfInvalidRecords(t *testing.T) {
	skipUnderRace(t)
	record := `{"id":"x","endTime":"yesterday","log":"` + strings.Repeat("x", 50_000) + `"}`
	body := `{"data":[` + record + strings.Repeat(","+record, 99) + `]}`
	client := scriptedClient(t, respond(200, body), unmetered)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := client.List(t.Context(), reloads.ListOptions{Log: true})
	runtime.ReadMemStats(&after)
	if e := asError(t, err); !strings.HasPrefix(body, e.Body) || len(e.Body) != 512 {
		t.Errorf("the error shows %q", e.Body)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 20*uint64(len(body)) {
		t.Errorf("List allocated %d KiB for a page of %d KiB", n>>10, len(body)>>10)
	} else {
		t.Logf("List allocated %d KiB for a page of %d KiB", n>>10, len(body)>>10)
	}
}

// The iteration ends with its context.
func TestContextEndsIteration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		endlessly := scripted(func(r *http.Request) (*http.Response, error) {
			n++
			return respond(200, pageJSON(fmt.Sprintf(`{"next":{"href":"?next=%d"}}`, n), strings.Repeat("x", n)))(r)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, errs, err := collect(scriptedClient(t, endlessly).All(ctx, reloads.ListOptions{}))
		if errs != 1 || !errors.Is(err, context.DeadlineExceeded) || n > reloads.Tier1PerMinute {
			t.Errorf("%d requests, %d errors, the last %v", n, errs, err)
		}
	})
}

// A cursor contains the app of its list. It is refused together with another AppID, before anything is sent.
func TestCursorOfAnotherApp(t *testing.T) {
	t.Parallel()
	for cursor, ok := range map[string]bool{
		"?next=2": true, "?appId=a": true, "?appId=a&next=2": true, "?next=2&appId=%61": true, "https://t.example.com/api/v1/reloads?appId=a&next=2#x": true,
		"appId=b": true, "?appid=b": true, // a bare value, and another parameter
		"?appId=b": false, "?next=2&appId=b": false, "?app%49d=b&next=2": false, "?appId=a&appId=b": false, "?appId=b&appId=a": false, "?appId=": false, "?appId": false,
		"https://t.example.com/api/v1/reloads?appId=b": false, "?appId=A": false, "?appId=a+": false,
	} {
		for _, opts := range []reloads.ListOptions{{AppID: "a", Next: cursor}, {AppID: "a", Prev: cursor}} {
			client, requests := serve(t, always(http.StatusOK, emptyPage), noRetries)
			_, listErr := client.List(t.Context(), opts)
			_, errs, allErr := collect(client.All(t.Context(), opts))
			for _, err := range []error{listErr, allErr} {
				if (err == nil) != ok {
					t.Errorf("%q: %v", cursor, err)
				}
				if err != nil {
					refusedBeforeSending(t, err, "AppID", `"a"`)
				}
			}
			if n := len(requests.requests()); (n == 0) == ok || ok != (errs == 0) || errs > 1 {
				t.Errorf("%q: %d requests, %d errors", cursor, n, errs)
			}
			opts.AppID = "" // then the cursor alone counts
			if _, err := client.List(t.Context(), opts); err != nil {
				t.Errorf("%q without AppID: %v", cursor, err)
			}
		}
	}
}

// Many goroutines range over the same iterator at once. Each starts at the beginning.
func TestConcurrentIteration(t *testing.T) {
	t.Parallel()
	client, _ := servePages(t, threePages)
	all := client.All(t.Context(), reloads.ListOptions{})
	var ranging sync.WaitGroup
	for range 20 {
		ranging.Go(func() {
			ids, _, err := collect(all)
			if diff := cmp.Diff([]string{"a", "b", "c", "d"}, ids); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	ranging.Wait()
}

func TestEndOfList(t *testing.T) {
	t.Parallel()
	for _, links := range []string{
		"null", "{}", `{"next":null}`, `{"next":{}}`, `{"next":{"href":null}}`, `{"next":{"href":""}}`, `{"self":{"href":"?next=1"},"prev":{"href":"?prev=1"}}`,
	} {
		client, requests := serve(t, always(http.StatusOK, pageJSON(links, "a")))
		if ids, _, err := collect(client.All(t.Context(), reloads.ListOptions{})); len(ids) != 1 || err != nil || len(requests.requests()) != 1 {
			t.Errorf("%s: %v, %v, %d requests", links, ids, err, len(requests.requests()))
		}
	}
	// A link without a query is an error, not the end.
	for _, href := range []string{"https://t.example.com/api/v1/reloads", "x", "/?", "?#next=1"} {
		client, _ := serve(t, always(http.StatusOK, pageJSON(`{"next":{"href":"`+href+`"}}`, "a")))
		if ids, errs, err := collect(client.All(t.Context(), reloads.ListOptions{})); len(ids) != 1 || errs != 1 || err == nil {
			t.Errorf("%s: %v and %v, want an error after the page", href, ids, err)
		}
	}
	// A page without links is the last one.
	client, _ := serve(t, always(http.StatusOK, `{"data":[{"id":"a"}]}`))
	if ids, _, err := collect(client.All(t.Context(), reloads.ListOptions{})); len(ids) != 1 || err != nil {
		t.Errorf("without links: %v and %v", ids, err)
	}
}

// A list with many empty pages is read completely. A list of nothing but empty pages ends with an error.
func TestEmptyPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for empty, class := range map[int]error{999: nil, 1 << 30: reloads.ErrCursorLoop} {
			n := 0
			client := scriptedClient(t, scripted(func(r *http.Request) (*http.Response, error) {
				n++
				text := pageJSON(fmt.Sprintf(`{"next":{"href":"?next=%d"}}`, n))
				if n > empty {
					text = pageJSON("{}", "a")
				}
				return respond(200, text)(r)
			}))
			ids, _, err := collect(client.All(t.Context(), reloads.ListOptions{}))
			if !errors.Is(err, class) || (len(ids) == 1) != (class == nil) || n > 1001 {
				t.Errorf("with %d empty pages: %v, %v after %d requests", empty, ids, err, n)
			}
		}
	})
}

func TestCursorLoop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pages map[string]string
		opts  reloads.ListOptions
		want  []string
	}{
		"the same":          {map[string]string{"": pageJSON(`{"next":{"href":"?n=1"}}`, "a"), "n=1": pageJSON(`{"next":{"href":"?n=1"}}`, "b")}, reloads.ListOptions{}, []string{"a", "b"}},
		"two in turn":       {map[string]string{"": pageJSON(`{"next":{"href":"?n=1"}}`, "a"), "n=1": pageJSON(`{"next":{"href":"?n=2"}}`, "b"), "n=2": pageJSON(`{"next":{"href":"?n=1"}}`, "c")}, reloads.ListOptions{}, []string{"a", "b", "c"}},
		"back to the start": {map[string]string{"limit=1": pageJSON(`{"next":{"href":"?n=1"}}`, "a"), "n=1": pageJSON(`{"next":{"href":"?limit=1"}}`, "b")}, reloads.ListOptions{PageSize: 1}, []string{"a", "b"}},
		"backward":          {map[string]string{"prev=1": pageJSON(`{"prev":{"href":"?prev=1"}}`, "a")}, reloads.ListOptions{Prev: "1"}, []string{"a"}},
	} {
		client, requests := servePages(t, c.pages)
		ids, errs, err := collect(client.All(t.Context(), c.opts))
		if diff := cmp.Diff(c.want, ids[:min(len(c.want), len(ids))]); diff != "" || errs != 1 || !errors.Is(err, reloads.ErrCursorLoop) {
			t.Errorf("%s: %d errors, the last %v (-want +got):\n%s", name, errs, err, diff)
		}
		if n := len(requests.requests()); n > 3*len(c.pages) {
			t.Errorf("%s: %d requests, want at most %d", name, n, 3*len(c.pages))
		}
	}
}

// The loop body may modify a page.
func TestPagesThatAreModified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			n, _ := strconv.Atoi(r.URL.Query().Get("next"))
			if n == 1200 {
				return respond(200, pageJSON(`{}`, "last"))(r)
			}
			return respond(200, pageJSON(fmt.Sprintf(`{"next":{"href":"?next=%d"}}`, n+1), "a"))(r)
		}), unmetered)
		pages := 0
		for page, err := range client.Pages(t.Context(), reloads.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			pages++
			*page = reloads.Page{}
		}
		if pages != 1201 {
			t.Errorf("%d pages, want 1201", pages)
		}
	})
}

// A list can lead into a loop after a tail of pages. Every shape is detected within three times the distinct pages, and
// is one error after pages that are the beginning of the list.
func TestCursorLoopOfEveryShape(t *testing.T) {
	t.Parallel()
	requests := 0
	for tail := 0; tail <= 50; tail += size(1, 9) {
		for cycle := 1; cycle <= 50; cycle += size(1, 8) {
			distinct, sent := tail+cycle, 0
			name := "next"
			opts := reloads.ListOptions{Next: "?p=0"}
			if (tail+cycle)%2 == 1 {
				name, opts = "prev", reloads.ListOptions{Prev: "?p=0"}
			}
			client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
				sent++
				page, err := strconv.Atoi(strings.TrimPrefix(r.URL.RawQuery, "p="))
				if err != nil {
					t.Fatal(err)
				}
				next := page + 1
				if next == distinct {
					next = tail
				}
				if sent > 3*distinct { // not detected, so the list ends
					name = "self"
				}
				return respond(200, pageJSON(fmt.Sprintf(`{%q:{"href":"?p=%d"}}`, name, next), strconv.Itoa(page)))(r)
			}), unmetered)
			ids, errs, err := collect(client.All(t.Context(), opts))
			if errs != 1 || !errors.Is(err, reloads.ErrCursorLoop) || sent > 3*distinct || len(ids) != sent {
				t.Fatalf("tail %d, cycle %d: %d requests for %d pages, %d reloads, %d errors, the last %v", tail, cycle, sent, distinct, len(ids), errs, err)
			}
			for i, id := range ids[:distinct] {
				if id != strconv.Itoa(i) {
					t.Fatalf("tail %d, cycle %d: the reloads are %v", tail, cycle, ids)
				}
			}
			requests += sent
		}
	}
	t.Logf("%d requests", requests)
}

// The next request goes to the client's own endpoint with the query of the link, whatever host the link names.
func TestLinksToOtherHosts(t *testing.T) {
	t.Parallel()
	elsewhere, hits := gateway(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, emptyPage) })
	for href, query := range map[string]string{
		elsewhere + "/api/v1/reloads?next=2":           "next=2",
		"http://elsewhere.example.com?next=2":          "next=2",
		"ftp://127.0.0.1/?next=2":                      "next=2",
		"file:///etc/passwd?next=2":                    "next=2",
		"http://169.254.169.254/latest?next=2":         "next=2",
		"http://[fe80::1%25eth0]/?next=2":              "next=2",
		"https://user:pw@elsewhere.example.com?next=2": "next=2",
		"//elsewhere.example.com?next=2":               "next=2",
		"?next=2#@elsewhere.example.com":               "next=2",
		"?next=2\r\nHost: elsewhere.example.com":       "next=2%0D%0AHost:%20elsewhere.example.com",
		"javascript:alert(1)?next=2":                   "next=2",
		"https://elsewhere.example.com/":               "an error",
		"https://elsewhere.example.com/#?next=2":       "an error",
	} {
		link, err := json.Marshal(href)
		if err != nil {
			t.Fatal(err)
		}
		pages := map[string]string{"": pageJSON(`{"next":{"href":`+string(link)+`}}`, "a"), query: pageJSON("{}", "b")}
		client, requests := servePages(t, pages, noRetries)
		ids, errs, _ := collect(client.All(t.Context(), reloads.ListOptions{}))
		want := []string{"a", "b"}
		if query == "an error" {
			want = want[:1]
		}
		if diff := cmp.Diff(want, ids); diff != "" || (errs > 0) != (query == "an error") || len(requests.requests()) != len(want) {
			t.Errorf("%q: %d requests, %d errors (-want +got):\n%s", href, len(requests.requests()), errs, diff)
		}
	}
	if n := len(hits.requests()); n != 0 {
		t.Errorf("%d requests went to another host", n)
	}
}

// An invalid link makes the page invalid. It does not end the list.
func TestInvalidLinks(t *testing.T) {
	t.Parallel()
	for _, links := range []string{`{"next":{"href":5}}`, `{"next":"?next=2"}`, `{"next":[]}`, `[]`, `"x"`} {
		client, _ := servePages(t, map[string]string{"": pageJSON(links, "a")}, noRetries)
		if ids, errs, err := collect(client.All(t.Context(), reloads.ListOptions{})); ids != nil || errs != 1 || asError(t, err).Err == nil {
			t.Errorf("links %s: %v, %v", links, ids, err)
		}
	}
}

// A link can contain anything. Requests go only to the client's own host.
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
			wire := scripted(func(r *http.Request) (*http.Response, error) {
				sent = r.URL
				return respond(200, emptyPage)(r)
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
				t.Errorf("%q: sent to %v", cursor, sent)
			}
			if strings.ContainsFunc(sent.RawQuery, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }) {
				t.Errorf("%q: the query %q has bytes that are not allowed in a query", cursor, sent.RawQuery)
			}
			if (cursor != "") != (sent.RawQuery != "") {
				t.Errorf("%q: the query is %q", cursor, sent.RawQuery)
			}
		}
	})
}

// A page can have more records than the limit of the request.
func TestPageLargerThanLimit(t *testing.T) {
	t.Parallel()
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = fmt.Sprint("r", i)
	}
	client := scriptedClient(t, scripted(respond(200, pageJSON("{}", ids...))))
	got, _, err := collect(client.All(t.Context(), reloads.ListOptions{PageSize: 10}))
	if !slices.Equal(got, ids) || err != nil {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// For random sequences of faults, what All yields is the beginning of the truth, without repeats or gaps, and all of it
// if there was no error.
func TestAllYieldsPrefixUnderFaults(t *testing.T) {
	t.Parallel()
	complete, failed := 0, 0
	for seed := range uint64(size(300, 150)) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			tenant := reloadstest.NewTenant()
			var want []string
			for i := range random.IntN(60) {
				id := fmt.Sprintf("%024d", i)
				tenant.AddReload(reloads.Reload{
					ID: id, AppID: "app", Status: reloads.StatusSucceeded, CreationTime: time.Now().Add(time.Duration(-i) * time.Minute),
				})
				want = append(want, id)
			}
			probability := []int{5, 2}[random.IntN(2)]
			chance := func(*http.Request) bool { return random.IntN(probability) == 0 }
			for range random.IntN(8) {
				tenant.Inject(randomFault(random, chance))
			}
			client := tenant.NewClient(reloads.WithAttemptTimeout(10*time.Second), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: random.IntN(3)}))
			opts := reloads.ListOptions{AppID: "app", PageSize: 1 + random.IntN(10)}
			got, errs, err := collect(client.All(t.Context(), opts))
			if errs > 1 || len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
				t.Errorf("seed %d: %d errors, yielded %v of %v", seed, errs, got, want)
			}
			if err == nil && len(got) != len(want) {
				t.Errorf("seed %d: %d of %d records and no error", seed, len(got), len(want))
			}
			if err == nil {
				complete++
			} else {
				failed++
			}
		})
	}
	if complete < 50 || failed < 50 {
		t.Errorf("%d lists were complete and %d failed, want at least 50 of each", complete, failed)
	}
}

// randomFault returns a random fault of the list operation.
func randomFault(random *rand.Rand, match func(*http.Request) bool) reloadstest.Fault {
	f := reloadstest.Fault{Operation: reloadstest.List, Match: match, Times: 1 + random.IntN(4)}
	switch random.IntN(9) {
	case 0:
		f.LoseBefore = true
	case 1:
		f.LoseAfter = true
	case 2:
		f.CutBody = -1
	case 3:
		f.CutBody = 1 + random.IntN(500)
	case 4:
		f.Status = []int{500, 502, 503, 504, 429, 403, 404, 400, 302}[random.IntN(9)]
	case 5:
		f.DelayAnswer = time.Duration(random.IntN(20)) * time.Second
	case 6:
		f.Status, f.Body = 200, []string{"", "null", "{}", "[]", `{"data":null}`, "<html>", `{"data":[{"id":""}]}`, `{"data":[`}[random.IntN(8)]
	case 7:
		f.Status, f.Header = 429, http.Header{"Retry-After": {fmt.Sprint(random.IntN(400))}}
	case 8:
		f.Delay = time.Duration(random.IntN(20)) * time.Second
	}
	return f
}

// skipUnderRace skips a test that measures memory, because the race detector multiplies memory and time.
func skipUnderRace(t *testing.T) {
	t.Helper()
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector multiplies the memory that this test measures")
	}
}

// heapInUse returns the size of the heap after a garbage collection.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// repeatedPages serves the same records as many pages. It calls at for each page.
func repeatedPages(pages int, records string, at func()) *scriptedTransport {
	n := 0
	return scripted(func(r *http.Request) (*http.Response, error) {
		n++
		at()
		links := fmt.Sprintf(`{"next":{"href":"?next=%064d&limit=100"}}`, n)
		if n == pages {
			links = `{}`
		}
		return respond(200, `{"data":[`+records+`],"links":`+links+`}`)(r)
	})
}

func TestMemoryOfLongIteration(t *testing.T) {
	skipInShortMode(t)
	skipUnderRace(t)
	records := make([]string, 100)
	for i := range records {
		records[i] = benchRecord(i)
	}
	const pages = 10_000
	var start, peak int64
	requests := 0
	wire := repeatedPages(pages, strings.Join(records, ","), func() {
		if requests++; requests%500 == 0 {
			peak = max(peak, heapInUse())
		}
	})
	client := scriptedClient(t, unrecorded{wire}, reloads.WithLimiters(unlimited))
	start = heapInUse()
	n := 0
	for r, err := range client.All(t.Context(), reloads.ListOptions{PageSize: 100}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%50_050 == 0 { // in the middle of a page
			peak = max(peak, heapInUse())
			runtime.KeepAlive(r)
		}
	}
	if n != 100*pages {
		t.Errorf("%d records", n)
	}
	t.Logf("%d records: at most %d KiB above the start", n, (peak-start)>>10)
	if peak-start > 8<<20 {
		t.Errorf("the heap grew by %d KiB, want at most 8 MiB", (peak-start)>>10)
	}
}

// All keeps no cursor of an earlier page. A million reloads have 100,000 of them at ten a page.
func TestMemoryOfCursors(t *testing.T) {
	skipInShortMode(t)
	skipUnderRace(t)
	const pages, perPage = 100_000, 10
	records := strings.Repeat(`{"id":"r"},`, perPage-1) + `{"id":"r"}`
	filler := strings.Repeat("c", 250)
	page := 0
	var peak, start int64
	wire := outcome(func(r *http.Request) (*http.Response, error) {
		if page++; page%(pages/10) == 0 || page == 100 { // at first, what the client allocates once
			if peak = max(peak, heapInUse()); page == 100 {
				start = peak
			}
		}
		links := "{}"
		if page < pages {
			links = `{"next":{"href":"?next=` + filler + strconv.Itoa(page) + `"}}`
		}
		return respond(200, `{"data":[`+records+`],"links":`+links+`}`)(r)
	})
	client := scriptedClient(t, wire, unmetered)
	began, n := time.Now(), 0
	for r, err := range client.All(t.Context(), reloads.ListOptions{}) {
		if err != nil || r.ID != "r" {
			t.Fatalf("%+v, %v", r, err)
		}
		n++
	}
	t.Logf("%d records in %v: at most %d KiB above the start", n, time.Since(began).Round(time.Millisecond), (peak-start)>>10)
	if n != pages*perPage || page != pages {
		t.Errorf("%d records in %d requests", n, page)
	}
	if peak-start > 1<<20 {
		t.Errorf("the heap grew by %d KiB, want at most 1 MiB", (peak-start)>>10)
	}
}

func TestMemoryOfPagesWithLogs(t *testing.T) {
	skipUnderRace(t)
	const record = 1 << 20
	pages := size(20, 3)
	log := strings.Repeat("x", record)
	records := make([]string, 10)
	for i := range records {
		records[i] = fmt.Sprintf(`{"id":"r%d","log":"%d%s"}`, i, i, log)
	}
	page := strings.Join(records, ",")
	var start, peak int64
	client := scriptedClient(t, unrecorded{repeatedPages(pages, page, func() { peak = max(peak, heapInUse()-start) })}, reloads.WithLimiters(unlimited))
	start = heapInUse()
	n := 0
	for r, err := range client.All(t.Context(), reloads.ListOptions{Log: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%10 == 5 {
			peak = max(peak, heapInUse()-start)
		}
		if len(r.Log) != record+1 {
			t.Fatalf("a log of %d bytes", len(r.Log))
		}
	}
	t.Logf("pages of %d MiB: at most %d KiB above the start", len(page)>>20, peak>>10)
	if n != 10*pages || peak > int64(len(page))+1<<20 {
		t.Errorf("%d records; the heap grew by %d KiB for pages of %d KiB", n, peak>>10, len(page)>>10)
	}
}

// unrecorded is a transport that does not record the requests.
type unrecorded struct{ *scriptedTransport }

func (f unrecorded) RoundTrip(r *http.Request) (*http.Response, error) { return f.outcomes[0](r) }

// A link without a query is the fault of the service, not of the caller.
func TestNextLinkWithoutQuery(t *testing.T) {
	t.Parallel()
	for _, href := range []string{"https://tenant.example.com/api/v1/reloads", "/api/v1/reloads?", "#top"} {
		client := scriptedClient(t, scripted(respond(http.StatusOK, pageJSON(fmt.Sprintf(`{"next":{"href":%q}}`, href), "a"))))
		ids, errs, err := collect(client.All(t.Context(), reloads.ListOptions{}))
		if errs != 1 || errors.Is(err, reloads.ErrBadRequest) || len(ids) != 1 {
			t.Errorf("link %q: got %q and %d errors, %v, want one that is not ErrBadRequest", href, ids, errs, err)
		}
	}
}

// The error of a link without a query does not quote the links, which can contain a query or a token.
func TestErrorOfLinkWithoutQuery(t *testing.T) {
	t.Parallel()
	page := `{"data":[` + queued + `],"links":{"self":{"href":"https://x/reloads?token=` + testToken + `"},"next":{"href":"https://x/reloads/2"}}}`
	client := scriptedClient(t, scripted(respond(200, page)))
	_, _, err := collect(client.All(t.Context(), reloads.ListOptions{}))
	if err == nil || !strings.Contains(err.Error(), "no query") || strings.Contains(err.Error(), "token") {
		t.Errorf("got %v", err)
	}
}
