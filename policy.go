package reloads

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// RetryPolicy says how often and when a request is sent again after a failure that may pass: the wait doubles
// from MinBackoff to MaxBackoff, each with jitter of up to a half, and is what the service asks for where an
// answer has Retry-After. Which failures those are is in the package documentation.
//
// The default is RetryPolicy{MaxRetries: 5}.
type RetryPolicy struct {
	// MaxRetries is how often a request is sent again, at most; 0 means never. The one repetition with a
	// renewed token after a 401 does not count.
	MaxRetries int
	// MinBackoff is the wait before the first retry. 0 means 500 ms.
	MinBackoff time.Duration
	// MaxBackoff is the longest wait that the client chooses by itself. 0 means 30 s.
	MaxBackoff time.Duration
	// MaxRetryAfter is the longest wait that the service may ask for: a longer one is not waited for, the
	// answer is returned instead. 0 means 5 minutes, the period over which the service meters.
	MaxRetryAfter time.Duration
}

const defaultMaxRetries = 5

func (p RetryPolicy) withDefaults() RetryPolicy {
	setDefault(&p.MinBackoff, 500*time.Millisecond)
	setDefault(&p.MaxBackoff, max(30*time.Second, p.MinBackoff))
	setDefault(&p.MaxRetryAfter, 5*time.Minute)
	return p
}

func (p RetryPolicy) validate() error {
	if p.MaxRetries < 0 {
		return invalid("RetryPolicy.MaxRetries", strconv.Itoa(p.MaxRetries), "it must not be negative")
	}
	if err := nonNegative("RetryPolicy", map[string]time.Duration{
		"MinBackoff": p.MinBackoff, "MaxBackoff": p.MaxBackoff, "MaxRetryAfter": p.MaxRetryAfter,
	}); err != nil {
		return err
	}
	if d := p.withDefaults(); d.MinBackoff > d.MaxBackoff {
		return invalid("RetryPolicy.MinBackoff", d.MinBackoff.String(), fmt.Sprintf("it must not exceed MaxBackoff, %v", d.MaxBackoff))
	}
	return nil
}

// PollPolicy says how often a reload is looked at that is waited for: in steps of a tenth of its age, so that its
// end is seen soon after, relative to its length. Each step is shortened by up to a tenth at random, so that many
// waits do not fall into step.
//
// The default is the zero value.
type PollPolicy struct {
	// MinInterval is the shortest step. 0 means 1 s.
	MinInterval time.Duration
	// MaxInterval is the longest step. 0 means 15 s.
	MaxInterval time.Duration
}

func (p PollPolicy) withDefaults() PollPolicy {
	setDefault(&p.MinInterval, time.Second)
	setDefault(&p.MaxInterval, max(15*time.Second, p.MinInterval))
	return p
}

func (p PollPolicy) validate() error {
	if err := nonNegative("PollPolicy", map[string]time.Duration{
		"MinInterval": p.MinInterval, "MaxInterval": p.MaxInterval,
	}); err != nil {
		return err
	}
	if d := p.withDefaults(); d.MinInterval > d.MaxInterval {
		return invalid("PollPolicy.MinInterval", d.MinInterval.String(), fmt.Sprintf("it must not exceed MaxInterval, %v", d.MaxInterval))
	}
	return nil
}

// interval is the step after a look at a reload of that age.
func (p PollPolicy) interval(age time.Duration) time.Duration {
	step := min(age/10, p.MaxInterval)
	step -= rand.N(max(0, step/10) + 1)
	return max(step, p.MinInterval)
}

// BodyLimits are how many bytes of an answer's body are read, after it was decompressed. A longer body is an [*Error]
// that matches [ErrBodyTooLong]. For a moment up to three times as much memory is used. See [WithBodyLimits].
type BodyLimits struct {
	// Answer is for a record or a page. 0 means 64 MiB: a page of 100 reloads with long logs fits.
	Answer int64
	// Error is for an answer outside 2xx. 0 means 1 MiB.
	Error int64
}

func (l BodyLimits) withDefaults() BodyLimits {
	setDefault(&l.Answer, 64<<20)
	setDefault(&l.Error, 1<<20)
	return l
}

func setDefault[T ~int64](d *T, value T) {
	if *d == 0 {
		*d = value
	}
}

func nonNegative(policy string, fields map[string]time.Duration) error {
	for name, d := range fields {
		if d < 0 {
			return invalid(policy+"."+name, d.String(), "it must not be negative")
		}
	}
	return nil
}
