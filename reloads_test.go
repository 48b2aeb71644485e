package reloads_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/reloads-go/reloads"
)

// The record of the API page, which is also the one of its page.
var documented = reloads.Reload{
	ID: reloadID, AppID: "116dbfae-7fb9-4983-8e23-5ccd8c508722",
	TenantID: "efSCcpNYuayTysONkUcE3F80zYQ_LV9w", UserID: "FyPG6xWp6prDU6BXQ3g7LY9gWR_YRkkx",
	Type: reloads.TypeChronos, Status: reloads.StatusFailed,
	CreationTime: time.Date(2020, 11, 3, 17, 0, 0, 164e6, time.UTC),
	StartTime:    time.Date(2020, 11, 3, 17, 0, 6, 351e6, time.UTC),
	EngineTime:   time.Date(2020, 11, 3, 17, 0, 7, 48e6, time.UTC),
	EndTime:      time.Date(2020, 11, 3, 17, 0, 11, 865e6, time.UTC),
	ErrorCode:    "EngineConnectionError", ErrorMessage: "failed to complete reload: unexpected EOF",
	Log:   `ReloadID: 5be59decca62aa00097268a4\nStarted loading\n(A detailed script progress log can be downloaded when the reload is finished)\nApp saved\nFinished successfully\n`,
	Links: reloads.Links{Self: reloads.Link{Href: "http://example.com"}},
}

// The records that the service sends, by their file.
var records = map[string]reloads.Reload{
	"record.json": documented,
	"record_succeeded.json": {
		ID: "6909d1c64e8d3c7d9b1f2a31", AppID: documented.AppID, TenantID: documented.TenantID, UserID: documented.UserID,
		Type: reloads.TypeExternal, Status: reloads.StatusSucceeded, Partial: true,
		Weight: 7, ResourceID: "nightly-42", ResourceType: reloads.ResourceTypeAPI,
		CreationTime: time.Date(2026, 11, 4, 3, 0, 0, 0, time.UTC),
		StartTime:    time.Date(2026, 11, 4, 3, 0, 1, 500e6, time.UTC),
		EngineTime:   time.Date(2026, 11, 4, 3, 1, 30, 120e6, time.UTC),
		EndTime:      time.Date(2026, 11, 4, 3, 1, 31, 750e6, time.UTC),
		Log:          "ReloadID: 6909d1c64e8d3c7d9b1f2a31\nReload finished successfully\nIn total 1200 rows read from sources.\nIn total 900 rows stored.\n",
		Links:        reloads.Links{Self: reloads.Link{Href: "https://your-tenant.us.qlikcloud.com/api/v1/reloads/6909d1c64e8d3c7d9b1f2a31"}},
	},
	"record_queued.json": {
		ID: "6909d1c64e8d3c7d9b1f2a32", AppID: documented.AppID, TenantID: documented.TenantID, UserID: documented.UserID,
		Type: reloads.TypeHub, Status: reloads.StatusQueued,
		CreationTime: time.Date(2026, 11, 4, 3, 0, 0, 100e6, time.UTC),
		Links:        reloads.Links{Self: reloads.Link{Href: "/api/v1/reloads/6909d1c64e8d3c7d9b1f2a32"}},
	},
}

func TestGetReturnsTheRecord(t *testing.T) {
	t.Parallel()
	for file, want := range records {
		t.Run(file, func(t *testing.T) {
			client, requests := serve(t, always(http.StatusOK, testdata(t, file)))
			got, err := client.Get(t.Context(), want.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("the reload (-want +got):\n%s", diff)
			}
			r := requests.requests()[0]
			if r.Method != "GET" || r.URI != prefix+"/api/v1/reloads/"+want.ID || r.Body != "" {
				t.Errorf("sent %s %s %q", r.Method, r.URI, r.Body)
			}
		})
	}
}

func TestListReturnsThePage(t *testing.T) {
	t.Parallel()
	client, requests := serve(t, always(http.StatusOK, testdata(t, "page.json")))
	got, err := client.List(t.Context(), reloads.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The page's example links have no query; that is an error only for who follows them.
	want := &reloads.Page{Reloads: []reloads.Reload{documented}, Next: "?", Prev: "?", Self: "http://example.com"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the page (-want +got):\n%s", diff)
	}
	if r := requests.requests()[0]; r.Method != "GET" || r.URI != prefix+"/api/v1/reloads" || r.Body != "" {
		t.Errorf("sent %s %s %q, want no query and no body", r.Method, r.URI, r.Body)
	}
}

func TestTriggerSendsEveryField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		req  reloads.Request
		want string
	}{
		{"the least", reloads.Request{AppID: "app"}, `{"appId":"app"}`},
		{"all", reloads.Request{
			AppID: "app", Partial: true, Weight: 10, Variables: map[string]string{"vTo": "2", "vFrom": `"1"`},
			ResourceID: "nightly-42", ResourceType: reloads.ResourceTypeReloadTasks,
		}, `{"appId":"app","partial":true,"weight":10,"variables":{"vFrom":"\"1\"","vTo":"2"},"resourceId":"nightly-42","resourceType":"reload-tasks"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, requests := serve(t, always(http.StatusCreated, testdata(t, "record_queued.json")))
			got, err := client.Trigger(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			want := records["record_queued.json"]
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("the reload (-want +got):\n%s", diff)
			}
			r := requests.requests()[0]
			if r.Method != "POST" || r.URI != prefix+"/api/v1/reloads" || r.Body != c.want {
				t.Errorf("sent %s %s\n%s\nwant\n%s", r.Method, r.URI, r.Body, c.want)
			}
			if got := r.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("the body's type is %q", got)
			}
		})
	}
}

func TestCancelReturnsTheStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		status     int
		want       reloads.Status
	}{
		{"202 with a body", `{"status":"CANCELING"}`, http.StatusAccepted, reloads.StatusCanceling},
		{"202 that is done", `{"status":"CANCELED","more":1}`, http.StatusAccepted, reloads.StatusCanceled},
		{"202 without a body", "", http.StatusAccepted, reloads.StatusCanceling},
		{"202 with another body", "<html>accepted</html>", http.StatusAccepted, reloads.StatusCanceling},
		{"202 without a status", "{}", http.StatusAccepted, reloads.StatusCanceling},
		{"204", "", http.StatusNoContent, reloads.StatusCanceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, requests := serve(t, always(c.status, c.body))
			got, err := client.Cancel(t.Context(), reloadID)
			if got != c.want || err != nil {
				t.Errorf("got %q and %v, want %q", got, err, c.want)
			}
			r := requests.requests()[0]
			if r.Method != "POST" || r.URI != prefix+"/api/v1/reloads/"+reloadID+"/actions/cancel" || r.Body != "" {
				t.Errorf("sent %s %s %q", r.Method, r.URI, r.Body)
			}
		})
	}
}

// An id is one segment of the path, whatever it holds.
func TestIDsAreEscaped(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"a/b": "a%2Fb", "a/../b": "a%2F..%2Fb", "../apps/x": "..%2Fapps%2Fx", "...": "...",
		"a?b=c": "a%3Fb=c", "a#b": "a%23b", "a b": "a%20b", "50%": "50%25", "%2e%2e": "%252e%252e", "é": "%C3%A9", "a\nb": "a%0Ab",
	} {
		client, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			_, _ = io.WriteString(w, queued)
		})
		if _, err := client.Get(t.Context(), id); err != nil {
			t.Errorf("Get(%q): %v", id, err)
		}
		if _, err := client.Cancel(t.Context(), id); err != nil {
			t.Errorf("Cancel(%q): %v", id, err)
		}
		var got []string
		for _, r := range requests.requests() {
			got = append(got, r.URI)
		}
		path := prefix + "/api/v1/reloads/" + want
		if diff := cmp.Diff([]string{path, path + "/actions/cancel"}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", id, diff)
		}
	}
}

func TestIDsThatNameNothingAreNotSent(t *testing.T) {
	t.Parallel()
	client, requests := serve(t, always(http.StatusOK, queued))
	for _, id := range []string{"", ".", ".."} {
		_, err := client.Get(t.Context(), id)
		refusedBeforeSending(t, err, "id", `"`+id+`"`)
		_, err = client.Cancel(t.Context(), id)
		refusedBeforeSending(t, err, "id", `"`+id+`"`)
	}
	if n := len(requests.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestStatusesSayWhetherTheReloadIsOver(t *testing.T) {
	t.Parallel()
	for status, c := range map[reloads.Status]struct {
		wire         string
		ended        bool
		endedAtATime bool // for a record that has an end time
	}{
		reloads.StatusQueued:        {"QUEUED", false, false},
		reloads.StatusReloading:     {"RELOADING", false, false},
		reloads.StatusCanceling:     {"CANCELING", false, false},
		reloads.StatusSucceeded:     {"SUCCEEDED", true, true},
		reloads.StatusFailed:        {"FAILED", true, true},
		reloads.StatusCanceled:      {"CANCELED", true, true},
		reloads.StatusExceededLimit: {"EXCEEDED_LIMIT", true, true},
		"":                          {"", false, true},
		"CREATED":                   {"CREATED", false, true},
	} {
		if string(status) != c.wire {
			t.Errorf("%q is %q on the wire", status, c.wire)
		}
		if status.Ended() != c.ended || status.Active() == c.ended {
			t.Errorf("%q: Ended %v and Active %v, want Ended %v", status, status.Ended(), status.Active(), c.ended)
		}
		for end, want := range map[time.Time]bool{{}: c.ended, time.Unix(1, 0): c.endedAtATime} {
			r := reloads.Reload{Status: status, EndTime: end}
			if r.Ended() != want {
				t.Errorf("a reload that is %q, ended at %v: Ended %v, want %v", status, end, r.Ended(), want)
			}
			if failed := want && status != reloads.StatusSucceeded; (r.Err() != nil) != failed {
				t.Errorf("a reload that is %q, ended at %v: Err %v", status, end, r.Err())
			}
		}
	}
}

func TestEnumsAreTheWireTexts(t *testing.T) {
	t.Parallel()
	got := []string{
		string(reloads.TypeHub), string(reloads.TypeExternal), string(reloads.TypeChronos), string(reloads.TypeAutomations),
		string(reloads.TypeDataRefresh), string(reloads.TypeChoreographer),
		reloads.ResourceTypeAPI, reloads.ResourceTypeReloadTasks, reloads.ResourceTypeTasks, reloads.ResourceTypeAutomate,
		string(reloads.SortNewestFirst), string(reloads.SortOldestFirst),
	}
	want := []string{
		"hub", "external", "chronos", "automations", "data-refresh", "choreographer",
		"api", "reload-tasks", "tasks", "automate", "-creationTime", "+creationTime",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestQueueTimeAndRunTime(t *testing.T) {
	t.Parallel()
	at := func(s int64) time.Time { return time.Unix(1e9+s, 0) }
	for name, c := range map[string]struct {
		reload     reloads.Reload
		queue, run time.Duration
	}{
		"ran":                      {reloads.Reload{CreationTime: at(0), StartTime: at(3), EndTime: at(10)}, 3 * time.Second, 7 * time.Second},
		"is running":               {reloads.Reload{CreationTime: at(0), StartTime: at(3)}, 3 * time.Second, 0},
		"is queued":                {reloads.Reload{CreationTime: at(0)}, 0, 0},
		"canceled in the queue":    {reloads.Reload{CreationTime: at(0), EndTime: at(4)}, 4 * time.Second, 0},
		"times the wrong way":      {reloads.Reload{CreationTime: at(5), StartTime: at(3), EndTime: at(1)}, 0, 0},
		"without a creation time":  {reloads.Reload{StartTime: at(3), EndTime: at(5)}, 0, 2 * time.Second},
		"nothing but an end, zero": {reloads.Reload{EndTime: at(5)}, 0, 0},
	} {
		if q, r := c.reload.QueueTime(), c.reload.RunTime(); q != c.queue || r != c.run {
			t.Errorf("%s: queued %v and ran %v, want %v and %v", name, q, r, c.queue, c.run)
		}
	}
}

func TestAReloadLogsWhatOneFiltersBy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reload reloads.Reload
		want   map[string]any
	}{
		"failed": {documented, map[string]any{
			"id": documented.ID, "app": documented.AppID, "status": "FAILED", "type": "chronos",
			"queue_time": 6187e6, "run_time": 5514e6,
			"error_code": "EngineConnectionError", "error_message": "failed to complete reload: unexpected EOF",
		}},
		"queued": {reloads.Reload{ID: "1", AppID: "2", Status: "QUEUED", Type: "hub", Log: "secret"}, map[string]any{
			"id": "1", "app": "2", "status": "QUEUED", "type": "hub",
		}},
	} {
		for kind, value := range map[string]any{"value": c.reload, "pointer": &c.reload} {
			if diff := cmp.Diff(c.want, logged(t, value), cmpopts.EquateApprox(0, 1)); diff != "" {
				t.Errorf("%s, as %s (-want +got):\n%s", name, kind, diff)
			}
		}
	}
}

// logged is what slog writes of a value.
func logged(t *testing.T, value any) any {
	t.Helper()
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("", "value", value)
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "!ERROR") {
		t.Errorf("slog: %s", b.String())
	}
	return line["value"]
}
