package reloadstest

import "time"

// Metering is how requests are counted against a limit. Requests that are refused do not count.
type Metering int

// The ways of metering.
const (
	// SlidingWindow allows so many requests in any period.
	SlidingWindow Metering = iota
	// FixedWindow allows so many in each period; the periods are those of the clock.
	FixedWindow
	// TokenBucket allows so many at once, and is full again after a period.
	TokenBucket
)

// meter counts the requests of a tier.
type meter struct {
	metering Metering
	limit    int
	period   time.Duration

	starts []time.Time // SlidingWindow: the latest, at most limit; starts[oldest] is replaced next
	oldest int
	window time.Time // FixedWindow: its begin
	count  int
	tokens float64 // TokenBucket
	filled time.Time
}

// newMeters makes the tiers of the service: 1000 a period for List, Get and Log together, 50 for each of the others.
func newMeters(m Metering, period time.Duration) map[Operation]*meter {
	tier := func(limit int) *meter {
		return &meter{metering: m, limit: limit, period: period, tokens: float64(limit)}
	}
	read := tier(reads)
	return map[Operation]*meter{List: read, Get: read, Log: read, Trigger: tier(specials), Cancel: tier(specials)}
}

const (
	reads    = 1000
	specials = 50
)

// take counts a request, or tells how long to wait if there were too many.
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
