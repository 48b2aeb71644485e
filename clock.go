package reloads

import (
	"context"
	"time"
)

// clockSkew is how far the service's clock is ahead of the client's: at least and at most.
type clockSkew struct{ least, most time.Duration }

// reading is the service's time, and when, by the client's clock, it was told.
type reading struct {
	date           time.Time // in whole seconds, cut off; zero if it was not told
	sent, received time.Time
}

// now is the service's time, or the client's if it was not told.
func (r reading) now() time.Time {
	if r.date.IsZero() {
		return time.Now()
	}
	return r.date
}

// note narrows the skew with a reading. One that does not fit is of another clock: it counts alone.
func (c *clockSkew) note(r reading) {
	if r.date.IsZero() {
		return
	}
	least, most := r.date.Sub(r.received), r.date.Add(time.Second).Sub(r.sent)
	if least <= c.most && most >= c.least {
		least, most = max(least, c.least), min(most, c.most)
	}
	c.least, c.most = least, most
}

// sharpen is the wait after which a reading halves what is not known: until the service's clock, if it is in the
// middle of the range, begins a second.
func (c *clockSkew) sharpen(now time.Time) time.Duration {
	middle := c.least + (c.most-c.least)/2
	into := time.Duration(now.Add(middle).Nanosecond())
	return time.Second - into
}

// sleep waits for d, or returns ctx's error if that ends first.
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
