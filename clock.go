package reloads

import (
	"context"
	"sync"
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

// recordClock is the offset of the clock that creation times are taken from. It is learned from the reloads that the
// client has triggered itself, because that clock may differ from the one of the Date header.
type recordClock struct {
	mu     sync.Mutex
	offset *clockOffset // nil if not known
}

// observe narrows the offset by a reload that was created between sent and received.
func (c *recordClock) observe(created, sent, received time.Time) {
	if created.IsZero() {
		return
	}
	offset := clockOffset{created.Sub(received), created.Add(precision(created)).Sub(sent)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.offset; o != nil && offset.min <= o.max && offset.max >= o.min {
		offset = clockOffset{max(offset.min, o.min), min(offset.max, o.max)}
	}
	c.offset = &offset
}

// known returns the offset if it is known to better than two seconds.
func (c *recordClock) known() (offset clockOffset, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offset == nil || c.offset.max-c.offset.min > 2*time.Second {
		return clockOffset{}, false
	}
	return *c.offset, true
}

// precision returns the precision of a time of the service, which sends whole seconds, or fractions with or without
// trailing zeros. It is the largest that is possible.
func precision(t time.Time) time.Duration {
	p := time.Second
	for p > time.Millisecond && time.Duration(t.Nanosecond())%p != 0 {
		p /= 10
	}
	return p
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
