// Package compare_test compares redislimit with two other rate limiters on Redis. It is a module of its own, so that
// redislimit does not depend on them. Run it with:
//
//	go test -run '^$' -bench . -benchtime 1x .
package compare_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	ulule "github.com/ulule/limiter/v3"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"

	"github.com/reloads-go/reloads/redislimit"
	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
)

const (
	limit   = 50
	period  = 5 * time.Second
	clients = 4
	waiting = 150
)

// newWait returns a function that waits until a request may start. The two other packages only tell whether it may
// start now, and when to ask again.
type newWait func(b *testing.B, client *redis.Client) func(context.Context) error

var limiters = []struct {
	name string
	new  newWait
}{
	{"redislimit", func(b *testing.B, client *redis.Client) func(context.Context) error {
		l, err := redislimit.New(client, "reloads:compare", limit, period)
		if err != nil {
			b.Fatal(err)
		}
		return l.Wait
	}},
	{"redis_rate", func(_ *testing.B, client *redis.Client) func(context.Context) error {
		l := redis_rate.NewLimiter(client)
		return func(ctx context.Context) error {
			for {
				r, err := l.Allow(ctx, "compare", redis_rate.Limit{Rate: limit, Burst: limit, Period: period})
				if err != nil || r.Allowed > 0 {
					return err
				}
				time.Sleep(r.RetryAfter)
			}
		}
	}},
	{"ulule", func(b *testing.B, client *redis.Client) func(context.Context) error {
		store, err := ululeredis.NewStore(client)
		if err != nil {
			b.Fatal(err)
		}
		l := ulule.New(store, ulule.Rate{Limit: limit, Period: period})
		return func(ctx context.Context) error {
			for {
				r, err := l.Get(ctx, "compare")
				if err != nil || !r.Reached {
					return err
				}
				time.Sleep(max(time.Until(time.Unix(r.Reset, 0)), 10*time.Millisecond))
			}
		}
	}},
}

// BenchmarkLimiters lets one request start. Almost a period later, many requests arrive in order, 2 ms apart.
func BenchmarkLimiters(b *testing.B) {
	for _, limiter := range limiters {
		b.Run(limiter.name, func(b *testing.B) {
			for range b.N {
				measure(b, limiter.new)
			}
		})
	}
}

func measure(b *testing.B, newWait newWait) {
	server, err := redisserver.Start(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer server.Stop()
	var trips roundTrips
	var waits []func(context.Context) error
	for range clients {
		client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true, MaxRetries: -1})
		defer client.Close()
		waits = append(waits, newWait(b, client))
		client.AddHook(&trips)
	}
	starts := make([]time.Time, 1+waiting)
	start := func(i int) {
		if err := waits[i%clients](b.Context()); err != nil {
			b.Error(err)
		}
		starts[i] = time.Now()
	}
	start(0)
	time.Sleep(period * 96 / 100)
	var wg sync.WaitGroup
	for i := range waiting {
		wg.Go(func() { start(1 + i) })
		time.Sleep(2 * time.Millisecond)
	}
	wg.Wait()
	b.ReportMetric(float64(overtakers(starts)), "overtakers")
	b.ReportMetric(float64(most(starts)), "starts/period")
	b.ReportMetric(float64(trips.Load())/float64(len(starts)), "trips/request")
}

// overtakers returns by how many later requests the unluckiest request was overtaken.
func overtakers(starts []time.Time) (n int) {
	for i, s := range starts {
		before := 0
		for _, later := range starts[i+1:] {
			if later.Before(s) {
				before++
			}
		}
		n = max(n, before)
	}
	return n
}

// most returns how many requests started in the period with the most starts.
func most(starts []time.Time) (n int) {
	slices.SortFunc(starts, time.Time.Compare)
	for i, first := range starts {
		end := i
		for end < len(starts) && starts[end].Sub(first) < period {
			end++
		}
		n = max(n, end-i)
	}
	return n
}

// roundTrips is a hook that counts the scripts that a client runs.
type roundTrips struct{ atomic.Int64 }

func (n *roundTrips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (n *roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (n *roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			n.Add(1)
		}
		return next(ctx, cmd)
	}
}
