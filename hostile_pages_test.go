package reloads_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// Wherever a link leads, the next request goes to the client's own address, with the link's query, or there is none.
func TestHostileLinks(t *testing.T) {
	t.Parallel()
	elsewhere, hits := gateway(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, emptyPage) })
	for href, follows := range map[string]string{
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
		"":                                             "the end",
	} {
		link, err := json.Marshal(href)
		if err != nil {
			t.Fatal(err)
		}
		pages := map[string]string{"": page(`{"next":{"href":`+string(link)+`}}`, "a"), follows: page("{}", "b")}
		client, requests := book(t, pages, none)
		ids, errs, _ := collect(client.All(t.Context(), reloads.ListOptions{}))
		want := map[string][]string{"an error": {"a"}, "the end": {"a"}}[follows]
		if want == nil {
			want = []string{"a", "b"}
		}
		if diff := cmp.Diff(want, ids); diff != "" || (errs > 0) != (follows == "an error") || len(requests.requests()) != len(want) {
			t.Errorf("%q: %d requests, %d errors (-want +got):\n%s", href, len(requests.requests()), errs, diff)
		}
	}
	if n := len(hits.requests()); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
	// What is no link is a broken page, not the end of the list.
	for _, links := range []string{`{"next":{"href":5}}`, `{"next":"?next=2"}`, `{"next":[]}`, `[]`, `"x"`} {
		client, _ := book(t, map[string]string{"": page(links, "a")}, none)
		if ids, errs, err := collect(client.All(t.Context(), reloads.ListOptions{})); ids != nil || errs != 1 || asError(t, err).Err == nil {
			t.Errorf("links %s: %v, %v", links, ids, err)
		}
	}
}

// A list whose pages are empty for ever comes to an end; one with some empty pages is read whole.
func TestEmptyPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for empty, class := range map[int]error{999: nil, 1 << 30: reloads.ErrCursorLoop} {
			n := 0
			client := scriptedClient(t, plays(func(r *http.Request) (*http.Response, error) {
				n++
				text := page(fmt.Sprintf(`{"next":{"href":"?next=%d"}}`, n))
				if n > empty {
					text = page("{}", "a")
				}
				return answer(200, text)(r)
			}))
			ids, _, err := collect(client.All(t.Context(), reloads.ListOptions{}))
			if !errors.Is(err, class) || (len(ids) == 1) != (class == nil) || n > 1001 {
				t.Errorf("with %d empty pages: %v, %v after %d requests", empty, ids, err, n)
			}
		}
	})
}

// A page may hold more than was asked for.
func TestAPageOfTenThousandRecords(t *testing.T) {
	t.Parallel()
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = fmt.Sprint("r", i)
	}
	client := scriptedClient(t, plays(answer(200, page("{}", ids...))))
	got, _, err := collect(client.All(t.Context(), reloads.ListOptions{Limit: 10}))
	if !slices.Equal(got, ids) || err != nil {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// The same iterator is ranged over by many at once, each from the beginning.
func TestAnIteratorIsRangedOverAtOnce(t *testing.T) {
	t.Parallel()
	client, _ := book(t, three)
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

// For random sequences of faults, what All yields is the beginning of the truth, without repeats or gaps, and all of it
// if there was no error.
func TestAllYieldsAPrefixOfTheTruth(t *testing.T) {
	t.Parallel()
	whole, broken := 0, 0
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			tenant := reloadstest.NewTenant()
			var truth []string
			for i := range random.IntN(60) {
				id := fmt.Sprintf("%024d", i)
				tenant.AddReload(reloads.Reload{
					ID: id, AppID: "app", Status: reloads.StatusSucceeded, CreationTime: time.Now().Add(time.Duration(-i) * time.Minute),
				})
				truth = append(truth, id)
			}
			probability := []int{5, 2}[random.IntN(2)]
			chance := func(*http.Request) bool { return random.IntN(probability) == 0 }
			for range random.IntN(8) {
				tenant.Inject(randomFault(random, chance))
			}
			client := tenant.NewClient(reloads.WithAttemptTimeout(10*time.Second), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: random.IntN(3)}))
			opts := reloads.ListOptions{AppID: "app", Limit: 1 + random.IntN(10), Prefetch: random.IntN(2) == 0}
			got, errs, err := collect(client.All(t.Context(), opts))
			if errs > 1 || len(got) > len(truth) || !slices.Equal(got, truth[:len(got)]) {
				t.Errorf("seed %d: %d errors, yielded %v of %v", seed, errs, got, truth)
			}
			if err == nil && len(got) != len(truth) {
				t.Errorf("seed %d: %d of %d records and no error", seed, len(got), len(truth))
			}
			if err == nil {
				whole++
			} else {
				broken++
			}
		})
	}
	if whole < 50 || broken < 50 {
		t.Errorf("%d lists were read whole and %d were not: too few of one kind to tell", whole, broken)
	}
}

// randomFault is something that goes wrong with a list.
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

// A context that ends ends the iteration, wherever it is.
func TestAContextEndsTheIteration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		endlessly := plays(func(r *http.Request) (*http.Response, error) {
			n++
			return answer(200, page(fmt.Sprintf(`{"next":{"href":"?next=%d"}}`, n), strings.Repeat("x", n)))(r)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, errs, err := collect(scriptedClient(t, endlessly).All(ctx, reloads.ListOptions{}))
		if errs != 1 || !errors.Is(err, context.DeadlineExceeded) || n > reloads.Tier1PerMinute {
			t.Errorf("%d requests, %d errors, the last %v", n, errs, err)
		}
	})
}
