package redislimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed script.lua
var source string

// script is run by its hash; the server is sent the source when it does not know it, such as after a restart.
var script = redis.NewScript(source)

// operation is what the script is asked to do.
type operation string

const (
	take operation = "take" // reserve a slot, or ask how long it is until the slot that the caller holds
	give operation = "give" // give the slot back
	tell operation = "tell" // of a pause
)

// outcome is what the script says.
type outcome int64

const (
	granted  outcome = iota
	refused          // the slot would come after the caller's budget
	conflict         // the key holds the state of another limit
)

// grant is a slot in one life of the key. The zero grant is none.
type grant struct {
	life   int64 // when the state was made, by the limit's clock
	number int64 // how many slots had been handed out
	slot   int64 // when the request may start, by the limit's clock
}

// answer is the script's.
type answer struct {
	outcome outcome
	asked   time.Time     // when the script was sent, not later
	wait    time.Duration // until the slot
	late    time.Duration // since the slot
	grant   grant
	limit   string // that of the key, after a conflict
}

// run runs the script. What goes wrong is an ErrUnavailable.
func (l *Limiter) run(ctx context.Context, op operation, budget time.Duration, held grant) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	select {
	case l.calls <- struct{}{}:
		defer func() { <-l.calls }()
	case <-ctx.Done():
		return answer{}, fmt.Errorf("%w: %d calls wait for its answer: %w", ErrUnavailable, mostCalls, ctx.Err())
	}
	asked := time.Now()
	pause, silence, known := l.toTell()
	if held != (grant{}) {
		known = held
	}
	reply, err := script.Run(ctx, l.client, []string{l.key},
		string(op), l.limit(), l.requests, micros(l.window), l.interval(), micros(l.tolerance),
		micros(pause), micros(silence), known.life, known.number, held.slot, micros(budget),
	).Slice()
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	a, err := parse(reply)
	if err != nil {
		return answer{}, err
	}
	a.asked = asked
	if a.outcome == conflict {
		return a, fmt.Errorf("redislimit: the key %q is used with another limit, %s; this one is %s", l.key, a.limit, l.limit())
	}
	l.answered(a, pause)
	return a, nil
}

// limit names what must be the same for all who use the key.
func (l *Limiter) limit() string { return fmt.Sprintf("%d/%v", l.requests, l.per) }

// interval is the time between two slots of a load that is sustained, in microseconds.
func (l *Limiter) interval() string {
	return strconv.FormatFloat(float64(l.per.Microseconds())*bucketMargin/float64(l.requests), 'f', 3, 64)
}

// micros rounds up: who waits a microsecond too little would be told to wait on.
func micros(d time.Duration) int64 { return int64((d + time.Microsecond - 1) / time.Microsecond) }

func parse(reply []any) (answer, error) {
	var n [6]int64
	if len(reply) != len(n)+1 {
		return answer{}, errAnswer
	}
	for i := range n {
		var ok bool
		if n[i], ok = reply[i].(int64); !ok {
			return answer{}, errAnswer
		}
	}
	limit, ok := reply[len(n)].(string)
	if !ok {
		return answer{}, errAnswer
	}
	return answer{
		outcome: outcome(n[0]),
		wait:    time.Duration(n[1]) * time.Microsecond,
		late:    time.Duration(n[3]) * time.Microsecond,
		grant:   grant{slot: n[2], life: n[4], number: n[5]},
		limit:   limit,
	}, nil
}

var errAnswer = errors.Join(ErrUnavailable, errors.New("the script's answer is not what it returns"))
