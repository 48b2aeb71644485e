package reloads_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

// No address in a body is contacted, only the query of a link is used; an empty page is not the end.
func TestAllWalksForward(t *testing.T) {
	t.Parallel()
	client, requests := book(t, three)
	all := client.All(t.Context(), reloads.ListOptions{})
	if n := len(requests.requests()); n != 0 {
		t.Errorf("%d requests before it was ranged over", n)
	}
	for _, all := range []iter.Seq2[*reloads.Reload, error]{all, all, client.All(t.Context(), reloads.ListOptions{Prefetch: true})} { // ranging again starts again
		ids, _, err := collect(all)
		if diff := cmp.Diff([]string{"a", "b", "c", "d"}, ids); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	once := []string{"", "appId=a&next=2", "next=3%3D%3D"}
	if diff := cmp.Diff(slices.Repeat(once, 3), queries(requests)); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

func TestAllWalksBackwardInReverse(t *testing.T) {
	t.Parallel()
	client, requests := book(t, three)
	ids, _, err := collect(client.All(t.Context(), reloads.ListOptions{Limit: 2, Prev: "last"}))
	if diff := cmp.Diff([]string{"d", "c", "b2", "b", "a"}, ids); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"limit=2&prev=last", "prev=2", "prev=1"}, queries(requests)); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

func TestPagesWalkFromACursor(t *testing.T) {
	t.Parallel()
	client, _ := book(t, three)
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

func TestABreakCostsNoRequest(t *testing.T) {
	t.Parallel()
	client, requests := book(t, three)
	for r := range client.All(t.Context(), reloads.ListOptions{}) {
		if r.ID == "b" {
			break
		}
	}
	for range client.Pages(t.Context(), reloads.ListOptions{}) {
		break
	}
	if diff := cmp.Diff([]string{"", ""}, queries(requests)); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

// What the caller does with the options afterwards changes nothing.
func TestOptionsAreTakenByValue(t *testing.T) {
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

func TestAnErrorEndsTheIteration(t *testing.T) {
	t.Parallel()
	client, requests := book(t, map[string]string{"": page(`{"next":{"href":"?next=2"}}`, "a")})
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
		t.Errorf("with an ended context: %v, %d errors, the last %v", ids, errs, err)
	}
}

func TestCursorsThatRunInALoop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pages map[string]string
		opts  reloads.ListOptions
		want  []string
	}{
		"the same":          {map[string]string{"": page(`{"next":{"href":"?n=1"}}`, "a"), "n=1": page(`{"next":{"href":"?n=1"}}`, "b")}, reloads.ListOptions{}, []string{"a", "b"}},
		"two in turn":       {map[string]string{"": page(`{"next":{"href":"?n=1"}}`, "a"), "n=1": page(`{"next":{"href":"?n=2"}}`, "b"), "n=2": page(`{"next":{"href":"?n=1"}}`, "c")}, reloads.ListOptions{}, []string{"a", "b", "c"}},
		"back to the start": {map[string]string{"limit=1": page(`{"next":{"href":"?n=1"}}`, "a"), "n=1": page(`{"next":{"href":"?limit=1"}}`, "b")}, reloads.ListOptions{Limit: 1}, []string{"a", "b"}},
		"backward":          {map[string]string{"prev=1": page(`{"prev":{"href":"?prev=1"}}`, "a")}, reloads.ListOptions{Prev: "1"}, []string{"a"}},
	} {
		client, requests := book(t, c.pages)
		c.opts.Prefetch = len(c.want)%2 == 0
		ids, errs, err := collect(client.All(t.Context(), c.opts))
		if diff := cmp.Diff(c.want, ids); diff != "" || errs != 1 || !errors.Is(err, reloads.ErrCursorLoop) {
			t.Errorf("%s: %d errors, the last %v (-want +got):\n%s", name, errs, err, diff)
		}
		if n := len(requests.requests()); n != len(c.pages) {
			t.Errorf("%s: %d requests, want %d", name, n, len(c.pages))
		}
	}
}

func TestTheEndOfAList(t *testing.T) {
	t.Parallel()
	for _, links := range []string{
		"null", "{}", `{"next":null}`, `{"next":{}}`, `{"next":{"href":null}}`, `{"next":{"href":""}}`, `{"self":{"href":"?next=1"},"prev":{"href":"?prev=1"}}`,
	} {
		client, requests := serve(t, always(http.StatusOK, page(links, "a")))
		if ids, _, err := collect(client.All(t.Context(), reloads.ListOptions{})); len(ids) != 1 || err != nil || len(requests.requests()) != 1 {
			t.Errorf("%s: %v, %v, %d requests", links, ids, err, len(requests.requests()))
		}
	}
	// A link that leads nowhere is not taken for the end.
	for _, href := range []string{"https://t.example.com/api/v1/reloads", "x", "/?", "?#next=1"} {
		client, _ := serve(t, always(http.StatusOK, page(`{"next":{"href":"`+href+`"}}`, "a")))
		if ids, errs, err := collect(client.All(t.Context(), reloads.ListOptions{})); len(ids) != 1 || errs != 1 || err == nil {
			t.Errorf("%s: %v and %v, want an error after the page", href, ids, err)
		}
	}
	// A page without links is the last one, too.
	client, _ := serve(t, always(http.StatusOK, `{"data":[{"id":"a"}]}`))
	if ids, _, err := collect(client.All(t.Context(), reloads.ListOptions{})); len(ids) != 1 || err != nil {
		t.Errorf("without links: %v and %v", ids, err)
	}
}

// Where the tenant and the caller need as long for a page, prefetching takes little more than half the time. A break wastes
// one request, which does not outlive the loop.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const pages = 20
		slow := func() (*reloads.Client, *script) {
			n := 0
			wire := plays(func(r *http.Request) (*http.Response, error) {
				select {
				case <-r.Context().Done():
					time.Sleep(time.Second) // until it has ended
					return nil, r.Context().Err()
				case <-time.After(time.Second):
				}
				n++
				links := fmt.Sprintf(`{"next":{"href":"?next=%d"}}`, n)
				if n == pages {
					links = "{}"
				}
				return answer(200, page(links, fmt.Sprint(n)))(r)
			})
			return scriptedClient(t, wire), wire
		}
		took := map[bool]time.Duration{}
		for _, prefetch := range []bool{false, true} {
			client, _ := slow()
			began := time.Now()
			n := 0
			for p, err := range client.Pages(t.Context(), reloads.ListOptions{Prefetch: prefetch}) {
				if n++; err != nil || p.Reloads[0].ID != fmt.Sprint(n) {
					t.Fatalf("page %d: %+v, %v", n, p, err)
				}
				time.Sleep(time.Second)
			}
			if n != pages {
				t.Errorf("%d pages", n)
			}
			took[prefetch] = time.Since(began)
		}
		if t.Logf("%v without, %v with", took[false], took[true]); float64(took[true]) > 0.6*float64(took[false]) {
			t.Errorf("it takes %v, without %v: want at most 0.6 of it", took[true], took[false])
		}

		client, wire := slow()
		began := time.Now()
		for range client.Pages(t.Context(), reloads.ListOptions{Prefetch: true}) {
			synctest.Wait() // the request for the next page is under way
			break
		}
		if n := len(wire.requests()); n != 2 || time.Since(began) != 2*time.Second {
			t.Errorf("%d requests in %v, want 2 in 2s, one of which the second takes to end", n, time.Since(began))
		}
	})
}
