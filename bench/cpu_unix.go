//go:build unix

package main

import (
	"syscall"
	"time"
)

// timeKind is the kind of time that has targets. Other load on the machine affects wall time more than CPU time.
const timeKind = cpuTime

// processTime returns the CPU time that the process has used so far.
func processTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // fails for invalid arguments only
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
