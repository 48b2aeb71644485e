//go:build unix

// Package tracking_test simulates how a batch tracks its reloads. It measures how late the ends are seen, and what that
// costs.
package tracking_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
)

var writeFigures = flag.Bool("figures", false, "simulate everything and write docs/tracking.md")

// figures are what a simulation measures.
type figures struct {
	results   int
	lost      int             // reloads without a result, or with another one than that the reload ended
	delays    []time.Duration // from each end to its result, shortest first
	requests  int
	perMinute int           // the most requests in 60 s, wherever they begin
	lasted    time.Duration // of the simulation
	started   int           // reloads that OnChange saw RELOADING
}

func (f *figures) delay(percent int) time.Duration {
	if len(f.delays) == 0 {
		return 0
	}
	return f.delays[(len(f.delays)-1)*percent/100]
}

// add combines the figures of several simulations.
func (f *figures) add(g figures) {
	f.results += g.results
	f.lost += g.lost
	f.requests += g.requests
	f.started += g.started
	f.lasted += g.lasted
	f.perMinute = max(f.perMinute, g.perMinute)
	f.delays = append(f.delays, g.delays...)
	slices.Sort(f.delays)
}

// simulate waits for the tracked reloads of the world with WaitAll.
func simulate(t *testing.T, w world, observe func(s *service, results int)) (f figures) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(370 * time.Millisecond) // the Date header is a whole second
		s := newService(w)
		rs := make([]*reloads.Reload, w.Reloads)
		for i := range rs {
			created := s.began.Add(s.records[i].created + w.Clock).Truncate(time.Millisecond)
			status := reloads.StatusReloading
			if w.Queue != nil {
				status = reloads.StatusQueued
			}
			rs[i] = &reloads.Reload{ID: reloadID(i), AppID: fmt.Sprint("app", i), Status: status, CreationTime: created}
		}
		var opts []reloads.RunOption
		if w.Queue != nil {
			opts = append(opts, reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
				if r.Status == reloads.StatusReloading {
					f.started++
				}
			}))
		}
		if observe != nil {
			observe(s, 0)
		}
		seen := make([]bool, w.Reloads)
		for r := range newClient(t, s).WaitAll(t.Context(), rs, opts...) {
			var i int
			if _, err := fmt.Sscanf(r.Reload.ID, "%x", &i); err != nil || seen[i] || !r.Reload.Ended() {
				f.lost++
				continue
			}
			seen[i] = true
			f.results++
			f.delays = append(f.delays, time.Since(s.began)-max(0, s.records[i].ended))
			if observe != nil {
				observe(s, f.results)
			}
		}
		f.lost += w.Reloads - f.results
		f.lasted = time.Since(s.began)
		f.requests, f.perMinute = len(s.requests), perMinute(s.requests)
	})
	slices.Sort(f.delays)
	return f
}

func newClient(t *testing.T, s *service) *reloads.Client {
	t.Helper()
	client, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey("test-token"), reloads.WithHTTPClient(&http.Client{Transport: s}))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// perMinute returns the most requests in 60 s.
func perMinute(requests []time.Duration) (most int) {
	from := 0
	for i, at := range requests {
		for at-requests[from] >= time.Minute {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// The times until the reloads end.
func uniform(random *rand.Rand, _ int) time.Duration {
	return time.Minute + time.Duration(random.Int64N(int64(29*time.Minute)))
}

// begunBefore is like uniform for reloads that were begun 15 minutes before the batch.
func begunBefore(random *rand.Rand, i int) time.Duration { return uniform(random, i) - 15*time.Minute }

func exponential(random *rand.Rand, _ int) time.Duration {
	return time.Duration(random.ExpFloat64() * float64(10*time.Minute))
}

func oneSecond(random *rand.Rand, _ int) time.Duration {
	return 10*time.Minute + time.Duration(random.Int64N(int64(time.Second)))
}

func upTo(d time.Duration) func(*rand.Rand) time.Duration {
	return func(random *rand.Rand) time.Duration { return time.Duration(random.Int64N(int64(d))) }
}

func constant(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

// someLate lists a tenth of the ends a minute late.
func someLate(random *rand.Rand) time.Duration {
	if random.IntN(10) == 0 {
		return time.Minute
	}
	return 0
}

// load is a distribution of ends.
type load struct {
	name  string
	world world
	runs  int           // 0 means 1
	p95   time.Duration // at most; 0 means that it is only reported
	most  int           // requests per minute; 0 means 800
	quick bool          // it is simulated without -figures
}

var loads = []load{
	{name: "10,000, uniform 1–30 min", world: world{Reloads: 10_000, Ends: uniform}, p95: 1500 * time.Millisecond, most: 200, quick: true},
	{name: "10,000, exponential, mean 10 min", world: world{Reloads: 10_000, Ends: exponential}, p95: 1500 * time.Millisecond, most: 200, quick: true},
	{name: "10,000, all within one second", world: world{Reloads: 10_000, Ends: oneSecond}, p95: 12 * time.Second, quick: true},
	{name: "10,000, uniform, 100,000 others", world: world{Reloads: 10_000, Ends: uniform, Foreign: 10}, p95: 10 * time.Second, quick: true},
	{name: "10,000, exponential, 100,000 others", world: world{Reloads: 10_000, Ends: exponential, Foreign: 10}, p95: 10 * time.Second},
	{name: "100,000, uniform 1–30 min", world: world{Reloads: 100_000, Ends: uniform}, p95: 2 * time.Second, quick: true},
	{name: "10,000, uniform, queued up to a minute, with OnChange", world: world{Reloads: 10_000, Ends: uniform, Queue: upTo(time.Minute)}, p95: 1500 * time.Millisecond, most: 500, quick: true},
	{name: "10,000, uniform, begun 15 min ago, 30,000 others", world: world{Reloads: 10_000, Ends: begunBefore, Age: 15 * time.Minute, Foreign: 3}},
	{name: "1,000, uniform 1–30 min", world: world{Reloads: 1000, Ends: uniform}, p95: 1500 * time.Millisecond, most: 200, quick: true},
	{name: "100, uniform 1–30 min", world: world{Reloads: 100, Ends: uniform}, runs: 10, p95: 6 * time.Second, most: 200, quick: true},
	{name: "10, uniform 1–30 min", world: world{Reloads: 10, Ends: uniform}, runs: 50, p95: 6 * time.Second, most: 130, quick: true},
	{name: "1, uniform 1–30 min", world: world{Reloads: 1, Ends: uniform}, runs: 100, p95: 15200 * time.Millisecond, most: 30, quick: true},
}

// risk is a way in which the service may differ from what is expected of it.
type risk struct {
	name   string
	change func(*world)
	quick  bool
}

var risks = []risk{
	{name: "`sort` is ignored", change: func(w *world) { w.NoSort = true }, quick: true},
	{name: "5 % are canceled without endTime, listed last", change: func(w *world) { w.NoEnd = 0.05 }, quick: true},
	{name: "5 % are canceled without endTime, listed first", change: func(w *world) { w.NoEnd, w.Nulls = 0.05, true }},
	{name: "2 % are never listed", change: func(w *world) { w.Hidden = 0.02 }, quick: true},
	{name: "listed up to 10 s late", change: func(w *world) { w.Late = upTo(10 * time.Second) }},
	{name: "listed 10 s late", change: func(w *world) { w.Late = constant(10 * time.Second) }},
	{name: "listed up to 30 s late", change: func(w *world) { w.Late = upTo(30 * time.Second) }},
	{name: "listed 30 s late", change: func(w *world) { w.Late = constant(30 * time.Second) }, quick: true},
	{name: "end times truncated to the minute", change: func(w *world) { w.Rounded = time.Minute }, quick: true},
	{name: "10 % are listed 60 s late", change: func(w *world) { w.Late = someLate }},
	{name: "server clock 90 s ahead", change: func(w *world) { w.Clock = 90 * time.Second }, quick: true},
	{name: "server clock 90 s behind", change: func(w *world) { w.Clock = -90 * time.Second }},
	{name: "list refused with 403", change: func(w *world) { w.Refuse = http.StatusForbidden }, quick: true},
	{name: "filter refused with 400", change: func(w *world) { w.Refuse = http.StatusBadRequest }},
	{name: "cursors shift while paging", change: func(w *world) { w.Offsets = true }},
}

// run simulates a load, with another random seed in each run.
func (l load) run(t *testing.T) (f figures) {
	t.Helper()
	for i := range max(1, l.runs) {
		w := l.world
		w.Seed = uint64(i)
		f.add(simulate(t, w, nil))
	}
	most := cmp.Or(l.most, 800)
	t.Log(f)
	if f.lost > 0 || f.perMinute > most || l.p95 > 0 && f.delay(95) > l.p95 {
		t.Errorf("want no reload lost, a delay of at most %v (95 %%), at most %d requests per minute", l.p95, most)
	}
	if l.world.Queue != nil && f.started < f.results {
		t.Errorf("OnChange saw %d of %d starts", f.started, f.results)
	}
	return f
}

func (f figures) String() string {
	return fmt.Sprintf("%d results, %d lost; delay %v (50 %%), %v (95 %%), %v (99 %%), %v (all); %d requests in %v, at most %d per minute; %d seen RELOADING",
		f.results, f.lost, seconds(f.delay(50)), seconds(f.delay(95)), seconds(f.delay(99)), seconds(f.delay(100)),
		f.requests, f.lasted.Round(time.Second), f.perMinute, f.started)
}

func seconds(d time.Duration) string {
	if d < 100*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f min", d.Minutes())
}

// TestTracking simulates the loads that do not take long.
func TestTracking(t *testing.T) {
	for _, l := range loads {
		if testing.Short() {
			l.runs = 1
		}
		if l.quick && (l.world.Reloads <= 100 || !testing.Short()) {
			t.Run(l.name, func(t *testing.T) { l.run(t) })
		}
	}
}

// TestRisks simulates what the service may do differently. No end is lost.
func TestRisks(t *testing.T) {
	for _, r := range risks {
		if !r.quick || testing.Short() {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			l := load{world: world{Reloads: 2000, Ends: uniform}}
			r.change(&l.world)
			l.run(t)
		})
	}
}

// TestFigures checks that docs/tracking.md describes the present simulations. With -figures, it writes the page before.
func TestFigures(t *testing.T) {
	if *writeFigures {
		writePage(t)
	}
	page, err := os.ReadFile("../tracking.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{introduction, aboutRisks, aboutCost}
	for _, l := range loads {
		want = append(want, "\n| "+l.name+" | ")
	}
	for _, r := range risks {
		want = append(want, "\n| "+r.name+" | ")
	}
	for _, w := range costs {
		want = append(want, "\n| "+costName(w)+" | ")
	}
	for _, part := range want {
		if !strings.Contains(string(page), part) {
			t.Errorf("the page lacks %q; write it anew with -figures", part)
		}
	}
}

func writePage(t *testing.T) {
	page := introduction
	for _, l := range loads {
		t.Run(l.name, func(t *testing.T) {
			f := l.run(t)
			page += fmt.Sprintf("| %s | %s | %s | %s | %s | %d | %.0f |\n", l.name, seconds(f.delay(50)), seconds(f.delay(95)),
				seconds(f.delay(99)), seconds(f.delay(100)), f.perMinute, float64(f.requests)/f.lasted.Minutes())
		})
	}
	page += aboutRisks
	for _, r := range risks {
		page += "| " + r.name
		for _, l := range loads[:riskLoads] {
			t.Run(r.name+"/"+l.name, func(t *testing.T) {
				l.p95, l.most = 0, 0
				r.change(&l.world)
				f := l.run(t)
				page += fmt.Sprintf(" | %s, %s, %d", seconds(f.delay(95)), seconds(f.delay(100)), f.perMinute)
			})
		}
		page += " |\n"
	}
	page += aboutCost
	for _, w := range costs {
		t.Run(fmt.Sprint("cost of ", w.Reloads), func(t *testing.T) {
			c := measure(t, w)
			bytes := strconv.Itoa(c.bytes)
			if c.bytes <= 0 { // the garbage of the simulation is larger
				bytes = "not measurable"
			}
			page += fmt.Sprintf("| %s | %.2f %% | %s | %.0f |\n", costName(w), 100*c.cpu, bytes, c.requests)
		})
	}
	if err := os.WriteFile("../tracking.md", []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

func costName(w world) string {
	name := strconv.Itoa(w.Reloads)
	if w.Refuse != 0 {
		name += ", the list is refused"
	}
	return name
}

// cost is what the client uses to track reloads.
type cost struct {
	cpu      float64 // cores
	bytes    int     // of heap for each reload
	requests float64 // per minute
}

// collect frees what is not used. The buffers of a sync.Pool survive the first collection.
func collect() {
	runtime.GC()
	runtime.GC()
}

// measure simulates uniform ends. It measures the CPU time of a second simulation that only sends the same requests, and
// subtracts it.
func measure(t *testing.T, w world) (c cost) {
	t.Helper()
	type sent struct {
		at      time.Duration
		request *http.Request
	}
	var log []sent
	var before, after runtime.MemStats
	simulate(t, w, func(s *service, results int) {
		switch {
		case results == 0:
			s.requests = make([]time.Duration, 0, 1<<20)
			collect()
			runtime.ReadMemStats(&before)
		case results%(w.Reloads/4) == 1:
			collect()
			runtime.ReadMemStats(&after)
			c.bytes = max(c.bytes, int(int64(after.HeapAlloc)-int64(before.HeapAlloc))/w.Reloads)
		}
	})
	began := cpuTime()
	f := simulate(t, w, func(s *service, results int) {
		if results == 0 {
			s.log = func(r *http.Request) { log = append(log, sent{time.Since(s.began), r.Clone(t.Context())}) }
		}
	})
	all := cpuTime() - began
	began = cpuTime()
	synctest.Test(t, func(t *testing.T) {
		s := newService(w)
		for _, l := range log {
			time.Sleep(l.at - time.Since(s.began))
			go func() {
				resp, err := s.RoundTrip(l.request.WithContext(t.Context()))
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			}()
		}
		time.Sleep(time.Second)
	})
	floor := cpuTime() - began
	c.cpu = (all - floor).Seconds() / f.lasted.Seconds()
	c.requests = float64(f.requests) / f.lasted.Minutes()
	t.Logf("%d reloads: CPU %.1f s, of which %.1f s for the model, in %v: %.2f %% of a core; %d bytes of heap each; %.0f requests per minute",
		w.Reloads, all.Seconds(), floor.Seconds(), f.lasted.Round(time.Second), 100*c.cpu, c.bytes, c.requests)
	if c.cpu > 0.05 || w.Reloads >= 1000 && c.bytes > 1024 {
		t.Error("want at most 5 % of a core, and 1024 bytes each")
	}
	return c
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

var costs = []world{
	{Reloads: 100, Ends: uniform}, {Reloads: 1000, Ends: uniform}, {Reloads: 10_000, Ends: uniform}, {Reloads: 100_000, Ends: uniform},
	{Reloads: 100_000, Ends: uniform, Refuse: http.StatusForbidden},
}

func TestCost(t *testing.T) {
	for _, w := range costs {
		if w.Refuse == 0 && !testing.Short() {
			t.Run(fmt.Sprint(w.Reloads), func(t *testing.T) { measure(t, w) })
		}
	}
}

const riskLoads = 4 // how many loads are simulated with each risk

const introduction = `# How a batch tracks its reloads

This page shows how late WaitAll and RunAll notice that reloads have ended, how many requests that takes, and what happens
if the service behaves differently from what is expected. This command simulates all of it and writes the page, in about
five minutes:

    go test ./docs/tracking -run TestFigures -figures -timeout 30m

The simulation is in docs/tracking. It runs the client with a model of the service and a simulated clock. A response takes
100 ms. All reloads of a batch are waited for with WaitAll and the default polling policy. The delay is the time from the
end of a reload to its result. "Requests" are the most in any 60 seconds, and the average per minute. A batch never sends
more than 800 requests in 60 seconds.

## Delay and requests

"Others" are reloads of the tenant that are not in the batch and end in the same time. The small batches are simulated many
times. With OnChange, every start was seen, too.

| reloads and when they end | 50 % | 95 % | 99 % | all | requests in 60 s | average |
|---|---|---|---|---|---|---|
`

const aboutRisks = `
## A service that behaves differently

The documentation of the service leaves open how exact its lists are. Each row changes one thing. In no simulation was a
reload lost. Each cell shows the delay of 95 % and of all reloads, and the most requests in 60 seconds, for 10,000 reloads.

- If many ends are listed late, the feed reads further back in every pass.
- What the list never shows is found by single polls. With 10,000 reloads, each one is polled every 13 minutes, or every 20
  minutes if the feed needs many requests, too.
- If the list cannot be used at all, because it is refused or not sorted, single polls are the only source. Their delay grows
  with the number of reloads: it is up to 15 seconds for 200 reloads, 2.5 minutes for 2,000, and 13 minutes for 10,000.

| | uniform | exponential | within one second | uniform, with 100,000 others |
|---|---|---|---|---|
`

const aboutCost = `
## CPU time and memory

For a uniform distribution of ends. The CPU time is that of the process, without the time that the model of the service
takes for the same requests. The heap is what the client needs for each reload, without the caller's slice. With few
reloads, the garbage of the simulation is larger.

| reloads | share of one core | bytes each | requests per minute |
|---|---|---|---|
`
