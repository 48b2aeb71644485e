package reloads_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestSummary(t *testing.T) {
	t.Parallel()
	rows := func(n int64) *int64 { return &n }
	succeeded := records["record_succeeded.json"]
	for name, c := range map[string]struct {
		log  string
		want reloads.Summary
	}{
		"as the service writes it": {succeeded.Log, reloads.Summary{RowsRead: rows(1200), RowsStored: rows(900)}},
		"CRLF":                     {"In total 3 rows read from sources.\r\nIn total 2 rows stored.\r\n", reloads.Summary{RowsRead: rows(3), RowsStored: rows(2)}},
		"newlines spelled out":     {`ReloadID: 1\nIn total 3 rows read from sources.\n`, reloads.Summary{RowsRead: rows(3)}},
		"none read is a figure":    {"In total 0 rows read from sources.", reloads.Summary{RowsRead: rows(0)}},
		"no log":                   {"", reloads.Summary{}},
		"an older log":             {documented.Log, reloads.Summary{}},
		"no number":                {"In total many rows read from sources.\nIn total -1 rows stored.", reloads.Summary{}},
		"too large a number":       {"In total 9223372036854775808 rows read from sources.\nIn total 9223372036854775807 rows stored.", reloads.Summary{RowsStored: rows(1<<63 - 1)}},
		"another figure":           {"In total 7 rows dropped.\nIn total 7 tables", reloads.Summary{}},
		"inside of a line":         {"Trace: In total 7 rows stored.", reloads.Summary{}},
	} {
		if diff := cmp.Diff(c.want, (&reloads.Reload{Log: c.log}).Summary()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTheFakeTenantsSummaryIsUnderstood(t *testing.T) {
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
