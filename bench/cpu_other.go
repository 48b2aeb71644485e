//go:build !unix

package main

import "time"

const timeKind = wallTime

// processTime returns 0, because getrusage does not exist.
func processTime() time.Duration { return 0 }
