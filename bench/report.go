package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/version"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// tables are the kinds of cost, in the order of their tables.
var tables = []struct {
	kind kind
	name string
	unit func(float64) string
}{
	{cpuTime, "CPU time", duration},
	{wallTime, "wall time", duration},
	{allocatedBytes, "bytes", func(v float64) string { return fmt.Sprintf("%.1f KB", v/1000) }},
	{allocations, "allocations", func(v float64) string { return fmt.Sprintf("%.0f", v) }},
}

func duration(v float64) string { return time.Duration(v).Round(time.Microsecond).String() }

// report returns a table for each kind of cost: the cost of the baseline, and the ratios of the other clients to it. The
// error names the targets that are missed.
func report(rows []row, cols []column, results [][]result) (string, error) {
	var b strings.Builder
	var missed error
	fmt.Fprintf(&b, "%s, %s/%s, %d processors%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor())
	for _, t := range tables {
		if results[0][0].cost[t.kind].median == 0 {
			continue // not measured on this platform
		}
		fmt.Fprintf(&b, "\n| %s of | %s |", t.name, cols[0].name)
		for _, c := range cols[1:] {
			fmt.Fprintf(&b, " %s |", c.name)
		}
		b.WriteString(" target |\n|---|" + strings.Repeat("--:|", len(cols)) + "---|\n")
		for i, r := range rows {
			fmt.Fprintf(&b, "| %s | %s |", r.name, t.unit(results[i][0].cost[t.kind].median))
			for _, c := range results[i][1:] {
				fmt.Fprintf(&b, " %s |", c.ratio[t.kind])
			}
			ratio := results[i][1].ratio[t.kind]
			verdict, ok := judge(ratio, r.targets[t.kind])
			if fmt.Fprintf(&b, " %s |\n", verdict); !ok {
				missed = errors.Join(missed, fmt.Errorf("%s of %s: %s, target %s", t.name, r.name, ratio, verdict))
			}
		}
	}
	return b.String(), missed
}

// String returns the median, and the other quartiles unless they are the same.
func (q quartiles) String() string {
	median, low, high := fmt.Sprintf("%.2f", q.median), fmt.Sprintf("%.2f", q.low), fmt.Sprintf("%.2f", q.high)
	if low == high {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, low, high)
}

// margin is by how much the ratios of a run exceed those of another run of the same program, because of the placement of
// code and data in memory. It is small enough to notice a client that has become a tenth slower.
const margin = 1.05

// judge compares ratios with a target, rounded as they are printed. The target is missed only if three quarters of the
// rounds exceed it by more than the margin: a busy machine spreads the rounds, and a slower client moves all of them.
func judge(ratio quartiles, target float64) (verdict string, ok bool) {
	const rounding = 0.005
	switch {
	case target == 0:
		return "", true
	case ratio.median < target+rounding:
		return fmt.Sprintf("%.2f, met", target), true
	case ratio.low < target*margin+rounding:
		return fmt.Sprintf("%.2f, within the margin", target), true
	}
	return fmt.Sprintf("%.2f, missed", target), false
}

// processor returns the name of the processor, or nothing if it is not known.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	if name := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(info); name != nil {
		return " (" + string(name[1]) + ")"
	}
	return ""
}

// write replaces the tables of this version of Go in a file. They are between two comments.
func write(file, tables string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- %s -->\n", version.Lang(runtime.Version())), "<!-- end -->\n"
	head, rest, found := bytes.Cut(old, []byte(begin))
	_, tail, ended := bytes.Cut(rest, []byte(end))
	if !found || !ended {
		return fmt.Errorf("%s has no place for the tables: %q and %q", file, begin, end)
	}
	return os.WriteFile(file, []byte(string(head)+begin+tables+end+string(tail)), 0o644)
}
