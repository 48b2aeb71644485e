package reloads

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// The defaults of all policies and timeouts, and the size limits of pages and bodies. The rate limits of the service
// are in ratelimit.go. Constants that cannot be configured are in the file that uses them.
const (
	defaultAttemptTimeout = time.Minute

	defaultMaxRetries    = 5
	defaultMinBackoff    = 500 * time.Millisecond
	defaultMaxBackoff    = 30 * time.Second
	defaultMaxRetryAfter = 5 * time.Minute

	defaultMinInterval = time.Second
	defaultMaxInterval = 15 * time.Second
	defaultGiveUpAfter = time.Hour

	maxPageSize  = 100      // of a list (API page)
	maxBody      = 64 << 20 // bytes of a record or a page; 100 reloads with long logs fit
	maxErrorBody = 1 << 20  // bytes of a response outside 2xx
)

// RetryPolicy controls how often and when a request is retried after a temporary failure. The package documentation
// lists these failures. The backoff doubles from MinBackoff to MaxBackoff, each time reduced at random by up to a half.
// If a response has Retry-After, that is the wait instead.
//
// The default is RetryPolicy{MaxRetries: 5}.
type RetryPolicy struct {
	// MaxRetries is the maximum number of retries of a request. 0 means none. The one retry with a renewed token after
	// a 401 does not count. A retry of a trigger whose outcome was unknown counts.
	MaxRetries int
	// MinBackoff is the backoff before the first retry. 0 means 500 ms.
	MinBackoff time.Duration
	// MaxBackoff is the longest backoff. 0 means 30 s, or MinBackoff if that is longer.
	MaxBackoff time.Duration
	// MaxRetryAfter is the longest Retry-After that is honored. If the service asks for more, its response is
	// returned instead. 0 means 5 minutes, the period over which the service meters.
	MaxRetryAfter time.Duration
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	setDefault(&p.MinBackoff, defaultMinBackoff)
	setDefault(&p.MaxBackoff, max(defaultMaxBackoff, p.MinBackoff))
	setDefault(&p.MaxRetryAfter, defaultMaxRetryAfter)
	return p
}

func (p RetryPolicy) validate() error {
	if p.MaxRetries < 0 {
		return invalid("RetryPolicy.MaxRetries", strconv.Itoa(p.MaxRetries), mustNotBeNegative)
	}
	if err := refuseNegative(map[string]time.Duration{
		"RetryPolicy.MinBackoff": p.MinBackoff, "RetryPolicy.MaxBackoff": p.MaxBackoff, "RetryPolicy.MaxRetryAfter": p.MaxRetryAfter,
	}); err != nil {
		return err
	}
	if d := p.withDefaults(); d.MinBackoff > d.MaxBackoff {
		return invalid("RetryPolicy.MinBackoff", d.MinBackoff.String(), fmt.Sprintf("must not exceed MaxBackoff, %v", d.MaxBackoff))
	}
	return nil
}

// PollPolicy controls how often a reload is polled while it is waited for. The interval is 10 % of the reload's age,
// between MinInterval and MaxInterval. It is reduced at random by up to a tenth, so that many waits spread out.
//
// The default is the zero value.
type PollPolicy struct {
	// MinInterval is the shortest interval. 0 means 1 s.
	MinInterval time.Duration
	// MaxInterval is the longest interval. 0 means 15 s, or MinInterval if that is longer.
	MaxInterval time.Duration
	// GiveUpAfter ends a wait when at least five polls in a row have failed, over at least this duration. In a batch,
	// the polls of all its reloads count together, and so do its lists of the tenant's reloads. Waiting for the rate limit
	// is not a failure, and neither is a 429 of the rate limit. 0 means 1 h. A negative duration means never.
	GiveUpAfter time.Duration
}

func (p PollPolicy) withDefaults() PollPolicy {
	setDefault(&p.MinInterval, defaultMinInterval)
	setDefault(&p.MaxInterval, max(defaultMaxInterval, p.MinInterval))
	setDefault(&p.GiveUpAfter, defaultGiveUpAfter)
	return p
}

func (p PollPolicy) validate() error {
	if err := refuseNegative(map[string]time.Duration{
		"PollPolicy.MinInterval": p.MinInterval, "PollPolicy.MaxInterval": p.MaxInterval,
	}); err != nil {
		return err
	}
	if d := p.withDefaults(); d.MinInterval > d.MaxInterval {
		return invalid("PollPolicy.MinInterval", d.MinInterval.String(), fmt.Sprintf("must not exceed MaxInterval, %v", d.MaxInterval))
	}
	return nil
}

// withDefaults returns the limiters with the service's limits in place of nil.
func (l Limiters) withDefaults() Limiters {
	setLimiter(&l.Read, Tier1PerMinute)
	setLimiter(&l.Trigger, SpecialPerMinute)
	setLimiter(&l.Cancel, SpecialPerMinute)
	return l
}

func setLimiter(l *Limiter, perMinute int) {
	if w, ok := (*l).(*WindowLimiter); *l == nil || ok && w == nil {
		*l = NewLimiter(perMinute, time.Minute)
	}
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

const mustNotBeNegative = "must not be negative"

// refuseNegative returns an error for the first negative duration, in order of the names.
func refuseNegative(durations map[string]time.Duration) error {
	for _, name := range slices.Sorted(maps.Keys(durations)) {
		if d := durations[name]; d < 0 {
			return invalid(name, d.String(), mustNotBeNegative)
		}
	}
	return nil
}
