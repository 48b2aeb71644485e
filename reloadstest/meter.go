package reloadstest

import (
	"math"
	"time"
)

// Metering is the algorithm of a rate limit; see [WithMetering]. Requests that the rate limit refuses are not counted.
// The zero value is SlidingWindow.
type Metering int

// The algorithms. Each allows a number of requests per period.
const (
	// SlidingWindow allows the number of requests in any interval of one period.
	SlidingWindow Metering = iota
	// FixedWindow allows the number of requests in each window. Windows are one period long and aligned with the clock:
	// with a period of one minute, a window begins at each full minute.
	FixedWindow
	// TokenBucket allows a burst of the number of requests. An empty bucket is refilled evenly over one period.
	TokenBucket
)

// meter is the rate limit of a tier.
type meter struct {
	metering Metering
	rate

	// SlidingWindow: a ring of the latest request times. starts[oldest] is replaced next.
	starts []time.Time
	oldest int
	// FixedWindow: the begin of the current window, and the requests in it.
	window time.Time
	count  int
	// TokenBucket: the tokens in the bucket at the time filled.
	tokens float64
	filled time.Time
}

// rate is a number of requests per period. A period of 0 or less disables the rate limit.
type rate struct {
	requests int // at least 1
	period   time.Duration
}

// tiers are the rate limits of the service: the operations that share each one, and its requests per period. The numbers are
// repeated here instead of imported, so that the tests of package reloads notice a wrong limit there.
var tiers = []struct {
	operations []Operation
	requests   int
}{
	{[]Operation{List, Get, Log}, 1000},
	{[]Operation{Trigger}, 50},
	{[]Operation{Cancel}, 50},
}

// newMeters returns the meter of each operation. limits contains the limits that differ from those of the service, by the
// first operation of the tier.
func newMeters(m Metering, period time.Duration, limits map[Operation]rate) map[Operation]*meter {
	meters := map[Operation]*meter{}
	for _, tier := range tiers {
		limit, ok := limits[tier.operations[0]]
		if !ok {
			limit = rate{tier.requests, period}
		}
		shared := &meter{metering: m, rate: limit, tokens: float64(limit.requests)}
		for _, op := range tier.operations {
			meters[op] = shared
		}
	}
	return meters
}

// take counts a request. If the limit is reached, take returns how long to wait for the next request, and does not count
// this one.
func (m *meter) take(now time.Time) (wait time.Duration) {
	if m.period <= 0 {
		return 0
	}
	switch m.metering {
	case FixedWindow:
		if window := now.Truncate(m.period); !window.Equal(m.window) {
			m.window, m.count = window, 0
		}
		if m.count == m.requests {
			return m.window.Add(m.period).Sub(now)
		}
		m.count++
	case TokenBucket:
		perToken := float64(m.period) / float64(m.requests)
		m.tokens = min(float64(m.requests), m.tokens+float64(now.Sub(m.filled))/perToken)
		m.filled = now
		if m.tokens < 1 {
			return time.Duration(math.Ceil((1 - m.tokens) * perToken))
		}
		m.tokens--
	default:
		if len(m.starts) < m.requests {
			m.starts = append(m.starts, now)
			return 0
		}
		if since := now.Sub(m.starts[m.oldest]); since < m.period {
			return m.period - since
		}
		m.starts[m.oldest] = now
		m.oldest = (m.oldest + 1) % m.requests
	}
	return 0
}
