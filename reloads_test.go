package reloads_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// documented is the record in the documentation of the API, which also uses it in its example of a page.
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

// records are the records in testdata, by file name.
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

func TestEnded(t *testing.T) {
	t.Parallel()
	for status, c := range map[reloads.Status]struct {
		wire        string
		ended       bool
		withEndTime bool // the same, of a record that has an end time
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
		for end, want := range map[time.Time]bool{{}: c.ended, time.Unix(1, 0): c.withEndTime} {
			r := reloads.Reload{Status: status, EndTime: end}
			if r.Ended() != want {
				t.Errorf("status %q, end time %v: Ended %v, want %v", status, end, r.Ended(), want)
			}
			if failed := want && status != reloads.StatusSucceeded; (r.Err() != nil) != failed {
				t.Errorf("status %q, end time %v: Err %v", status, end, r.Err())
			}
		}
	}
}

func TestEnumValues(t *testing.T) {
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
		"times in the wrong order": {reloads.Reload{CreationTime: at(5), StartTime: at(3), EndTime: at(1)}, 0, 0},
		"without a creation time":  {reloads.Reload{StartTime: at(3), EndTime: at(5)}, 0, 2 * time.Second},
		"only an end time":         {reloads.Reload{EndTime: at(5)}, 0, 0},
	} {
		if q, r := c.reload.QueueTime(), c.reload.RunTime(); q != c.queue || r != c.run {
			t.Errorf("%s: queued %v and ran %v, want %v and %v", name, q, r, c.queue, c.run)
		}
	}
}

func TestReloadLogValue(t *testing.T) {
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
		"quick": {reloads.Reload{
			ID: "1", CreationTime: documented.CreationTime, StartTime: documented.CreationTime.Add(300 * time.Millisecond),
			EndTime: documented.CreationTime.Add(500 * time.Millisecond),
		}, map[string]any{"id": "1", "app": "", "status": "", "type": "", "queue_time": 300e6, "run_time": 200e6}},
		"queued": {reloads.Reload{ID: "1", AppID: "2", Status: "QUEUED", Type: "hub", Log: "secret"}, map[string]any{
			"id": "1", "app": "2", "status": "QUEUED", "type": "hub",
		}},
	} {
		for kind, value := range map[string]any{"value": c.reload, "pointer": &c.reload} {
			if diff := cmp.Diff(c.want, loggedValue(t, value), cmpopts.EquateApprox(0, 1)); diff != "" {
				t.Errorf("%s, as %s (-want +got):\n%s", name, kind, diff)
			}
		}
	}
}

// loggedValue returns what slog writes for a value.
func loggedValue(t *testing.T, value any) any {
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

func TestSummary(t *testing.T) {
	t.Parallel()
	rows := func(n int64) *int64 { return &n }
	succeeded := records["record_succeeded.json"]
	for name, c := range map[string]struct {
		log  string
		want reloads.Summary
	}{
		"as the service writes it": {succeeded.Log, reloads.Summary{RowsRead: rows(1200), RowsStored: rows(900), LastLines: []string{"Reload finished successfully"}}},
		"CRLF":                     {"In total 3 rows read from sources.\r\nIn total 2 rows stored.\r\n", reloads.Summary{RowsRead: rows(3), RowsStored: rows(2)}},
		"escaped newlines":         {`ReloadID: 1\nIn total 3 rows read from sources.\n`, reloads.Summary{RowsRead: rows(3)}},
		"zero rows":                {"In total 0 rows read from sources.", reloads.Summary{RowsRead: rows(0)}},
		"leading zeros":            {"In total 010 rows stored.", reloads.Summary{RowsStored: rows(10)}},
		"no log":                   {"", reloads.Summary{}},
		"an older log":             {documented.Log, reloads.Summary{LastLines: []string{"Started loading", "App saved", "Finished successfully"}}},
		"no number":                {"In total many rows read from sources.\nIn total -1 rows stored.", reloads.Summary{}},
		"too large a number":       {"In total 9223372036854775808 rows read from sources.\nIn total 9223372036854775807 rows stored.", reloads.Summary{RowsStored: rows(1<<63 - 1)}},
		"another figure":           {"In total 7 rows dropped.\nIn total 7 tables", reloads.Summary{}},
		"inside of a line":         {"Trace: In total 7 rows stored.", reloads.Summary{LastLines: []string{"Trace: In total 7 rows stored."}}},
	} {
		if diff := cmp.Diff(c.want, (&reloads.Reload{Log: c.log}).Summary()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSummaryOfFakeTenant(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant()
	tenant.AddApp("app", reloadstest.App{})
	r, err := tenant.NewClient().Run(t.Context(), reloads.Request{AppID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Summary(); s.RowsRead == nil || *s.RowsRead != 1000 || s.RowsStored == nil || *s.RowsStored != 900 {
		t.Errorf("got %+v of %q", s, r.Log)
	}
}
