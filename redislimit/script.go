package redislimit

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed script.lua
var source string

// script is run by its hash. If the server does not know the hash, for example after a restart, go-redis sends the
// source.
var script = redis.NewScript(source)

// operation tells the script what to do.
type operation string

const (
	opReserve operation = "reserve" // reserve a slot, or confirm the slot that the caller holds
	opRelease operation = "release" // release the slot that the caller holds
	opReport  operation = "report"  // only report a pause
)

// outcome is the result of an operation.
type outcome int64

const (
	granted  outcome = iota
	refused          // the slot would be later than the caller can wait
	conflict         // the key has the state of another limit
)

// grant is a slot that the script granted. The zero grant means that there is none.
type grant struct {
	generation int64 // when the state was created, by the limit's clock; identifies the state
	number     int64 // how many slots the state had granted, including this one
	slot       int64 // when the request may start, by the limit's clock
}

// response is the decoded response of the script.
type response struct {
	outcome outcome
	sent    time.Time     // before the script was sent
	wait    time.Duration // until the slot
	late    time.Duration // since the slot
	grant   grant
	limit   string // the limit of the key, if outcome is conflict
}

// runScript runs the script once. The error matches ErrUnavailable, except if the key has the state of another limit.
func (l *Limiter) runScript(ctx context.Context, op operation, maxWait time.Duration, held grant) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	select {
	case l.calls <- struct{}{}:
		defer func() { <-l.calls }()
	case <-ctx.Done():
		return response{}, fmt.Errorf("%w: %d calls are waiting for a response: %w", ErrUnavailable, maxCalls, ctx.Err())
	}
	sent := time.Now()
	pause, quiet, known := l.unreported()
	if held != (grant{}) {
		known = held
	}
	reply, err := script.Run(ctx, l.client, []string{l.key},
		string(op), l.limit(), l.requests, micros(l.window), l.interval(), micros(l.tolerance),
		micros(pause), micros(quiet), known.generation, known.number, held.slot, micros(maxWait),
	).Slice()
	if err != nil {
		return response{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r, err := parseReply(reply)
	if err != nil {
		return response{}, err
	}
	r.sent = sent
	if r.outcome == conflict {
		return r, fmt.Errorf("redislimit: key %q is in use with the limit %s, but this Limiter has the limit %s", l.key, r.limit, l.limit())
	}
	l.record(r, pause)
	return r, nil
}

// limit returns the text that must be equal in all Limiters of a key.
func (l *Limiter) limit() string { return fmt.Sprintf("%d/%v", l.requests, l.per) }

// interval returns the time between two slots under sustained load, in microseconds.
func (l *Limiter) interval() string {
	return strconv.FormatFloat(float64(l.per.Microseconds())*bucketMargin/float64(l.requests), 'f', 3, 64)
}

// micros returns d in microseconds, rounded up: a caller that waits less than a slot requires would have to wait again.
func micros(d time.Duration) int64 { return int64((d + time.Microsecond - 1) / time.Microsecond) }

// parseReply decodes the values that the script returns: outcome, wait, slot, late, generation, number, limit.
func parseReply(reply []any) (response, error) {
	var n [6]int64
	if len(reply) != len(n)+1 {
		return response{}, errInvalidResponse
	}
	for i := range n {
		var ok bool
		if n[i], ok = reply[i].(int64); !ok {
			return response{}, errInvalidResponse
		}
	}
	limit, ok := reply[len(n)].(string)
	if !ok {
		return response{}, errInvalidResponse
	}
	return response{
		outcome: outcome(n[0]),
		wait:    time.Duration(n[1]) * time.Microsecond,
		late:    time.Duration(n[3]) * time.Microsecond,
		grant:   grant{slot: n[2], generation: n[4], number: n[5]},
		limit:   limit,
	}, nil
}

var errInvalidResponse = fmt.Errorf("%w: invalid response of the script", ErrUnavailable)
