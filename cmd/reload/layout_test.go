package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

// listed are reloads whose records are hard to lay out.
func listed() []*reloads.Reload {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := func(id, app string, status reloads.Status, reason string) *reloads.Reload {
		return &reloads.Reload{ID: id, AppID: app, Status: status, Type: reloads.TypeDataRefresh, ErrorMessage: reason,
			CreationTime: created, StartTime: created.Add(2 * time.Second), EndTime: created.Add(time.Minute)}
	}
	return []*reloads.Reload{
		r("5be59decca62aa0000000001", "sales", reloads.StatusSucceeded, ""),
		r("5be59decca62aa0000000002", "売上", reloads.StatusFailed, "テーブル「在庫」が見つかりません。接続を確認してください"),
		r("5be59decca62aa0000000003", "cafe\u0301", reloads.StatusExceededLimit, "a tab\tand a color \x1b[31m of the service, which is long enough to wrap"),
		{ID: "4", AppID: "x", Status: reloads.StatusQueued},
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	uuid := "116dbfae-7fb9-4983-8e23-5ccd8c508722"
	for name, adapt := range map[string]func(o *output, r *reloads.Reload){
		"apps":  func(_ *output, r *reloads.Reload) { r.CreationTime, r.EndTime = time.Time{}, time.Time{} },
		"uuids": func(o *output, r *reloads.Reload) { o.utc, r.AppID = true, uuid },
		"rows":  func(o *output, _ *reloads.Reload) { o.withRows, o.utc = true, true },
	} {
		for _, columns := range []int{0, 40, 80} {
			name := "table-" + name + "-" + strconv.Itoa(columns)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var text bytes.Buffer
				o := &output{stdout: &text, width: columns}
				for _, r := range listed() {
					adapt(o, r)
					if err := o.writeRow(r); err != nil {
						t.Fatal(err)
					}
				}
				if err := o.flush(); err != nil {
					t.Fatal(err)
				}
				text.WriteString("-- details\n")
				for _, r := range listed() {
					adapt(o, r)
					if err := o.writeReload(r); err != nil {
						t.Fatal(err)
					}
				}
				compareLines(t, name, text.String(), columns)
			})
		}
	}
}

// A last column that would become too narrow makes the rows stack. Any width is possible.
func TestNarrowTables(t *testing.T) {
	t.Parallel()
	columns, rows := []column{{name: "A"}, {name: "B"}}, [][]string{{"x", "a text that wraps"}}
	for width, want := range map[int]string{
		19: "A  B\nx  a text that\n   wraps", 18: "x\n  a text that\n  wraps", 1: "x\n  a\n  t\n  e\n  x\n  t\n  t\n  h\n  a\n  t\n  w\n  r\n  a\n  p\n  s",
	} {
		if diff := cmp.Diff(want, formatTable(columns, rows, width)); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", width, diff)
		}
		if got := formatDetails(rows, width); got == "" {
			t.Errorf("no details on %d columns", width)
		}
	}
}

// compareLines compares a text with testdata/name.golden. No line may be wider than columns, unless that is 0.
func compareLines(t *testing.T, name, got string, columns int) {
	t.Helper()
	for line := range strings.Lines(got) {
		if line = strings.TrimSuffix(line, "\n"); columns > 0 && displayWidth(line) > columns || strings.HasSuffix(line, " ") {
			t.Errorf("a line is %d columns wide: %q", displayWidth(line), line)
		}
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got; go test -update accepts it):\n%s", diff)
	}
}

// A table fits the terminal, whose width the command detects.
func TestTheWidthOfATerminal(t *testing.T) {
	t.Parallel()
	for _, columns := range []uint16{40, 80, 120} {
		cmd := command(t, []string{"NO_COLOR=1"}, "--fake", "ls", "--appId", "stock")
		terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: columns, Rows: 24})
		if err != nil {
			t.Fatal(err)
		}
		screen, _ := io.ReadAll(terminal) // on Linux, the end is an EIO error
		_ = terminal.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		widest := 0
		for line := range strings.Lines(string(screen)) {
			widest = max(widest, displayWidth(strings.TrimRight(line, "\r\n")))
		}
		if widest > int(columns) || widest < int(columns)*3/4 || strings.Contains(string(screen), "\x1b") {
			t.Errorf("on %d columns, the widest line is %d:\n%s", columns, widest, screen)
		}
	}
}
