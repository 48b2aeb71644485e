package main

import (
	"testing"
	"time"
)

// Over real connections, an event costs one read. Without it, the next poll would be a minute later.
func TestEventsOverHTTP(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes nine seconds")
	}
	reads, late, err := run(t.Context(), true)
	if err != nil || reads < apps || reads > apps+apps/5 || late > 30*time.Second {
		t.Errorf("%d reads, %v late, %v", reads, late, err)
	}
}
