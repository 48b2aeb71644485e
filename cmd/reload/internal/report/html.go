package report

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
)

// page is what the template shows.
type page struct {
	Policy      string // Content-Security-Policy
	CSS         template.CSS
	Tenant      string
	From, To    moment
	Took        string
	Resumed     string // when the batch began after the first reload; "" if it did not
	Before      int    // how many steps had succeeded before
	Headline    string
	Interrupted bool
	Counts      []count
	Path        []stepLink // the critical path; nil in the middle of a long one stands for the rest
	PathLength  int
	Slowest     *slowest
	Failed      []stepLink
	MoreFailed  int
	Timeline    timeline
	Steps       []stepRow
}

type moment struct{ Machine, Text string }

type count struct {
	Class, Label string
	N            int
}

// stepLink is a link to the row of a step; an ellipsis if it has no name.
type stepLink struct {
	ID   int
	Name string
}

// slowest is the slowest step of the critical path.
type slowest struct {
	stepLink
	Took  string
	Parts []string // such as "6m 40s running", the longest first
}

// stepRow is a row of the table.
type stepRow struct {
	stepLink
	App, Class, Status  string
	Critical            bool
	Waited, Queued, Ran string
	Runs                int
	Problem, Detail     string
	Reload, LastLines   string // the reload that failed, and the end of its log
}

// HTML writes the report for people: one page that needs nothing from outside, and no script.
func HTML(w io.Writer, b *batch.Batch) error {
	var out bytes.Buffer // so that an error of the template leaves no half page
	if err := pageTemplate.Execute(&out, newPage(b)); err != nil {
		return err
	}
	_, err := out.WriteTo(w)
	return err
}

func newPage(b *batch.Batch) page {
	hash := sha256.Sum256([]byte(pageCSS))
	path := b.CriticalPath()
	p := page{
		Policy: fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'", base64.StdEncoding.EncodeToString(hash[:])),
		CSS:    template.CSS(pageCSS), //nolint:gosec // a constant
		Tenant: show.Line(b.Tenant),
		Took:   show.Duration(end(b).Sub(b.Start)), Resumed: durationIfAny(b.Began.Sub(b.Start)), Interrupted: interrupted(b),
		Headline: headline(b), Counts: counts(b),
		Path: pathLinks(b, path), PathLength: len(path), Slowest: newSlowest(b),
		Timeline: newTimeline(b, path),
	}
	p.From, p.To = moments(b)
	for i := range b.Steps {
		row := newStepRow(b, i)
		row.Critical = slices.Contains(path, i)
		p.Steps = append(p.Steps, row)
		if b.Steps[i].Before() {
			p.Before++
		}
		switch b.Steps[i].State {
		case batch.Failed, batch.Aborted, batch.Refused, batch.Errored:
			p.Failed = append(p.Failed, row.stepLink)
		default: // did not fail
		}
	}
	const most = 10
	p.MoreFailed = max(0, len(p.Failed)-most)
	p.Failed = p.Failed[:len(p.Failed)-p.MoreFailed]
	return p
}

func headline(b *batch.Batch) string {
	n, succeeded := len(b.Steps), b.Counts()[batch.Succeeded]
	switch {
	case n == 0:
		return "A batch without steps"
	case n == 1 && succeeded == 1:
		return "The step succeeded"
	case n == 1:
		return "The step did not succeed"
	case succeeded == n:
		return fmt.Sprintf("All %d steps succeeded", n)
	}
	return fmt.Sprintf("%d of %d steps succeeded", succeeded, n)
}

// counts returns the number of steps in each state that occurs.
func counts(b *batch.Batch) (counts []count) {
	for _, c := range b.Tally() {
		counts = append(counts, count{classOf(c.State), c.State.Label(), c.N})
	}
	return counts
}

// classOf returns the CSS class of a state.
func classOf(s batch.State) string { return strings.ReplaceAll(string(s), " ", "-") }

// pathLinks returns links to the steps of the path, without the middle of a long one.
func pathLinks(b *batch.Batch, path []int) (links []stepLink) {
	const ends = 4
	for n, i := range path {
		switch {
		case len(path) <= 2*ends+1 || n < ends || n >= len(path)-ends:
			links = append(links, linkTo(b, i))
		case n == ends:
			links = append(links, stepLink{})
		}
	}
	return links
}

func linkTo(b *batch.Batch, i int) stepLink {
	return stepLink{i, show.Cut(show.Line(b.Steps[i].Name), maxName)}
}

func newSlowest(b *batch.Batch) *slowest {
	i := b.Slowest()
	if i < 0 {
		return nil
	}
	s := &slowest{stepLink: linkTo(b, i), Took: show.Duration(b.Took(i))}
	times := phaseTimes(b, i, b.Due(i))
	phases := []batch.Phase{batch.InEngine, batch.InQueue, batch.Held, batch.Paused}
	slices.SortStableFunc(phases, func(x, y batch.Phase) int { return cmp.Compare(times[y], times[x]) })
	for _, phase := range phases {
		if d := times[phase]; d > b.Took(i)/100 {
			s.Parts = append(s.Parts, show.Duration(d)+" "+string(phase))
		}
	}
	return s
}

func newStepRow(b *batch.Batch, i int) stepRow {
	s, times := &b.Steps[i], phaseTimes(b, i, b.Start)
	row := stepRow{
		stepLink: linkTo(b, i), App: show.Line(s.App), Class: stepClass(s), Status: statusText(s), Runs: s.Runs,
		Waited: durationIfAny(times[batch.Held] + times[batch.Paused]), Queued: durationIfAny(times[batch.InQueue]), Ran: durationIfAny(times[batch.InEngine]),
		LastLines: show.Cut(show.Text(strings.Join(s.Log, "\n")), maxDetail),
	}
	if r := s.Reload(); r != nil {
		row.Reload = show.Line(r.ID)
	}
	text := strings.TrimSpace(show.Text(b.Problem(i)))
	row.Problem = show.Cut(show.Line(text), maxProblem)
	if row.Problem != show.Line(text) || strings.Contains(text, "\n") {
		row.Detail = show.Cut(text, maxDetail)
	}
	return row
}

// statusText returns what a step is or, if it has no result, still is.
func statusText(s *batch.Step) string {
	if !s.Finished() && s.State != batch.Waiting {
		return "still " + s.Label()
	}
	return s.Label()
}

// stepClass returns the CSS class of a step.
func stepClass(s *batch.Step) string {
	if s.State == batch.Failed && s.Reload() != nil && s.Reload().Status != reloads.StatusFailed {
		return "stopped"
	}
	return classOf(s.State)
}

// How many characters of a name are shown, and how many of an error at once and at most.
const (
	maxName    = 100
	maxProblem = 160
	maxDetail  = 4000
)

// moments returns when the timeline starts and ends. If it ended on the same day, the day is there once.
func moments(b *batch.Batch) (from, to moment) {
	const date, clock = "2 January 2006, ", "15:04:05"
	began, ended := b.Start, end(b).In(b.Start.Location())
	layout := clock + " MST"
	if began.Format(date) != ended.Format(date) {
		layout = date + layout
	}
	return moment{began.Format(time.RFC3339), began.Format(date + clock)}, moment{ended.Format(time.RFC3339), ended.Format(layout)}
}
