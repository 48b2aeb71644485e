package report

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

// timeline is the chart of the page. All positions are in percent of its width.
type timeline struct {
	Rows   []timelineRow
	Ticks  []tick
	Legend []legend
}

// legend explains the bars of a class.
type legend struct{ Class, Label string }

// legends are all classes of bars.
var legends = []legend{
	{"run ok", "running, succeeded"}, {"run bad", "running, failed"}, {"run stopped", "running, canceled or over a limit"},
	{"run open", "running, not finished"}, {"queue", "queued"}, {"held", string(batch.Held)},
	{"paused", string(batch.Paused)}, {"blocked", string(batch.Blocked)},
}

type timelineRow struct {
	stepLink
	Critical      bool
	Class, Status string // of the step
	Took          string // "" if it took no time
	Runs          int
	Bars          []bar
}

type bar struct {
	Class    string
	X, Width string
	Title    string
}

type tick struct{ X, Anchor, Label string }

func newTimeline(b *batch.Batch, path []int) timeline {
	scale := scale{b.Start, max(end(b).Sub(b.Start), time.Millisecond)}
	t := timeline{Ticks: scale.ticks()}
	used := map[string]bool{}
	for _, i := range rowOrder(b) {
		s := &b.Steps[i]
		row := timelineRow{
			stepLink: linkTo(b, i), Critical: slices.Contains(path, i), Class: stepClass(s), Status: statusText(s),
			Runs: len(s.Reloads),
		}
		if len(s.Reloads) > 0 {
			row.Took = durationIfAny(b.Took(i))
		}
		for _, span := range b.Spans(i, end(b)) {
			bar := scale.bar(span, len(s.Reloads))
			used[bar.Class] = true
			row.Bars = append(row.Bars, bar)
		}
		t.Rows = append(t.Rows, row)
	}
	for _, l := range legends {
		if used[l.Class] {
			t.Legend = append(t.Legend, l)
		}
	}
	return t
}

// rowOrder returns the steps in the order in which they got their first reload or, without one, their result.
func rowOrder(b *batch.Batch) []int {
	var order []int
	first := make([]time.Time, len(b.Steps))
	for i := range b.Steps {
		order = append(order, i)
		for _, s := range b.Spans(i, end(b)) {
			first[i] = s.To
			if s.Run > 0 {
				first[i] = s.From
				break
			}
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return first[i].Compare(first[j]) })
	return order
}

// scale maps times to positions.
type scale struct {
	from  time.Time
	total time.Duration
}

func (s scale) percent(d time.Duration) string {
	return strconv.FormatFloat(100*float64(d)/float64(s.total), 'f', 2, 64)
}

func (s scale) bar(span batch.Span, runs int) bar {
	length := span.To.Sub(span.From)
	title := string(span.Phase)
	if runs > 1 && span.Run > 0 {
		title = fmt.Sprintf("run %d of %d, %s", span.Run, runs, title)
	}
	if span.Phase == batch.InEngine {
		title += ", " + show.Line(string(span.Status))
	}
	return bar{
		Class: barClass(span), X: s.percent(span.From.Sub(s.from)), Width: s.percent(length),
		Title: fmt.Sprintf("%s: %s, from %s", title, show.Duration(length), span.From.In(s.from.Location()).Format("15:04:05")),
	}
}

// barClass returns the CSS class of the bar of a span.
func barClass(s batch.Span) string {
	switch s.Phase {
	case batch.Blocked:
		return "blocked"
	case batch.Held:
		return "held"
	case batch.Paused:
		return "paused"
	case batch.InQueue:
		return "queue"
	default: // in the engine
	}
	switch s.Status {
	case reloads.StatusSucceeded:
		return "run ok"
	case reloads.StatusFailed:
		return "run bad"
	case reloads.StatusCanceled, reloads.StatusExceededLimit:
		return "run stopped"
	default:
		return "run open"
	}
}

// tickSteps are the distances of ticks that are easy to read.
var tickSteps = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 3 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// ticks returns at most seven ticks, so that their labels fit on a narrow screen.
func (s scale) ticks() (ticks []tick) {
	const most = 6 // besides 0
	day := 24 * time.Hour
	step := (s.total/most + day) / day * day
	if i, _ := slices.BinarySearch(tickSteps, s.total/most); i < len(tickSteps) {
		step = tickSteps[i]
	}
	for at := time.Duration(0); at <= s.total; at += step {
		t := tick{X: s.percent(at), Anchor: "middle", Label: show.Duration(at)}
		if at == 0 {
			t.Anchor, t.Label = "start", "0"
		} else if float64(at) > 0.95*float64(s.total) {
			t.Anchor = "end"
		}
		ticks = append(ticks, t)
	}
	return ticks
}
