package reloads

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// clockOffset is how far the server clock is ahead of the client's: between min and max.
type clockOffset struct{ min, max time.Duration }

func (c clockOffset) width() time.Duration { return c.max - c.min }

// serverDate is when a response was made: its Date and Age headers, and the times of the request and the response by the
// client's clock.
type serverDate struct {
	header, age    string
	sent, received time.Time
}

// date returns the date, in whole seconds, truncated. It is zero if there is none.
func (d serverDate) date() time.Time {
	date, _ := http.ParseTime(d.header)
	return date
}

// stored returns an error for a list that comes from a cache (RFC 9111, section 5.1): it does not show the newest reloads.
func (d serverDate) stored() error {
	if strings.Trim(d.age, "0") == "" {
		return nil
	}
	return errors.New("the list comes from a cache")
}

// now returns the server's time, or the client's if the response has none.
func (d serverDate) now() time.Time {
	return cmp.Or(d.date(), time.Now())
}

// update narrows the offset by a response. A response that contradicts the earlier ones comes from another clock. It
// replaces them.
func (c *clockOffset) update(d serverDate) {
	date := d.date()
	if date.IsZero() {
		return
	}
	least, most := date.Sub(d.received), date.Add(time.Second).Sub(d.sent)
	if c.overlaps(clockOffset{least, most}) {
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
	mu       sync.Mutex
	offset   *clockOffset // nil if not known
	dates    *clockOffset // of the clock of the Date header, when the offset was learned; nil if not known
	doubtful bool         // the most recent reload contradicts the Date header or the one before
}

const (
	clockTolerance = 2 * time.Second // how far the clocks of the service may be apart
	usableOffset   = time.Second     // with a wider offset, times cannot be compared
)

// observe narrows the offset by a reload that was created between d.sent and d.received.
func (c *recordClock) observe(created time.Time, d serverDate) {
	if created.IsZero() {
		return
	}
	offset := clockOffset{created.Sub(d.received), created.Add(precision(created)).Sub(d.sent)}
	var dates *clockOffset
	if date := d.date(); !date.IsZero() {
		dates = &clockOffset{date.Sub(d.received), date.Add(time.Second).Sub(d.sent)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.offset == nil:
		c.doubtful = dates != nil && !offset.agrees(*dates)
	case offset.agrees(*c.offset):
		offset = offset.combine(*c.offset)
		c.doubtful = false
	default:
		c.doubtful = true // until another reload agrees with this one
	}
	c.offset = &offset
	if dates != nil && c.dates != nil && dates.agrees(*c.dates) {
		*dates = dates.combine(*c.dates)
	}
	c.dates = dates
}

// get returns the offset if it is known, and dates, the present offset of the Date header, otherwise. The client's clock may
// have been set since the offset was learned, unless the Date header shows that it was not set by more than the tolerance.
// An offset wider than exact, because the triggers took long, is narrowed by dates, unless these are of another clock. known
// means that narrower dates do not help. doubtful means that creation times cannot be compared with any clock.
func (c *recordClock) get(dates clockOffset, exact time.Duration) (offset clockOffset, known, doubtful bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offset == nil || c.offset.width() > usableOffset || c.doubtful || c.dates == nil ||
		max(c.dates.max-dates.min, dates.max-c.dates.min) > clockTolerance {
		return dates, false, c.doubtful
	}
	offset, other := *c.offset, !c.offset.overlaps(dates)
	if !other && offset.width() > exact {
		offset = offset.combine(dates)
	}
	return offset, other || offset.width() <= exact, false
}

func (c clockOffset) overlaps(o clockOffset) bool { return c.min <= o.max && c.max >= o.min }

// agrees reports whether two offsets may be those of clocks that are at most clockTolerance apart.
func (c clockOffset) agrees(o clockOffset) bool {
	return c.min <= o.max+clockTolerance && c.max >= o.min-clockTolerance
}

// combine returns what two offsets have in common or, if they are those of different clocks, what covers both.
func (c clockOffset) combine(o clockOffset) clockOffset {
	if c.overlaps(o) {
		return clockOffset{max(c.min, o.min), min(c.max, o.max)}
	}
	return clockOffset{min(c.min, o.min), max(c.max, o.max)}
}

// precision returns the precision of a time of the service, which sends whole seconds, or fractions with or without
// trailing zeros. If several are possible, it returns the largest.
func precision(t time.Time) time.Duration {
	p := time.Second
	for p > time.Millisecond && time.Duration(t.Nanosecond())%p != 0 {
		p /= 10
	}
	return p
}

// createdBefore returns the end of the time in which a reload may have been created.
func createdBefore(r *Reload) time.Time { return r.CreationTime.Add(precision(r.CreationTime)) }

// The times after the end of ctx in which a run with CancelOnAbort cancels its reloads.
const (
	abortTimeout  = 10 * time.Second // for all requests together
	inFlightGrace = 5 * time.Second  // for a trigger in flight; its reload is searched for afterwards
	graceAttempt  = 2 * time.Second  // for each attempt of the search, because the connection may be dead
)

// graceTime is the time after the end of a context in which a run may cancel its reloads. A nil *graceTime means that
// the run does not cancel them.
type graceTime struct {
	inFlight, ctx  context.Context // end inFlightGrace and abortTimeout after the context
	cancelInFlight context.CancelCauseFunc
	cancelAll      context.CancelFunc
	end            atomic.Pointer[time.Time] // nil until the context has ended
}

func newGraceTime(ctx context.Context) *graceTime {
	g := &graceTime{}
	base := context.WithoutCancel(ctx)
	g.inFlight, g.cancelInFlight = context.WithCancelCause(base)
	g.ctx, g.cancelAll = context.WithCancel(base)
	context.AfterFunc(ctx, func() {
		if context.Cause(ctx) != errStopped {
			g.deadline()
			_ = sleep(g.ctx, inFlightGrace)
			g.cancelInFlight(expired{attemptTimeout(inFlightGrace)})
			_ = sleep(g.ctx, abortTimeout-inFlightGrace+time.Millisecond) // so that cancels end with their deadline
		}
		g.release()
	})
	return g
}

// inFlightContext returns the context of a request in flight, or nil for that of the call.
func (g *graceTime) inFlightContext() context.Context {
	if g == nil {
		return nil
	}
	return g.inFlight
}

// listContext returns the context of the lists that determine the outcome of a trigger.
func (g *graceTime) listContext(ctx context.Context) context.Context {
	switch {
	case g == nil:
		return ctx
	case ctx.Err() == nil:
		return g.inFlight // the list may hang; there is time for others afterwards
	}
	return context.WithValue(g.ctx, attemptLimit{}, graceAttempt)
}

// deadline returns the end of the grace time. The first call starts the grace time if ctx has not ended yet.
func (g *graceTime) deadline() time.Time {
	end := time.Now().Add(abortTimeout)
	g.end.CompareAndSwap(nil, &end)
	return *g.end.Load()
}

func (g *graceTime) release() {
	if g == nil {
		return
	}
	g.cancelAll() // first, so that the trigger of a canceled request is not reconciled
	g.cancelInFlight(context.Canceled)
}

// attemptLimit is the key of a context's limit on each attempt, if it is shorter than the client's.
type attemptLimit struct{}

// attemptTimeout is the error of an attempt that took too long. It implements [net.Error]. It does not match
// [context.DeadlineExceeded], which means the caller's own deadline.
type attemptTimeout time.Duration

func (e attemptTimeout) Error() string {
	return fmt.Sprint("the attempt took longer than ", time.Duration(e))
}
func (e attemptTimeout) Timeout() bool   { return true }
func (e attemptTimeout) Temporary() bool { return true }

type expired struct{ attemptTimeout } // the cause of a context that ended with the limit of an attempt; callers never see it

// errStopped is the cause of a context that ended because the loop over the results ended.
var errStopped = errors.New("iteration stopped")

// earlier returns the earlier of two times. A zero time is ignored.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// waitForChange waits for d, until something has changed, or until ctx has ended.
func waitForChange(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	if d <= 0 { // in a synctest bubble, a timer that is due at once can crash Go 1.26 with -race
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
	}
}

// sleep waits for d. It returns the error of ctx if ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	waitForChange(ctx, d, nil)
	return ctx.Err()
}
