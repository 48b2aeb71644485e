package reloadstest_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// path returns the path of the reload in the body of a response, relative to /api/v1/reloads.
func (r response) path() string {
	id, _ := r.body["id"].(string)
	return "/" + id
}

// onlyRecord returns the only record of a list.
func onlyRecord(t *testing.T, list response) map[string]any {
	t.Helper()
	data, _ := list.body["data"].([]any)
	if len(data) != 1 {
		t.Fatalf("status %d with %d records, want 1", list.status, len(data))
	}
	return data[0].(map[string]any)
}

func TestListLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lag = 5 * time.Second
		tenant := newTenant(reloadstest.App{RunFor: time.Second}, reloadstest.WithListLag(lag))
		tenant.AddReload(reloads.Reload{ID: "old", AppID: "app", Status: reloads.StatusFailed, CreationTime: time.Now().Add(-lag)})
		tenant.AddReload(reloads.Reload{ID: "new", AppID: "app", Status: reloads.StatusFailed})
		created := trigger(t, tenant, "app")
		if got := trigger(t, tenant, "app"); got.status != 429 {
			t.Errorf("the app has no pending reload: got %d", got.status)
		}
		if got := do(t, tenant, http.MethodGet, created.path(), ""); got.status != 200 {
			t.Errorf("the new reload cannot be read: got %d", got.status)
		}
		time.Sleep(lag - time.Millisecond)
		for _, query := range []string{"", "?appId=app", "?sort=status", "?limit=1"} {
			if got := do(t, tenant, http.MethodGet, query, ""); ids(t, got) != "old" {
				t.Errorf("%q, before the lag has passed: listed %q", query, ids(t, got))
			}
		}
		if pages, _ := walk(t, tenant, "?limit=1", "next"); len(pages) != 1 {
			t.Errorf("before the lag has passed, the pages are %q", pages)
		}
		time.Sleep(time.Millisecond)
		if got := ids(t, do(t, tenant, http.MethodGet, "?appId=app", "")); got != "new"+created.path()[1:]+"old" {
			t.Errorf("after the lag: listed %q", got)
		}
		if n := len(tenant.Reloads()); n != 3 {
			t.Errorf("Reloads returns %d, want 3", n)
		}
	})
}

func TestTimePrecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234567891 * time.Nanosecond)
		for precision, want := range map[time.Duration]string{
			0: "2000-01-01T00:00:01.234Z", -time.Second: "2000-01-01T00:00:01.234Z",
			10 * time.Millisecond: "2000-01-01T00:00:01.23Z", time.Second: "2000-01-01T00:00:01Z",
		} {
			tenant := newTenant(reloadstest.App{}, reloadstest.WithTimePrecision(precision))
			created := trigger(t, tenant, "app")
			for place, record := range map[string]map[string]any{
				"trigger": created.body,
				"get":     do(t, tenant, http.MethodGet, created.path(), "").body,
				"list":    onlyRecord(t, do(t, tenant, http.MethodGet, "", "")),
			} {
				for _, field := range []string{"creationTime", "startTime", "endTime", "engineTime"} {
					if record[field] != want {
						t.Errorf("%v: %s has the %s %v, want %s", precision, place, field, record[field], want)
					}
				}
			}
			if got := tenant.Reloads()[0].CreationTime.Nanosecond(); got != 234e6 {
				t.Errorf("%v: Reloads returns a time that is rounded: %d ns", precision, got)
			}
		}
	})
}

// Rounded times do not change the pages of a list.
func TestTimePrecisionKeepsTheOrder(t *testing.T) {
	tenant := reloadstest.NewTenant(reloadstest.WithTimePrecision(time.Minute))
	created := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i, id := range []string{"c", "a", "d", "b"} {
		tenant.AddReload(reloads.Reload{ID: id, AppID: "app", CreationTime: created.Add(time.Duration(i) * time.Second)})
	}
	pages, _ := walk(t, tenant, "?limit=1", "next")
	if diff := cmp.Diff([]string{"b", "d", "a", "c"}, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func TestTriggerType(t *testing.T) {
	for typ, want := range map[reloads.Type]string{"": "external", reloads.TypeExternal: "external", reloads.TypeHub: "hub", "new": "new"} {
		tenant := newTenant(reloadstest.App{}, reloadstest.WithTriggerType(typ))
		if got := trigger(t, tenant, "app").body["type"]; got != want {
			t.Errorf("%q: the type is %v, want %s", typ, got, want)
		}
		query := "?filter=" + strings.ReplaceAll(`type eq "`+want+`"`, " ", "%20")
		if got := onlyRecord(t, do(t, tenant, http.MethodGet, query, ""))["type"]; got != want {
			t.Errorf("%q: the type in the list is %v, want %s", typ, got, want)
		}
		if r, _ := tenant.Trigger("app", reloads.Reload{Type: reloads.TypeChronos}); r.Type != reloads.TypeChronos {
			t.Errorf("%q: another user's reload has the type %s", typ, r.Type)
		}
	}
}

func TestOmittedFields(t *testing.T) {
	tenant := newTenant(reloadstest.App{}, reloadstest.WithOmittedFields("partial", "resourceId"), reloadstest.WithOmittedFields("links", "id", "Type", "unknown"))
	created := do(t, tenant, http.MethodPost, "", `{"appId":"app","resourceId":"r","partial":true}`)
	made := tenant.Reloads()[0]
	if made.ID == "" || made.ResourceID != "r" || !made.Partial {
		t.Errorf("Reloads returns an incomplete record: %+v", made)
	}
	for place, record := range map[string]map[string]any{
		"trigger": created.body,
		"get":     do(t, tenant, http.MethodGet, "/"+made.ID, "").body,
		"list":    onlyRecord(t, do(t, tenant, http.MethodGet, "?partial=true", "")),
	} {
		if record["type"] != "external" || record["appId"] != "app" {
			t.Errorf("%s: %v lacks other fields", place, record)
		}
		for _, field := range []string{"partial", "resourceId", "links", "id"} {
			if value, ok := record[field]; ok {
				t.Errorf("%s: the record has the %s %v", place, field, value)
			}
		}
	}
}

func TestIgnoredParameters(t *testing.T) {
	withHistory := func(names ...string) *reloadstest.Tenant {
		return withHistory(reloadstest.WithIgnoredParameters(names...))
	}
	const query = "?sort=creationTime&limit=4&filter=status%20eq%20%22FAILED%22"
	for _, c := range []struct {
		ignored []string
		want    string
	}{
		{nil, "147"}, {[]string{"sort"}, "741"}, {[]string{"filter"}, "0123"}, {[]string{"sort", "filter", "unknown"}, "9876"},
		{[]string{"limit", "filter"}, "0123456789"}, {[]string{"Sort"}, "147"},
	} {
		if got := ids(t, do(t, withHistory(c.ignored...), http.MethodGet, query, "")); got != c.want {
			t.Errorf("%q: listed %s, want %s", c.ignored, got, c.want)
		}
	}
	if got := do(t, withHistory("filter"), http.MethodGet, "?filter=invalid", ""); got.status != 200 {
		t.Errorf("an ignored parameter with an invalid value: got %d", got.status)
	}
	pages, _ := walk(t, withHistory("sort"), "?sort=creationTime&limit=4", "next")
	if diff := cmp.Diff([]string{"9876", "5432", "10"}, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	both := reloadstest.NewTenant(reloadstest.WithIgnoredParameters("limit"), reloadstest.WithIgnoredParameters("log"))
	if got := do(t, both, http.MethodGet, "?limit=0&log=x", ""); got.status != 200 {
		t.Errorf("the option given twice: got %d", got.status)
	}
}

func TestRecordClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{0, -80 * time.Millisecond, 2 * time.Second, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			const clock = time.Minute
			tenant := newTenant(reloadstest.App{QueueFor: time.Second, RunFor: time.Second},
				reloadstest.WithClockSkew(clock), reloadstest.WithRecordClockSkew(skew))
			history := tenant.AddReload(reloads.Reload{AppID: "other", CreationTime: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)})
			now := time.Now().Add(clock).UTC()
			created := trigger(t, tenant, "app")
			if got, want := created.header.Get("Date"), now.Format(http.TimeFormat); got != want {
				t.Errorf("%v: the Date header is %s, want %s", skew, got, want)
			}
			for _, status := range []string{"QUEUED", "RELOADING", "SUCCEEDED"} {
				if got := do(t, tenant, http.MethodGet, created.path(), "").body["status"]; got != status {
					t.Errorf("%v: the status is %v, want %s", skew, got, status)
				}
				time.Sleep(time.Second)
			}
			end := do(t, tenant, http.MethodGet, created.path(), "").body
			for field, after := range map[string]time.Duration{"creationTime": 0, "startTime": time.Second, "endTime": 2 * time.Second} {
				if want := now.Add(skew + after).Format(time.RFC3339Nano); end[field] != want {
					t.Errorf("%v: the %s is %v, want %s", skew, field, end[field], want)
				}
			}
			if got := do(t, tenant, http.MethodGet, "/"+history.ID, "").body["creationTime"]; got != "2026-11-01T00:00:00Z" {
				t.Errorf("%v: the time of the history is %v", skew, got)
			}
		})
	}
}

// All options together: each still has its effect.
func TestOptionsCanBeCombined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(500 * time.Millisecond)
		tenant := newTenant(reloadstest.App{}, reloadstest.WithListLag(time.Minute), reloadstest.WithTimePrecision(time.Second),
			reloadstest.WithTriggerType(reloads.TypeHub), reloadstest.WithOmittedFields("partial"),
			reloadstest.WithIgnoredParameters("filter"), reloadstest.WithRecordClockSkew(-2*time.Second),
			reloadstest.WithRelativeLinks(), reloadstest.WithRateLimit(reloadstest.Trigger, 1, time.Hour))
		created := trigger(t, tenant, "app")
		if got := trigger(t, tenant, "app"); got.status != 429 {
			t.Errorf("the second trigger got %d, want 429", got.status)
		}
		if got := ids(t, do(t, tenant, http.MethodGet, "", "")); got != "" {
			t.Errorf("listed %q before the lag has passed", got)
		}
		time.Sleep(time.Minute)
		record := onlyRecord(t, do(t, tenant, http.MethodGet, "?filter=x", ""))
		_, hasPartial := record["partial"]
		href := record["links"].(map[string]any)["self"].(map[string]any)["href"]
		if record["creationTime"] != "1999-12-31T23:59:58Z" || record["type"] != "hub" || hasPartial || href != "/api/v1/reloads"+created.path() {
			t.Errorf("got %v", record)
		}
	})
}
