package redislimit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reloads-go/reloads/redislimit"
)

// The benchmarks measure requests per second, and round trips per request. Run them with:
//
//	go test -run '^$' -bench .

var concurrency = []int{1, 16, 256}

// acquire starts requests with the given number of goroutines.
func acquire(b *testing.B, l *redislimit.Limiter, requests, goroutines int) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(requests))
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := l.Wait(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkUnlimited measures what Redis and the network allow. The limit is never reached.
func BenchmarkUnlimited(b *testing.B) {
	for _, n := range concurrency {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			client, trips := connect(b, startRedis(b))
			l := newLimiter(b, client, 1e6, time.Hour)
			acquire(b, l, 1, 1)
			trips.Store(0)
			b.ResetTimer()
			acquire(b, l, b.N, n)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64(trips.Load())/float64(b.N), "trips/request")
		})
	}
}

// BenchmarkLimited measures a limit of 200 requests per second after its first burst. One op is a window of 2000
// requests.
func BenchmarkLimited(b *testing.B) {
	const window, per = 2000, 10 * time.Second
	for _, n := range concurrency {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			client, trips := connect(b, startRedis(b))
			l := newLimiter(b, client, window, per)
			acquire(b, l, window, n)
			trips.Store(0)
			b.ResetTimer()
			acquire(b, l, window*b.N, n)
			rate := float64(window*b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "requests/s")
			b.ReportMetric(100*rate/(window/per.Seconds()), "%limit")
			b.ReportMetric(float64(trips.Load())/float64(window*b.N), "trips/request")
		})
	}
}
