package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

type junitSuites struct {
	XMLName xml.Name `xml:"testsuites"`
	junitTotals
	Suite junitSuite `xml:"testsuite"`
}

type junitTotals struct {
	Name     string `xml:"name,attr"`
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
	Time     string `xml:"time,attr"`
}

type junitSuite struct {
	junitTotals
	Skipped   int         `xml:"skipped,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string       `xml:"name,attr"`
	ClassName string       `xml:"classname,attr"`
	Time      string       `xml:"time,attr"`
	Skipped   *junitReason `xml:"skipped"`
	Error     *junitReason `xml:"error"`
	Failure   *junitReason `xml:"failure"`
	Output    string       `xml:"system-out,omitempty"`
}

type junitReason struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes the report in the XML that CI servers read as results of tests. Each step is a test case. Its time is that
// of its reloads, in the queue and running. A step that has no result is an error if it has a reload, and skipped
// otherwise.
func JUnit(w io.Writer, b *batch.Batch) error {
	totals := junitTotals{Name: "reload", Tests: len(b.Steps), Time: junitTime(end(b).Sub(b.Began))}
	suite := junitSuite{Timestamp: b.Began.UTC().Format("2006-01-02T15:04:05")} // without a zone, as XSDs demand
	for i := range b.Steps {
		c := newJUnitCase(b, i)
		switch {
		case c.Failure != nil:
			totals.Failures++
		case c.Error != nil:
			totals.Errors++
		case c.Skipped != nil:
			suite.Skipped++
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.junitTotals = totals
	suite.Name = show.Line(b.Tenant)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{junitTotals: totals, Suite: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func newJUnitCase(b *batch.Batch, i int) junitCase {
	s, times := &b.Steps[i], phaseTimes(b, i, b.Start)
	c := junitCase{
		Name: show.Line(s.Name), ClassName: "reload", Time: junitTime(times[batch.InQueue] + times[batch.InEngine]),
		Output: junitOutput(s),
	}
	text := show.Text(b.Problem(i))
	reason := &junitReason{Message: show.Line(text), Type: string(s.State)}
	switch r := s.Reload(); {
	case s.State == batch.Succeeded:
	case s.State == batch.Failed:
		if r != nil {
			reason.Type = show.Line(string(r.Status))
		}
		reason.Text = show.Text(strings.Join(append([]string{text}, s.Log...), "\n"))
		c.Failure = reason
	case s.State == batch.Skipped, s.State == batch.NotStarted, r == nil && !s.Finished():
		c.Skipped = reason
	default:
		c.Error = reason
	}
	if text == "" {
		reason.Message = "the batch ended while the step was " + string(s.State)
	}
	return c
}

// junitOutput returns a line for the app, and one for each reload of a step, and whether it had succeeded before.
func junitOutput(s *batch.Step) string {
	var out strings.Builder
	fmt.Fprintf(&out, "app %s\n", show.Line(s.App))
	for _, r := range s.Reloads {
		fmt.Fprintf(&out, "reload %s %s\n", show.Line(r.ID), show.Line(string(r.Status)))
	}
	if s.Before() {
		out.WriteString("succeeded before\n")
	}
	return out.String()
}

func junitTime(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
