package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// report prints a table for time, bytes and allocations each: the floor's figure, and the ratios to it.
func report(w io.Writer, cols []column, results [][]result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %d processors\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	for _, table := range []struct {
		name   string
		of     func(result) float64
		target func(row) float64
		unit   func(float64) string
	}{
		{"time", func(r result) float64 { return float64(r.time) }, func(r row) float64 { return r.time }, func(v float64) string {
			return time.Duration(v).Round(time.Microsecond).String()
		}},
		{"bytes", func(r result) float64 { return r.bytes }, func(r row) float64 { return r.bytes }, func(v float64) string {
			return fmt.Sprintf("%.1f KB", v/1000)
		}},
		{"allocations", func(r result) float64 { return r.allocs }, func(r row) float64 { return r.allocs }, func(v float64) string {
			return fmt.Sprintf("%.0f", v)
		}},
	} {
		fmt.Fprintf(&b, "\n| %s of | %s |", table.name, cols[0].name)
		for _, c := range cols[1:] {
			fmt.Fprintf(&b, " %s |", c.name)
		}
		b.WriteString(" target |\n|---|" + strings.Repeat("--:|", len(cols)) + "---|\n")
		for i, r := range rows {
			floor := table.of(results[i][0])
			fmt.Fprintf(&b, "| %s | %s |", r.name, table.unit(floor))
			for _, c := range results[i][1:] {
				fmt.Fprintf(&b, " %.2f |", table.of(c)/floor)
			}
			fmt.Fprintf(&b, " %s |\n", verdict(table.of(results[i][1])/floor, table.target(r)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// verdict compares a ratio, as it is printed, to its target.
func verdict(ratio, target float64) string {
	switch {
	case target == 0:
		return ""
	case ratio < target+0.005:
		return fmt.Sprintf("%.2f, met", target)
	}
	return fmt.Sprintf("%.2f, not met", target)
}
