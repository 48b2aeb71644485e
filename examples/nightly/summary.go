package main

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/reloads-go/reloads"
)

// summaries are the functions that write the results, by the value of -summary.
var summaries = map[string]func(io.Writer, []reloads.Result, time.Duration) error{
	"text": writeText, "json": writeJSON, "junit": writeJUnit,
}

// entry is the result of one app. Its status is NOT_TRIGGERED if the app was not reloaded.
type entry struct {
	App       string  `json:"app"`
	Reload    string  `json:"reload,omitempty"`
	Status    string  `json:"status"`
	QueueTime float64 `json:"queueSeconds"`
	RunTime   float64 `json:"runSeconds"`
	Error     string  `json:"error,omitempty"`
}

// entries returns the results sorted by app ID, and how many of them failed.
func entries(results []reloads.Result) (all []entry, failed int) {
	for _, r := range results {
		e := entry{App: r.Request.AppID, Status: "NOT_TRIGGERED"}
		if r.Reload != nil {
			e.Reload, e.Status = r.Reload.ID, string(r.Reload.Status)
			e.QueueTime, e.RunTime = r.Reload.QueueTime().Seconds(), r.Reload.RunTime().Seconds()
		}
		if r.Err != nil {
			e.Error = r.Err.Error()
			failed++
		}
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.App, b.App) })
	return all, failed
}

func writeText(w io.Writer, results []reloads.Result, took time.Duration) error {
	all, failed := entries(results)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "APP\tSTATUS\tQUEUED\tRAN\tERROR")
	for _, e := range all {
		fmt.Fprintf(table, "%s\t%s\t%.0fs\t%.0fs\t%s\n", e.App, e.Status, e.QueueTime, e.RunTime, e.Error)
	}
	fmt.Fprintf(table, "\n%d apps in %v: %d succeeded, %d failed\n", len(all), took.Round(time.Second), len(all)-failed, failed)
	return table.Flush()
}

func writeJSON(w io.Writer, results []reloads.Result, took time.Duration) error {
	all, failed := entries(results)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Seconds   float64 `json:"seconds"`
		Succeeded int     `json:"succeeded"`
		Failed    int     `json:"failed"`
		Apps      []entry `json:"apps"`
	}{took.Seconds(), len(all) - failed, failed, all})
}

// These are the elements of the JUnit XML format that CI systems use.
type (
	testSuite struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Time     float64    `xml:"time,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	testCase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Time    float64  `xml:"time,attr"`
		Failure *failure `xml:"failure,omitempty"`
	}
	failure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
	}
)

func writeJUnit(w io.Writer, results []reloads.Result, took time.Duration) error {
	all, failed := entries(results)
	suite := testSuite{Name: "reloads", Tests: len(all), Failures: failed, Time: took.Seconds()}
	for _, e := range all {
		c := testCase{Name: e.App, Class: "reloads", Time: e.QueueTime + e.RunTime}
		if e.Error != "" {
			c.Failure = &failure{Message: e.Error, Type: e.Status}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
