package reloads

import (
	"context"
	"time"
)

// clockOffset is how far the server clock is ahead of the client's: between min and max.
type clockOffset struct{ min, max time.Duration }

// serverDate is the Date header of a response, and when, by the client's clock, that response was exchanged.
type serverDate struct {
	date           time.Time // in whole seconds, truncated; zero if there was none
	sent, received time.Time
}

// now returns the server's time, or the client's if the response has none.
func (d serverDate) now() time.Time {
	if d.date.IsZero() {
		return time.Now()
	}
	return d.date
}

// update narrows the offset by a response. A response that contradicts the earlier ones comes from another clock. It
// replaces them.
func (c *clockOffset) update(d serverDate) {
	if d.date.IsZero() {
		return
	}
	least, most := d.date.Sub(d.received), d.date.Add(time.Second).Sub(d.sent)
	if least <= c.max && most >= c.min {
		least, most = max(least, c.min), min(most, c.max)
	}
	c.min, c.max = least, most
}

// nextProbe returns how long to wait until a response halves the range: until the server clock begins a second, if
// the offset is in the middle of the range.
func (c *clockOffset) nextProbe(now time.Time) time.Duration {
	middle := c.min + (c.max-c.min)/2
	return time.Second - time.Duration(now.Add(middle).Nanosecond())
}

// sleep waits for d. It returns the error of ctx if ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
