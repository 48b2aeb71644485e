package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// kinds are the kinds of cost, in the order of the type cost. There is a table for each of them.
var kinds = []struct {
	name string
	unit func(float64) string
}{
	{"time", func(v float64) string { return time.Duration(v).Round(time.Microsecond).String() }},
	{"bytes", func(v float64) string { return fmt.Sprintf("%.1f KB", v/1000) }},
	{"allocations", func(v float64) string { return fmt.Sprintf("%.0f", v) }},
}

// report prints a table for each kind of cost: the cost of the baseline, and the ratios of the other clients to it.
func report(w io.Writer, rows []row, cols []column, results [][]result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %d processors\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	for kind, table := range kinds {
		fmt.Fprintf(&b, "\n| %s of | %s |", table.name, cols[0].name)
		for _, c := range cols[1:] {
			fmt.Fprintf(&b, " %s |", c.name)
		}
		b.WriteString(" target |\n|---|" + strings.Repeat("--:|", len(cols)) + "---|\n")
		for i, r := range rows {
			fmt.Fprintf(&b, "| %s | %s |", r.name, table.unit(results[i][0].cost[kind]))
			for _, c := range results[i][1:] {
				fmt.Fprintf(&b, " %.2f |", c.ratio[kind])
			}
			fmt.Fprintf(&b, " %s |\n", verdict(results[i][1].ratio[kind], r.targets[kind]))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// verdict reports whether a ratio meets its target. It compares the rounded, printed value.
func verdict(ratio, target float64) string {
	switch {
	case target == 0:
		return ""
	case ratio < target+0.005:
		return fmt.Sprintf("%.2f, met", target)
	}
	return fmt.Sprintf("%.2f, not met", target)
}
