package reloadstest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// withHistory returns a tenant with the reloads "0" to "9", which were created one minute apart. They alternate in app,
// status, partial and type, so that each query selects some of them.
func withHistory(opts ...reloadstest.Option) *reloadstest.Tenant {
	tenant := reloadstest.NewTenant(opts...)
	statuses := []reloads.Status{reloads.StatusSucceeded, reloads.StatusFailed, reloads.StatusExceededLimit}
	for i := range 10 {
		created := time.Date(2026, 11, 1, 0, i, 0, 0, time.UTC)
		tenant.AddReload(reloads.Reload{
			ID: fmt.Sprint(i), AppID: []string{"even", "odd"}[i%2], Status: statuses[i%3], Partial: i%4 == 0,
			Type: []reloads.Type{reloads.TypeChronos, reloads.TypeHub}[i/5], Log: "log",
			CreationTime: created, StartTime: created.Add(time.Second), EndTime: created.Add(time.Hour - time.Duration(i)*2*time.Minute),
		})
	}
	return tenant
}

// ids returns the concatenated IDs of the records on a page.
func ids(t *testing.T, resp response) string {
	t.Helper()
	data, ok := resp.body["data"].([]any)
	if !ok {
		t.Fatalf("status %d without data: %v", resp.status, resp.body)
	}
	var all string
	for _, r := range data {
		all += r.(map[string]any)["id"].(string)
	}
	return all
}

func TestListsSelectAndOrder(t *testing.T) {
	tenant := withHistory()
	for query, want := range map[string]string{
		"":                               "9876543210",
		"limit=3":                        "987",
		"appId=odd":                      "97531",
		"partial=true":                   "840",
		"partial=false&limit=2":          "97",
		"sort=creationTime":              "0123456789",
		"sort=%2BcreationTime&limit=1":   "0",
		"sort=-startTime&limit=2":        "98",
		"sort=endTime&limit=2":           "98",
		"sort=-endTime&limit=2":          "01",
		"sort=status":                    "2581470369",
		"sort=-status":                   "9630741852",
		`filter=status eq "FAILED"`:      "741",
		`filter=type eq "hub"&appId=odd`: "975",
		`filter=partial eq true`:         "840",
		`filter=partial eq "false" and type eq "chronos"`:                                                        "321",
		`filter=STATUS EQ "FAILED" Or type eq "hub" AND partial eq true`:                                         "8741",
		`filter=(status eq "FAILED" or type eq "hub") and partial eq true`:                                       "84",
		`filter=(status eq "FAILED" or status eq "EXCEEDED_LIMIT") and partial eq "false" and type eq "chronos"`: "21",
		`filter=status eq "a \" or \\ b"`:                                                                        "",
	} {
		query := strings.ReplaceAll(query, " ", "%20")
		if got := ids(t, do(t, tenant, http.MethodGet, "?"+query, "")); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

func TestInvalidListsAreRefused(t *testing.T) {
	for _, query := range []string{
		"limit=0", "limit=101", "log=yes", "partial=yes", "sort=id", "sort=+status", // a + means a space
		"filter=status", "filter=a;b", "next=a&prev=b", "next=a", "next=e30%3D",
	} {
		if got := do(t, withHistory(), http.MethodGet, "?"+query, ""); got.status != 400 || got.code() != "HTTP-400" {
			t.Errorf("%s: got %d %s, want 400 HTTP-400", query, got.status, got.code())
		}
	}
}

func TestFiltersThatAreRefused(t *testing.T) {
	for _, filter := range []string{
		"status", "status eq", "status eq FAILED", `status ne "FAILED"`, `id eq "1"`, `status eq "FAILED`, `(status eq "FAILED"`,
		`status eq "FAILED")`, `status eq "FAILED" and`, `partial eq "1"`, `status eq "FAILED" type eq "hub"`, `partial eq "maybe"`, `()`,
		strings.Repeat("(", 200) + `status eq "FAILED"` + strings.Repeat(")", 200), `not status eq "FAILED"`, `status eq "\q"`,
	} {
		if got := do(t, withHistory(), http.MethodGet, "?filter="+url.QueryEscape(filter), ""); got.status != 400 {
			t.Errorf("%s: got %d, want 400", filter, got.status)
		}
	}
}

func TestLogsAreListedOnlyIfAskedFor(t *testing.T) {
	for query, want := range map[string]any{"": nil, "?log=false": nil, "?log=true": "log"} {
		first := do(t, withHistory(), http.MethodGet, query, "").body["data"].([]any)[0].(map[string]any)
		if first["log"] != want {
			t.Errorf("%q: the log is %v, want %v", query, first["log"], want)
		}
	}
}

// walk follows the links named rel to the end of the list. It returns the IDs on each page, and the last response.
func walk(t *testing.T, tenant *reloadstest.Tenant, query, rel string) (pages []string, last response) {
	t.Helper()
	for {
		page := do(t, tenant, http.MethodGet, query, "")
		pages, last = append(pages, ids(t, page)), page
		link, _ := page.body["links"].(map[string]any)[rel].(map[string]any)
		href, _ := link["href"].(string)
		if href == "" {
			return pages, last
		}
		_, rest, found := strings.Cut(href, "/api/v1/reloads?")
		if !found || len(pages) > 10 {
			t.Fatalf("after %d pages the link is %q", len(pages), href)
		}
		query = "?" + rest
	}
}

func TestPagesForwardAndBackward(t *testing.T) {
	for name, tenant := range map[string]*reloadstest.Tenant{"absolute": withHistory(), "relative": withHistory(reloadstest.WithRelativeLinks())} {
		forward, last := walk(t, tenant, "?limit=3&sort=status&log=true", "next")
		if diff := cmp.Diff([]string{"258", "147", "036", "9"}, forward); diff != "" {
			t.Errorf("%s links, forward (-want +got):\n%s", name, diff)
		}
		href := last.body["links"].(map[string]any)["prev"].(map[string]any)["href"].(string)
		if got := strings.HasPrefix(href, "https://tenant.example.com/"); got != (name == "absolute") {
			t.Errorf("%s links: %q", name, href)
		}
		_, query, _ := strings.Cut(href, "?")
		backward, first := walk(t, tenant, "?"+query, "prev")
		slices.Reverse(backward)
		if diff := cmp.Diff([]string{"258", "147", "036"}, backward); diff != "" {
			t.Errorf("%s links, backward (-want +got):\n%s", name, diff)
		}
		if next := first.body["links"].(map[string]any)["next"].(map[string]any)["href"]; next == nil {
			t.Errorf("%s links: the first page, reached backward, has no next", name)
		}
	}
}

// A reload that is added between two requests does not shift the pages.
func TestCursorsStayWhereTheyAre(t *testing.T) {
	tenant := withHistory()
	first := do(t, tenant, http.MethodGet, "?limit=4", "")
	href := first.body["links"].(map[string]any)["next"].(map[string]any)["href"].(string)
	tenant.AddReload(reloads.Reload{ID: "X", AppID: "odd", Status: reloads.StatusSucceeded})
	_, query, _ := strings.Cut(href, "?")
	if got := ids(t, first) + ids(t, do(t, tenant, http.MethodGet, "?"+query, "")); got != "98765432" {
		t.Errorf("the first two pages are %s", got)
	}
}

// The creation times of records may differ by less than a millisecond and may be in different time zones.
func TestNoPageLosesARecord(t *testing.T) {
	tenant := reloadstest.NewTenant()
	created := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for id, at := range map[string]time.Time{
		"b": created.Add(100 * time.Microsecond),
		"a": created.Add(500 * time.Microsecond),
		"z": created.Add(time.Minute).In(time.FixedZone("west", -5*60*60)),
	} {
		tenant.AddReload(reloads.Reload{ID: id, AppID: "app", CreationTime: at})
	}
	pages, _ := walk(t, tenant, "?limit=1", "next")
	if diff := cmp.Diff([]string{"z", "a", "b"}, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}
