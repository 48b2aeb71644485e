package reloads

import (
	"cmp"
	"fmt"
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
	p.MinBackoff = cmp.Or(p.MinBackoff, defaultMinBackoff)
	p.MaxBackoff = cmp.Or(p.MaxBackoff, max(defaultMaxBackoff, p.MinBackoff))
	p.MaxRetryAfter = cmp.Or(p.MaxRetryAfter, defaultMaxRetryAfter)
	return p
}

func (p RetryPolicy) validate() error {
	if p.MaxRetries < 0 {
		return invalid("RetryPolicy.MaxRetries", strconv.Itoa(p.MaxRetries), mustNotBeNegative)
	}
	p = p.withDefaults()
	return cmp.Or(refuseNegative("RetryPolicy.MaxRetryAfter", p.MaxRetryAfter), refuseRange("RetryPolicy", "Backoff", p.MinBackoff, p.MaxBackoff))
}

// PollPolicy controls how often a reload is polled while it is waited for. The interval is 10 % of the reload's age,
// between MinInterval and MaxInterval. It is reduced at random by up to a tenth, so that many waits spread out. In a batch,
// the age is by the client's clock, and counts from the beginning of the wait if the caller's record has no CreationTime.
//
// The default is the zero value.
type PollPolicy struct {
	// MinInterval is the shortest interval. 0 means 1 s.
	MinInterval time.Duration
	// MaxInterval is the longest interval. 0 means 15 s, or MinInterval if that is longer.
	MaxInterval time.Duration
	// GiveUpAfter ends a wait when at least five polls in a row have failed, over at least this duration. In a batch, the
	// polls of all its reloads count together and end all its waits, and a trigger or a list of the tenant's reloads that
	// succeeds counts as a poll. One wait of a batch ends when 20 polls of its reload in a row have failed, over at least
	// this duration, and no list contained it meanwhile. Waiting for the rate limit is not a failure, and neither is a 429
	// of the rate limit. 0 means 1 h. A negative duration means never.
	GiveUpAfter time.Duration
}

func (p PollPolicy) withDefaults() PollPolicy {
	p.MinInterval = cmp.Or(p.MinInterval, defaultMinInterval)
	p.MaxInterval = cmp.Or(p.MaxInterval, max(defaultMaxInterval, p.MinInterval))
	p.GiveUpAfter = cmp.Or(p.GiveUpAfter, defaultGiveUpAfter)
	return p
}

func (p PollPolicy) validate() error {
	p = p.withDefaults()
	return refuseRange("PollPolicy", "Interval", p.MinInterval, p.MaxInterval)
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

const mustNotBeNegative = "must not be negative"

// refuseNegative returns an error if a duration is negative.
func refuseNegative(field string, d time.Duration) error {
	if d < 0 {
		return invalid(field, d.String(), mustNotBeNegative)
	}
	return nil
}

// refuseRange returns an error if the limits of a duration are negative or not in order.
func refuseRange(policy, name string, least, most time.Duration) error {
	err := cmp.Or(refuseNegative(policy+".Max"+name, most), refuseNegative(policy+".Min"+name, least))
	if err == nil && least > most {
		err = invalid(policy+".Min"+name, least.String(), fmt.Sprintf("must not exceed Max%s, %v", name, most))
	}
	return err
}
