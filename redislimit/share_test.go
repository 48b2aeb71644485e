package redislimit_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
)

// With LocalShare, processes with many waiting requests keep the limit while Redis is killed, does not respond, or is
// available only for moments.
func TestOutages(t *testing.T) {
	t.Parallel()
	const call = 200 * time.Millisecond
	window := *loadPeriod * 104 / 100
	settle := 2*time.Second + call // see LocalShare
	long := max(14*time.Second, window+3*settle+5*time.Second)
	for name, c := range map[string]struct {
		outages func(t *testing.T, s *redisserver.Server)
		local   bool // whether requests start during the outage
	}{
		"killed": {func(t *testing.T, s *redisserver.Server) { kill(t, s, long) }, true},
		"paused": {func(t *testing.T, s *redisserver.Server) { pause(t, s, long) }, true},
		"flapping": {func(t *testing.T, s *redisserver.Server) {
			for range 3 {
				kill(t, s, randomly(3*time.Second))
				time.Sleep(randomly(time.Second))
				pause(t, s, randomly(3*time.Second))
				time.Sleep(randomly(time.Second))
			}
			kill(t, s, long)
			time.Sleep(time.Second / 2)
			pause(t, s, 2*time.Second)
		}, true},
		"short outages": {func(t *testing.T, s *redisserver.Server) {
			for range 5 {
				pause(t, s, 600*time.Millisecond)
				time.Sleep(randomly(2 * time.Second))
				kill(t, s, 300*time.Millisecond)
				time.Sleep(randomly(2 * time.Second))
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t, "--appendonly", "yes", "--appendfsync", "always")
			l := startLoad(t, loadConfig{Addrs: []string{server.Addr}, Per: *loadPeriod, Share: loadProcesses, Call: call})
			l.waitFor(t, 1, time.Now(), 10*time.Second)
			down := time.Now()
			c.outages(t, server)
			back := time.Now()
			n := l.between(down.Add(window), back)
			l.waitFor(t, 2*loadRequests, back, 8*window+3*settle)
			t.Logf("%d starts in outages of %v", n, back.Sub(down).Round(time.Second))
			if c.local && n == 0 {
				t.Error("no request started during the outage")
			}
			l.check(t)
			if l.unavailable > 0 {
				t.Errorf("Wait returned an error %d times: %s", l.unavailable, l.lastError)
			}
		})
	}
}

func randomly(most time.Duration) time.Duration {
	return time.Duration((0.1 + 0.9*rand.Float64()) * float64(most))
}

func kill(t *testing.T, s *redisserver.Server, d time.Duration) {
	t.Helper()
	s.Stop()
	time.Sleep(d)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
}

func pause(t *testing.T, s *redisserver.Server, d time.Duration) {
	t.Helper()
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
}
