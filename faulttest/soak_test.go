package faulttest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxics "github.com/Shopify/toxiproxy/v2/client"
	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

var soak = flag.Duration("soak", 5*time.Second, "how long TestSoak runs")

const (
	soakWorkers   = 8
	soakHistory   = 230     // reloads of the app that is only read
	soakAllowance = 1 << 20 // bytes by which the idle heap may grow
)

// soakToxics are the faults of the connections in a faulty round. Each connection gets one of them at random. The first
// ones end the connection after some time, too, so that new connections are made all the time.
var soakToxics = [][]toxic{
	{{"limit_data", "downstream", toxics.Attributes{"bytes": 200_000}}},
	{{"limit_data", "downstream", toxics.Attributes{"bytes": 50_000}}},
	{{"limit_data", "downstream", toxics.Attributes{"bytes": 5_000}}},
	{{"limit_data", "downstream", toxics.Attributes{"bytes": 300}}},
	{{"limit_data", "upstream", toxics.Attributes{"bytes": 1_000}}},
	{{"reset_peer", "upstream", toxics.Attributes{"timeout": 0}}},
	{{"reset_peer", "downstream", toxics.Attributes{"timeout": 5}}},
	{{"timeout", "upstream", toxics.Attributes{"timeout": 0}}},
	{{"timeout", "downstream", toxics.Attributes{"timeout": 50}}},
	{{"latency", "downstream", toxics.Attributes{"latency": 40, "jitter": 40}}, {"limit_data", "downstream", toxics.Attributes{"bytes": 20_000}}},
	{{"slicer", "downstream", toxics.Attributes{"average_size": 200, "size_variation": 100, "delay": 2000}}, {"limit_data", "downstream", toxics.Attributes{"bytes": 20_000}}},
}

// TestSoak makes calls of all kinds with one client from several goroutines, in rounds with and without faults. Each
// round has its own tenant, because a tenant keeps all requests that it has received. After each round, when the
// process is idle, the test measures the heap, the goroutines and the file descriptors. They must not grow from the
// first half of the rounds to the second.
func TestSoak(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := &soakTest{random: rand.New(rand.NewPCG(seed, 0))}
	r := &route{transport: http.Transport{MaxIdleConnsPerHost: soakWorkers}}
	r.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		address, faulty := s.next()
		return r.dial(ctx, network, address, func() bool { return faulty })
	}
	s.idle = r.transport.CloseIdleConnections
	s.client = newClient(t, r, reloads.WithAttemptTimeout(2*time.Second))
	began := time.Now()
	round := min(max(time.Second, *soak/12), time.Minute)
	var heaps []uint64
	var goroutines, open []int
	for n := 0; n < 4 || time.Since(began) < *soak; n++ {
		t.Run(fmt.Sprint("round", n), func(t *testing.T) { s.round(t, n%2 == 0, round) })
		heaps = append(heaps, s.idleHeap())
		goroutines = append(goroutines, runtime.NumGoroutine())
		open = append(open, descriptors())
	}
	t.Logf("%v: %d calls, %d faults on connections, %d in the tenant, %d calls failed, %d reloads; peak heap %.1f MiB",
		time.Since(began).Round(time.Millisecond), s.calls.Load(), s.toxic.Load(), s.injected.Load(), s.failed.Load(), s.reloads,
		float64(s.peak.Load())/(1<<20))
	t.Logf("idle heap after each round: %d; goroutines: %d; descriptors: %d", heaps, goroutines, open)
	half := len(heaps) / 2
	if first, second := slices.Max(heaps[:half]), slices.Max(heaps[half:]); second > first+soakAllowance {
		t.Errorf("the idle heap grew from %d to %d bytes", first, second)
	}
	// The first rounds open connections to the API of the proxies, which stay open.
	if slices.Max(goroutines[half:]) > slices.Max(goroutines[:half]) || slices.Max(open[half:]) > slices.Max(open[:half]) {
		t.Errorf("the goroutines %d or the file descriptors %d grew", goroutines, open)
	}
}

type soakTest struct {
	client *reloads.Client
	idle   func() // closes the idle connections of the client

	mu        sync.Mutex
	random    *rand.Rand
	addresses []string // of the current round
	faulty    bool     // whether the current round has faults
	reloads   int      // the number of triggered reloads

	calls, failed, toxic, injected atomic.Int64
	peak                           atomic.Uint64
}

func (s *soakTest) rand(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

// next returns one of the addresses of the current round at random, and whether its connections have faults.
func (s *soakTest) next() (address string, faulty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faulty {
		s.toxic.Add(1)
	}
	return s.addresses[s.random.IntN(len(s.addresses))], s.faulty
}

// round makes calls to a new tenant for the given time.
func (s *soakTest) round(t *testing.T, faulty bool, length time.Duration) {
	tenant := reloadstest.NewTenant(reloadstest.WithMetering(reloadstest.TokenBucket, 0))
	for i := range soakHistory {
		tenant.AddReload(reloads.Reload{
			ID: fmt.Sprintf("history%03d", i), AppID: "history", Status: reloads.StatusSucceeded,
			CreationTime: time.Now().Add(-time.Hour - time.Duration(i)*time.Second),
		})
	}
	server := httptest.NewServer(tenant)
	t.Cleanup(server.Close)
	t.Cleanup(s.idle) // runs before server.Close, which waits for idle connections
	addresses := []string{server.Listener.Addr().String()}
	if faulty {
		addresses = []string{closedPort(t, "tcp")}
		for _, list := range soakToxics {
			addresses = append(addresses, startProxy(t, server.Listener.Addr().String(), list...).Listen)
		}
		tenant.Inject(s.tenantFaults()...)
	}
	s.mu.Lock()
	s.addresses, s.faulty = addresses, faulty
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var workers sync.WaitGroup
	for n := range soakWorkers {
		workers.Go(func() {
			w := &soakWorker{soakTest: s, t: t, tenant: tenant, faulty: faulty, name: fmt.Sprint("worker", n)}
			w.work(ctx)
			w.checkTriggers()
		})
	}
	workers.Wait()
	s.reloads += len(tenant.Reloads()) - soakHistory
}

// tenantFaults returns faults of the tenant. Each of them hits one request in a hundred at random.
func (s *soakTest) tenantFaults() []reloadstest.Fault {
	faults := []reloadstest.Fault{
		{LoseBefore: true}, {LoseAfter: true}, {CutBody: 20}, {CutBody: -1}, {Status: 500}, {Status: 502, Body: "<html>"},
		{Status: 503}, {Status: 503, Header: http.Header{"Retry-After": {"0"}}}, {Status: 504}, {DelayAnswer: 30 * time.Millisecond},
		{Delay: 30 * time.Millisecond}, {Status: 200, Body: "<html>"}, {EffectAfter: 50 * time.Millisecond, Operation: reloadstest.Trigger},
	}
	for i := range faults {
		faults[i].Times = -1
		faults[i].Match = func(*http.Request) bool {
			hit := s.rand(100) == 0
			if hit {
				s.injected.Add(1)
			}
			return hit
		}
	}
	return faults
}

// idleHeap waits until the process is idle, and returns the size of the heap.
func (s *soakTest) idleHeap() uint64 {
	s.idle()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for last, same := 0, 0; same < 20; { // until nothing has changed for 200 ms
		time.Sleep(10 * time.Millisecond)
		if now := runtime.NumGoroutine() + descriptors(); now == last {
			same++
		} else {
			last, same = now, 0
		}
	}
	runtime.GC()
	runtime.GC() // the contents of a sync.Pool survive the first collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// sample records the peak of the heap.
func (s *soakTest) sample() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for {
		peak := s.peak.Load()
		if m.HeapAlloc <= peak || s.peak.CompareAndSwap(peak, m.HeapAlloc) {
			return
		}
	}
}

// explained reports whether an injected fault can be the cause of err, the error of a call.
func explained(err error) bool {
	var apiErr *reloads.Error
	switch {
	case errors.As(err, &apiErr) && apiErr.Err != nil:
		return true // a 2xx response whose body was replaced
	case errors.As(err, &apiErr) && errors.Is(err, reloads.ErrNotCancelable):
		return apiErr.Attempts > 1 // an earlier attempt canceled the reload, and the request that checks this failed, too
	case strings.Contains(err.Error(), "malformed "):
		return true // a header that was cut off; the text is that of net/http
	}
	return errors.Is(err, reloads.ErrServer) || errors.Is(err, reloads.ErrOutcomeUnknown) || refused(err) || lost(err) || late(err)
}
