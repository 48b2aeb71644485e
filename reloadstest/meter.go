package reloadstest

import "time"

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
	limit    int // requests per period
	period   time.Duration

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

// newMeters returns the rate limits of the service: List, Get and Log share one, Trigger and Cancel have one each.
func newMeters(m Metering, period time.Duration) map[Operation]*meter {
	tier := func(limit int) *meter {
		return &meter{metering: m, limit: limit, period: period, tokens: float64(limit)}
	}
	tier1 := tier(tier1Limit)
	return map[Operation]*meter{List: tier1, Get: tier1, Log: tier1, Trigger: tier(specialLimit), Cancel: tier(specialLimit)}
}

// The limits of the service in requests per period. They are repeated here instead of imported, so that the tests of
// package reloads notice a wrong limit there.
const (
	tier1Limit   = 1000
	specialLimit = 50
)

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
		if m.count == m.limit {
			return m.window.Add(m.period).Sub(now)
		}
		m.count++
	case TokenBucket:
		perToken := m.period / time.Duration(m.limit)
		m.tokens = min(float64(m.limit), m.tokens+float64(now.Sub(m.filled))/float64(perToken))
		m.filled = now
		if m.tokens < 1 {
			return max(1, time.Duration((1-m.tokens)*float64(perToken)))
		}
		m.tokens--
	default:
		if len(m.starts) < m.limit {
			m.starts = append(m.starts, now)
			return 0
		}
		if since := now.Sub(m.starts[m.oldest]); since < m.period {
			return m.period - since
		}
		m.starts[m.oldest] = now
		m.oldest = (m.oldest + 1) % m.limit
	}
	return 0
}
