package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRowOrder(t *testing.T) {
	t.Parallel()
	b := night()
	var got []string
	for _, row := range newTimeline(b, nil).Rows {
		got = append(got, row.Name)
	}
	want := []string{
		"extract crm", "extract erp", "extract web", "exchange rates", "customers", "sessions", "orders", "products", "sales",
		"marketing", "board report", "campaign report", // skipped when sessions failed
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheTitlesOfBars(t *testing.T) {
	t.Parallel()
	var got []string
	for _, bar := range newTimeline(night(), nil).Rows[2].Bars {
		got = append(got, bar.Title)
	}
	want := []string{
		"waiting to be triggered: 900ms, from 02:00:00",
		"run 1 of 2, queued: 1.6s, from 02:00:00",
		"run 1 of 2, running, FAILED: 59s, from 02:00:02",
		"waiting for its next run: 11s, from 02:01:01",
		"run 2 of 2, queued: 8s, from 02:01:12",
		"run 2 of 2, running, SUCCEEDED: 1m18s, from 02:01:20",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	labels := func(total time.Duration) (labels []string) {
		for _, tick := range (scale{began, total}).ticks() {
			labels = append(labels, tick.Label)
		}
		return labels
	}
	for total, want := range map[time.Duration][]string{
		2 * time.Millisecond:            {"0", "1ms", "2ms"},
		750 * time.Millisecond:          {"0", "200ms", "400ms", "600ms"},
		12*time.Minute + 3*time.Second:  {"0", "3m", "6m", "9m", "12m"},
		8*time.Hour + 59*time.Minute:    {"0", "2h", "4h", "6h", "8h"},
		48 * time.Hour:                  {"0", "12h", "24h", "36h", "48h"},
		30*24*time.Hour + 1*time.Second: {"0", "144h", "288h", "432h", "576h", "720h"},
	} {
		if diff := cmp.Diff(want, labels(total)); diff != "" {
			t.Errorf("%v: %s", total, diff)
		}
	}
	for total := time.Millisecond; total < 400*time.Hour; total += total/7 + 1 {
		if n := len(labels(total)); n > 7 || n < 2 || n < 3 && total > 5*time.Millisecond {
			t.Errorf("%d ticks in %v", n, total)
		}
	}
}
