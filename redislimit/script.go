package redislimit

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed script.lua
var source string

// script is run by its hash. If the server does not know the hash, for example after a restart, go-redis sends the
// source.
var script = redis.NewScript(source)

// conflict starts the script's error if the key has the state of another limit. The other limit follows.
const conflict = "LIMIT "

// grant is a slot that the script granted. The zero grant means that there is none.
type grant struct {
	generation int64 // when the state was created, by the limit's clock; identifies the state
	number     int64 // how many slots the state had granted, including this one
	slot       int64 // when the request may start, by the limit's clock
}

// request asks the script to reserve a slot or to confirm one. If ctx has ended when the request is sent, it releases
// the slot instead.
type request struct {
	ctx      context.Context
	held     grant // the slot to confirm; zero asks for a new one
	done     chan struct{}
	response response // set when done is closed, like err
	err      error
}

// response is the decoded response of the script to a request.
type response struct {
	sent  time.Time     // before the script was sent
	wait  time.Duration // until the slot
	late  time.Duration // since the slot
	grant grant         // the zero grant if the request cannot wait for the slot
}

// reserve asks for a slot, or for a confirmation of the slot that the caller holds. If ctx ends first, it returns the
// error of ctx, and the slot is released.
func (l *Limiter) reserve(ctx context.Context, held grant) (response, error) {
	r := l.enqueue(ctx, held)
	select {
	case <-r.done:
		// If ctx had ended when the request was sent, the script has released the slot.
		if r.err == nil && r.response.grant == (grant{}) && held != (grant{}) && ctx.Err() == nil {
			l.release(held, releaseTimeout)
		}
		return r.response, r.err
	case <-ctx.Done():
		go func() { // ends with the call that serves the request
			if <-r.done; r.response.grant != (grant{}) {
				l.enqueue(ctx, r.response.grant)
			}
		}()
		return response{}, canceledError(ctx)
	}
}

// enqueue adds a request to those that the next call sends.
func (l *Limiter) enqueue(ctx context.Context, held grant) *request {
	r := &request{ctx: ctx, held: held, done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, r)
	if !l.calling {
		l.calling = true
		l.endOutage() // it was not observed since the last call
		go l.makeCalls()
	}
	l.wakeUp()
	return r
}

// wakeUp makes makeCalls check whether there is something to do.
func (l *Limiter) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// makeCalls calls Redis for the requests in the queue, one call at a time, so that the requests that arrive during a call
// share the next one. It ends when nothing is left to do.
func (l *Limiter) makeCalls() {
	var last time.Time
	for {
		l.mu.Lock()
		batch := l.take()
		probe := len(batch) == 0
		if probe && !l.watchesRedis() {
			l.calling = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		// The interval counts from the last call: requests that give up wake this loop, but must not delay the probe.
		if wait := time.Until(last.Add(probeInterval)); probe && wait > 0 {
			select {
			case <-l.wake:
				continue
			case <-time.After(wait):
			}
		}
		l.finish(batch, l.call(batch))
		last = time.Now()
	}
}

// take removes the requests of the next call from the queue: as many as fit, but only a few of those that reserve a
// slot, because a call that is cut off may lose them.
func (l *Limiter) take() (batch []*request) {
	slots := 0
	l.queue = slices.DeleteFunc(l.queue, func(r *request) bool {
		fits := len(batch) < maxBatch
		if fits && r.held == (grant{}) && r.ctx.Err() == nil {
			fits = slots < l.maxSlots
			slots++
		}
		if fits {
			batch = append(batch, r)
		}
		return fits
	})
	return batch
}

// finish delivers the responses. After an error it delivers it to the whole queue: no request waits for more than one
// call that fails.
func (l *Limiter) finish(batch []*request, err error) {
	l.mu.Lock()
	l.recordContact(err)
	if err != nil {
		batch, l.queue = append(batch, l.queue...), nil
	} else {
		l.recordLatest(batch)
	}
	l.mu.Unlock()
	for _, r := range batch {
		r.err = err
		close(r.done)
	}
}

// call runs the script for the batch, and sets the responses. The error matches ErrUnavailable, unless the key has the
// state of another limit.
func (l *Limiter) call(batch []*request) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	pause, known := l.unreported()
	args := []any{l.limit(), l.requests, micros(l.window), l.interval(), micros(l.tolerance), micros(pause), known.generation, known.number, &repetition{}}
	for _, r := range batch {
		args = append(args, r.held.generation, r.held.number, r.held.slot, micros(maxWait(r.ctx)))
	}
	sent := time.Now()
	reply, err := script.Run(ctx, l.client, []string{l.key}, args...).Int64Slice()
	switch {
	case redis.HasErrorPrefix(err, conflict):
		return fmt.Errorf("redislimit: key %q is in use with the limit %s, but this Limiter has the limit %s",
			l.key, strings.TrimPrefix(err.Error(), conflict), l.limit())
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case len(reply) != 5*len(batch):
		return fmt.Errorf("%w: invalid response of the script", ErrUnavailable)
	}
	for i, r := range batch {
		n := reply[5*i:] // see serve in the script
		r.response = response{sent: sent, wait: time.Duration(n[0]) * time.Microsecond, late: time.Duration(n[2]) * time.Microsecond}
		if n[1] != 0 {
			r.response.grant = grant{slot: n[1], number: n[3], generation: n[4]}
		}
	}
	return nil
}

// repetition is the argument that tells the script whether the call is repeated: 0 when go-redis sends it for the first
// time, and 1 afterwards. A cluster client repeats a call after a broken connection, even if its MaxRetries is -1.
type repetition struct{ sent atomic.Bool }

// MarshalBinary is called by go-redis each time it sends the call.
func (r *repetition) MarshalBinary() ([]byte, error) {
	if r.sent.Swap(true) {
		return []byte("1"), nil
	}
	return []byte("0"), nil
}

// limit returns the text that must be equal in all Limiters of a key.
func (l *Limiter) limit() string { return fmt.Sprintf("%d/%v", l.requests, l.per) }

// interval returns the time between two slots under sustained load, in microseconds.
func (l *Limiter) interval() string {
	return strconv.FormatFloat(float64(l.per.Microseconds())*bucketMargin/float64(l.requests), 'f', 3, 64)
}

// micros returns d in microseconds, rounded up: a caller that waits less than a slot requires would have to wait again.
func micros(d time.Duration) int64 { return int64((d + time.Microsecond - 1) / time.Microsecond) }
