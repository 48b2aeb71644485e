package reloads_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
)

const nightly = "nightly 2026-11-24"

// onceID returns the ResourceID of a run under a key. The formula must not change, because processes of different
// versions of the package may run the same steps.
func onceID(key, canonical string, occurrence, run int) string {
	identity := sha256.Sum256(fmt.Appendf(nil, "%q %d %s", key, occurrence, canonical))
	id := sha256.Sum256(fmt.Appendf(nil, "%x %d", identity, run))
	return hex.EncodeToString(id[:12])
}

// onceAppID returns the ResourceID of a run of a request with nothing but an app.
func onceAppID(app string, run int) string {
	return onceID(nightly, fmt.Sprintf(`{"appId":%q}`, app), 0, run)
}

// runOnce runs the requests under the key, and returns the results in order of the requests.
func runOnce(ctx context.Context, t *testing.T, w http.RoundTripper, reqs []reloads.Request, opts ...reloads.RunOption) []reloads.Result {
	t.Helper()
	results := make([]reloads.Result, len(reqs))
	seen := map[reloads.Step]bool{}
	opts = append([]reloads.RunOption{reloads.Once(nightly)}, opts...)
	for r := range scriptedClient(t, w).RunAll(ctx, reqs, opts...) {
		if seen[r.Step] {
			t.Errorf("a second result of step %d: %+v", r.Step, r)
		}
		seen[r.Step], results[r.Step] = true, r
	}
	if len(seen) != len(reqs) {
		t.Errorf("%d steps have a result, want %d", len(seen), len(reqs))
	}
	return results
}

// succeed checks that all results are those of reloads that SUCCEEDED.
func succeed(t *testing.T, results []reloads.Result) {
	t.Helper()
	for _, r := range results {
		if r.Err != nil || r.Reload == nil || r.Reload.Status != reloads.StatusSucceeded {
			t.Errorf("step %d: got %v and %v, want a reload that SUCCEEDED", r.Step, r.Reload, r.Err)
		}
	}
}

// addEarlier makes a reload that another process has triggered, and waits until it has finished.
func (w *world) addEarlier(t *testing.T, r worldRecord) *worldRecord {
	t.Helper()
	made := w.triggerForeign(r, 0)
	if made == nil {
		t.Fatalf("app %s has a pending reload", r.app)
	}
	time.Sleep(time.Until(made.ended) + time.Millisecond)
	return made
}

func TestOnceResourceIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		failed := map[string]bool{}
		w := &world{runFor: time.Minute}
		w.ends = func(r *worldRecord) reloads.Status { // the first run of each app fails
			mu.Lock()
			defer mu.Unlock()
			if id, first := r.id, !failed[r.app]; first {
				failed[r.app], failed[id] = true, true
			}
			if failed[r.id] {
				return reloads.StatusFailed
			}
			return reloads.StatusSucceeded
		}
		reqs := []reloads.Request{
			{AppID: "app"}, {AppID: "app", Partial: true}, {AppID: "app"},
			{
				AppID: "ä<&>\"", Partial: true, Weight: 3, ResourceType: reloads.ResourceTypeAPI,
				Variables: map[string]string{"b": "2", "a": "1\u2028"},
			},
		}
		succeed(t, runOnce(t.Context(), t, w, reqs, reloads.Rerun(1)))
		long := "{\"appId\":\"ä<&>\\\"\",\"partial\":true,\"weight\":3,\"variables\":{\"a\":\"1\u2028\",\"b\":\"2\"},\"resourceType\":\"api\"}"
		want := map[string]string{
			"6d16d20ee0364a520976812f": onceID(nightly, `{"appId":"app"}`, 0, 1),
			"9e63319b2e1be5eb3a0eebe3": onceID(nightly, `{"appId":"app"}`, 0, 2),
			"73307bf78975debdff980326": onceID(nightly, `{"appId":"app","partial":true}`, 0, 1),
			"f5d24fb72f97d55471ed9f4e": onceID(nightly, `{"appId":"app"}`, 1, 1),
			"4851e83fc980572dd1645da6": onceID(nightly, long, 0, 1),
			"5c3be060b9461a93628576ae": onceID(nightly, long, 0, 2),
		}
		var got []string
		for _, r := range w.own() {
			got = append(got, r.resourceID)
		}
		for literal, computed := range want {
			if literal != computed {
				t.Errorf("the formula returns %s, want %s", computed, literal)
			}
			if !slices.Contains(got, computed) {
				t.Errorf("no reload has the ResourceID %s", computed)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d reloads were triggered, want %d", len(got), len(want))
		}
	})
}

// killableTransport loses all requests after its process was killed. Those in flight still take effect.
type killableTransport struct {
	http.RoundTripper
	killed atomic.Bool
}

func (k *killableTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if k.killed.Load() {
		return nil, errReset
	}
	return k.RoundTripper.RoundTrip(r)
}

// onceSimulation is two programs that run the same steps under the same key, again and again.
type onceSimulation struct {
	world     *world
	mu        sync.Mutex
	random    *rand.Rand
	reqs      []reloads.Request // the second half are partial reloads of the same apps
	dependent bool              // each of them comes after the first reload of its app
	foreign   bool              // somebody else triggers reloads of the apps, too
}

func (s *onceSimulation) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

// live is one process. It is killed, or ends because its context is canceled, unless last is set.
func (s *onceSimulation) live(t *testing.T, last bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	transport := &killableTransport{RoundTripper: s.world}
	opts := []reloads.RunOption{reloads.Rerun(6), reloads.MaxActive(s.draw(4))}
	if s.draw(2) == 0 {
		opts = append(opts, reloads.CancelOnAbort())
	}
	if !last {
		kill := s.draw(2) == 0
		time.AfterFunc(time.Duration(s.draw(15000))*time.Millisecond, func() {
			transport.killed.Store(kill)
			cancel()
		})
	}
	s.run(ctx, t, transport, func(r reloads.Result) {
		canceled := errors.Is(r.Err, reloads.ErrReloadCanceled) // by the other program
		// Until the client has seen that the service keeps ResourceIDs, a foreign reload may be the triggered one.
		unknown := s.foreign && errors.Is(r.Err, reloads.ErrOutcomeUnknown)
		if r.Err != nil && ctx.Err() == nil && !canceled && !unknown {
			t.Errorf("%v: %v", r.Request, r.Err)
		}
	}, opts...)
}

// run runs the steps in random order and calls check with the results.
func (s *onceSimulation) run(ctx context.Context, t *testing.T, transport http.RoundTripper, check func(reloads.Result), opts ...reloads.RunOption) {
	t.Helper()
	s.mu.Lock()
	half := len(s.reqs) / 2
	first, second := s.random.Perm(half), s.random.Perm(half)
	s.mu.Unlock()
	var plan reloads.Plan
	position := make([]reloads.Step, half)
	for _, i := range first {
		position[i] = plan.Add(s.reqs[i])
	}
	for _, i := range second {
		var after []reloads.Step
		if s.dependent {
			after = append(after, position[i])
		}
		plan.Add(s.reqs[half+i], after...)
	}
	opts = append(opts, reloads.Once(nightly))
	if s.foreign {
		opts = append(opts, reloads.AfterPending())
	}
	n := 0
	for r := range scriptedClient(t, transport).RunPlan(ctx, &plan, opts...) {
		n++
		check(r)
	}
	if n != len(s.reqs) {
		t.Errorf("got %d results, want %d", n, len(s.reqs))
	}
}

// disturb triggers reloads of the apps as somebody else, until ctx has ended.
func (s *onceSimulation) disturb(ctx context.Context) {
	for s.foreign && ctx.Err() == nil {
		s.world.triggerForeign(worldRecord{app: s.reqs[s.draw(len(s.reqs))].AppID}, 0)
		time.Sleep(time.Duration(s.draw(60)) * time.Second)
	}
}

func TestOnceInSeveralProcesses(t *testing.T) {
	t.Parallel()
	const steps = 8
	total := 0
	for seed := range uint64(size(300, 6)) {
		synctest.Test(t, func(t *testing.T) {
			s := &onceSimulation{random: rand.New(rand.NewPCG(seed, 1)), dependent: seed%2 == 0, foreign: seed%3 == 0}
			programs := 1 + s.draw(2)
			w := &world{
				seed: seed, latency: time.Duration(s.draw(200)) * time.Millisecond, spread: true,
				listLag: time.Duration(s.draw(2000)) * time.Millisecond, precision: []time.Duration{0, time.Second}[s.draw(2)],
			}
			s.world = w
			if w.runFor = time.Duration(s.draw(5000)) * time.Millisecond; programs == 2 {
				w.runFor += w.listLag + 2*time.Second // or both may trigger a reload that the other one cannot see
			}
			w.ends = func(r *worldRecord) reloads.Status {
				if r.id[0] < '4' { // a quarter
					return reloads.StatusFailed
				}
				return reloads.StatusSucceeded
			}
			if s.draw(2) == 0 {
				w.behind = func(r *worldRecord) time.Duration { return w.listLag / time.Duration(1+r.id[1]%4) }
			}
			w.planPost = func() postPlan {
				if s.draw(10) == 0 {
					return postPlan{lost: true}
				}
				return postPlan{}
			}
			for i := range steps {
				s.reqs = append(s.reqs, reloads.Request{AppID: fmt.Sprint("app", i%(steps/2)), Partial: i >= steps/2})
			}
			disturbing, stop := context.WithCancel(t.Context())
			var disturber, running sync.WaitGroup
			defer disturber.Wait()
			defer stop()
			disturber.Go(func() { s.disturb(disturbing) })
			for range programs {
				lives := s.draw(6)
				running.Go(func() {
					for range lives {
						s.live(t, false)
					}
					s.live(t, true)
				})
			}
			running.Wait()
			s.run(t.Context(), t, w, func(r reloads.Result) { succeed(t, []reloads.Result{r}) }, reloads.Rerun(6))
			total += len(w.own())
			s.check(t)
		})
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
	t.Logf("%d reloads", total)
}

// check checks that each step succeeded exactly once, and was not triggered after that.
func (s *onceSimulation) check(t *testing.T) {
	t.Helper()
	for _, req := range s.reqs {
		var runs []string
		after := false
		for _, r := range s.world.own() {
			if r.app != req.AppID || r.partial != req.Partial {
				continue
			}
			status := s.world.status(r, time.Now())
			runs = append(runs, fmt.Sprintf("%s %s, created %v", status, r.resourceID, r.created))
			if after {
				t.Errorf("%v was triggered after it had succeeded: %q", req, runs)
			}
			after = after || status == reloads.StatusSucceeded
		}
		if !after {
			t.Errorf("%v did not succeed: %q", req, runs)
		}
	}
}

func TestOnceWithoutResourceIDs(t *testing.T) {
	t.Parallel()
	dropped := []string{"resourceId"}
	for name, test := range map[string]struct {
		world     *world
		maxActive int
		triggers  int // at most
	}{
		"in the 201":            {&world{omitCreated: dropped}, 0, 1},
		"everywhere":            {&world{omitCreated: dropped, omitListed: dropped, omitGot: dropped}, 0, 1},
		"in GET":                {&world{omitGot: dropped}, 2, 2},
		"in the list":           {&world{omitListed: dropped}, 6, 1},
		"in the list, of a few": {&world{omitListed: dropped}, 2, 1},
		"in the list, of one":   {&world{omitListed: dropped}, 1, 1},
		"it is never listed":    {&world{unlisted: func(*worldRecord) bool { return true }}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := test.world
				w.latency, w.queueFor, w.runFor = 50*time.Millisecond, 3*time.Second, 30*time.Second
				var reqs []reloads.Request
				for i := range 10 {
					reqs = append(reqs, reloads.Request{AppID: fmt.Sprint("app", i)})
				}
				named := 0
				for _, r := range runOnce(t.Context(), t, w, reqs, reloads.MaxActive(test.maxActive), reloads.Rerun(1)) {
					switch {
					case r.Err != nil && strings.Contains(r.Err.Error(), "the service did not return the ResourceID"):
						named++
						if strings.HasPrefix(name, "in the list") && !strings.Contains(r.Err.Error(), "it has another one, or none") || strings.Contains(r.Err.Error(), "%!") {
							t.Errorf("step %d: got %v", r.Step, r.Err)
						}
					case r.Err != nil || r.Reload == nil:
						t.Errorf("step %d: got %v and %v", r.Step, r.Reload, r.Err)
					}
					if r.Reload != nil && r.Reload.Status != reloads.StatusSucceeded {
						t.Errorf("step %d: its reload was not waited for: %v", r.Step, r.Reload)
					}
				}
				n := len(w.own())
				if n > test.triggers || n == 0 {
					t.Errorf("%d reloads were triggered, want 1 to %d", n, test.triggers)
				}
				if named < 10-n+1 {
					t.Errorf("%d errors say that the service does not keep the ResourceID, want %d at least", named, 10-n+1)
				}
			})
		})
	}
}

// While the first reload is not listed yet, no other one is triggered, unless an earlier run is listed.
func TestOnceWaitsForTheList(t *testing.T) {
	t.Parallel()
	for _, resumed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{latency: 50 * time.Millisecond, runFor: time.Second, listLag: 20 * time.Second}
			if resumed {
				w.triggerForeign(worldRecord{app: "z", resourceID: onceAppID("z", 1)}, time.Hour)
				time.Sleep(time.Minute)
			}
			succeed(t, runOnce(t.Context(), t, w, requestsFor("a", "b", "c", "d", "z"))[:4])
			posts := w.postTimes()
			if !resumed && (len(posts) != 5 || posts[1].Sub(posts[0]) < w.listLag || posts[4].Sub(posts[1]) > time.Second) {
				t.Errorf("the triggers were sent at %v, want all but the first one together, when the first reload is listed", posts)
			}
			if resumed && (len(posts) != 4 || posts[3].Sub(posts[0]) > time.Second) {
				t.Errorf("the triggers were sent at %v, want all together", posts)
			}
		})
	}
}

// The wait for the rate limit makes a look-up old. Then another one precedes the trigger, and if that was slow, another wait.
func TestLookUpsBeforeATriggerOfOnce(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		lookUp, wait []time.Duration // how long each one takes, after the first look-up; the last one counts for all further ones
		want         [2]int          // how many there are before the trigger
	}{
		"quick":              {[]time.Duration{0}, []time.Duration{499 * ms}, [2]int{1, 1}},
		"a wait":             {[]time.Duration{0, 499 * ms}, []time.Duration{500 * ms}, [2]int{2, 1}},
		"a slow look-up":     {[]time.Duration{400 * ms}, []time.Duration{799 * ms}, [2]int{1, 1}},
		"a slow one, a wait": {[]time.Duration{400 * ms}, []time.Duration{800 * ms}, [2]int{2, 1}},
		"both slow":          {[]time.Duration{500 * ms}, []time.Duration{time.Second, 0}, [2]int{2, 2}},
		"always slow":        {[]time.Duration{500 * ms}, []time.Duration{time.Second}, [2]int{4, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, got := [2]int{-1, 0}, [2]int{} // the first look-up does not count
				next := func(kind int, takes []time.Duration) time.Duration {
					n[kind]++
					return takes[min(max(0, n[kind]-1), len(takes)-1)]
				}
				w := &world{lookUpLatency: func() time.Duration { return next(0, c.lookUp) }}
				w.instead = func(r *http.Request) outcome {
					if isTrigger(r) {
						got = n
					}
					return nil
				}
				client := scriptedClient(t, w, reloads.WithLimiters(reloads.Limiters{Trigger: limiterFunc(func(context.Context) error {
					time.Sleep(next(1, c.wait))
					return nil
				})}))
				if _, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.Once(nightly)); err != nil || got != c.want {
					t.Errorf("%d look-ups and waits, and %v, want %d", got, err, c.want)
				}
			})
		})
	}
}

func TestOnceHistory(t *testing.T) {
	t.Parallel()
	for newer, want := range map[int]int{0: 0, 99: 0, 100: 0, 150: 0, 199: 0, 250: 1} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{runFor: time.Second}
			earlier := w.addEarlier(t, worldRecord{app: "app", resourceID: onceAppID("app", 1)})
			for range newer {
				w.addEarlier(t, worldRecord{app: "app"})
			}
			results := runOnce(t.Context(), t, w, requestsFor("app"))
			succeed(t, results)
			if n := len(w.own()); n != want {
				t.Errorf("%d newer reloads: %d were triggered, want %d", newer, n, want)
			}
			if r := results[0]; want == 0 && (r.Reload == nil || r.Reload.ID != earlier.id || r.Runs != 0) {
				t.Errorf("%d newer reloads: got %v with %d runs, want the earlier one, %s", newer, r.Reload, r.Runs, earlier.id)
			}
		})
	}
}

func TestOnceAfterEarlierRuns(t *testing.T) {
	t.Parallel()
	failed, canceled, exceeded := reloads.StatusFailed, reloads.StatusCanceled, reloads.StatusExceededLimit
	for _, test := range []struct {
		name string
		runs map[int]reloads.Status // by number
		want int                    // number of the run that is triggered; 0 means none
	}{
		{"failed", map[int]reloads.Status{1: failed}, 2},
		{"canceled", map[int]reloads.Status{1: canceled}, 2},
		{"exceeded the limit", map[int]reloads.Status{1: exceeded}, 2},
		{"several", map[int]reloads.Status{1: failed, 2: canceled, 3: exceeded}, 4},
		{"there is no run 0", map[int]reloads.Status{0: reloads.StatusSucceeded}, 1},
		{"one is not in the list", map[int]reloads.Status{2: failed}, 3},
		{"the last one succeeded", map[int]reloads.Status{1: failed, 2: reloads.StatusSucceeded}, 0},
		{"the first one succeeded", map[int]reloads.Status{1: reloads.StatusSucceeded, 2: failed}, 0},
		{"the last possible one succeeded", map[int]reloads.Status{1000: reloads.StatusSucceeded}, 0},
		{"the last but one failed", map[int]reloads.Status{999: failed}, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				status := map[string]reloads.Status{}
				w := &world{runFor: time.Second}
				w.ends = func(r *worldRecord) reloads.Status {
					if s, ok := status[r.resourceID]; ok && r.foreign {
						return s
					}
					return reloads.StatusSucceeded
				}
				for _, run := range slices.Sorted(maps.Keys(test.runs)) {
					status[onceAppID("app", run)] = test.runs[run]
					w.addEarlier(t, worldRecord{app: "app", resourceID: onceAppID("app", run)})
				}
				results := runOnce(t.Context(), t, w, requestsFor("app"))
				succeed(t, results)
				var got []string
				for _, r := range w.own() {
					got = append(got, r.resourceID)
				}
				if test.want == 0 && (len(got) > 0 || results[0].Runs != 0) ||
					test.want > 0 && (!slices.Equal(got, []string{onceAppID("app", test.want)}) || results[0].Runs != 1) {
					t.Errorf("got %d runs and the triggers %q, want run %d", results[0].Runs, got, test.want)
				}
			})
		})
	}
}

// A step cannot have more runs than the look-up considers.
func TestOnceAfterTheLastPossibleRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{ends: func(*worldRecord) reloads.Status { return reloads.StatusFailed }}
		w.addEarlier(t, worldRecord{app: "app", resourceID: onceAppID("app", 1000)})
		if rs := runOnce(t.Context(), t, w, requestsFor("app")); rs[0].Err == nil || !strings.Contains(rs[0].Err.Error(), "has had 1000 runs") || len(w.own()) > 0 {
			t.Errorf("got %v and %d triggers", rs[0].Err, len(w.own()))
		}
	})
}

// A number was used twice, because the list of a process was behind. The older reload succeeded, perhaps as a list that is behind
// does not show yet.
func TestOnceAfterANumberWasUsedTwiceBefore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		newer  reloads.Status
		behind time.Duration // the state of the older reload
		want   int           // the result
	}{
		"failed":                    {reloads.StatusFailed, 0, 0},
		"failed, list is behind":    {reloads.StatusFailed, time.Hour, 0},
		"succeeded, like the other": {reloads.StatusSucceeded, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{ends: func(r *worldRecord) reloads.Status {
					return []reloads.Status{reloads.StatusSucceeded, c.newer}[r.number]
				}}
				w.behind = func(r *worldRecord) time.Duration { return []time.Duration{c.behind, 0}[r.number] }
				var earlier []*worldRecord
				for range 2 {
					earlier = append(earlier, w.addEarlier(t, worldRecord{app: "app", resourceID: onceAppID("app", 1)}))
				}
				results := runOnce(t.Context(), t, w, requestsFor("app"))
				if succeed(t, results); len(w.own()) > 0 || results[0].Reload == nil || results[0].Reload.ID != earlier[c.want].id {
					t.Errorf("got %v and %d triggers, want reload %d", results[0].Reload, len(w.own()), c.want)
				}
			})
		})
	}
}

// A run that was triggered after the first look-up is found behind many other reloads, even if the clock of the records is behind.
func TestOnceReadsBackToTheFirstLookUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{recordOffset: -30 * time.Second}
		time.AfterFunc(time.Second, func() {
			w.triggerForeign(worldRecord{app: "app", resourceID: onceAppID("app", 1)}, 0)
			for range 25 {
				time.Sleep(time.Millisecond)
				w.triggerForeign(worldRecord{app: "app"}, 0)
			}
		})
		if succeed(t, runOnce(t.Context(), t, w, requestsFor("app"))); len(w.own()) > 0 {
			t.Errorf("%d triggers, want none", len(w.own()))
		}
	})
}

// A rerun has the next number, even if no list shows the run before.
func TestOnceNumbersRerunsItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 50 * time.Millisecond, runFor: time.Second, unlisted: func(r *worldRecord) bool { return r.app == "unlisted" }}
		w.ends = func(r *worldRecord) reloads.Status {
			if r.app == "unlisted" && r.number == 0 {
				return reloads.StatusFailed
			}
			return reloads.StatusSucceeded
		}
		succeed(t, runOnce(t.Context(), t, w, requestsFor("app", "unlisted"), reloads.Rerun(1)))
		var got []string
		for _, r := range w.own() {
			if r.app == "unlisted" {
				got = append(got, r.resourceID)
			}
		}
		if want := []string{onceAppID("unlisted", 1), onceAppID("unlisted", 2)}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// The first reload is searched for in half a minute of successful lists, or a minute of failing ones.
func TestPaceOfListsForTheFirstReloadOfOnce(t *testing.T) {
	t.Parallel()
	var failing []float64
	for i := range 61 {
		failing = append(failing, float64(i))
	}
	var refusedFirst []float64
	for i := range 161 {
		refusedFirst = append(refusedFirst, float64(i))
	}
	refused := 0
	for name, c := range map[string]struct {
		list outcome
		want []float64 // when the lists are sent, in seconds after the trigger
	}{
		"503 for 1 s, a hundred times, then 500": {func(r *http.Request) (*http.Response, error) {
			if refused++; refused > 100 {
				return respond(500, "")(r)
			}
			return respond(503, "", "Retry-After", "1")(r)
		}, refusedFirst},
		"not listed":      {respond(200, emptyPage), []float64{0, 1, 3, 7, 15, 30}},
		"500":             {respond(500, ""), failing},
		"connection lost": {fails(errReset), failing},
		"503 for 20 s":    {respond(503, "", "Retry-After", "20"), []float64{0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220, 240, 260, 280}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{runFor: time.Hour}
				w.instead = func(r *http.Request) outcome {
					if isList(r) && strings.Contains(r.URL.RawQuery, "appId") && len(w.postTimes()) > 0 {
						return c.list
					}
					return nil
				}
				client := scriptedClient(t, w, noRetries)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				for range client.RunAll(ctx, requestsFor("app"), reloads.Once(nightly)) {
				}
				var got []float64
				all := w.sent()
				trigger := slices.IndexFunc(all, func(r worldRequest) bool { return r.method == http.MethodPost })
				for _, r := range all[trigger:] {
					if strings.Contains(r.query, "appId") {
						got = append(got, r.began.Sub(all[trigger].began).Seconds())
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("lists after %v s, want %v", got, c.want)
				}
			})
		})
	}
}

// A run fails so quickly that another process, whose list is behind, uses its number again.
func TestOnceAfterANumberWasUsedTwice(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"succeeded": time.Second, "active": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{latency: 10 * time.Millisecond}
				w.ends = func(r *worldRecord) reloads.Status {
					if !r.foreign {
						return reloads.StatusFailed
					}
					return reloads.StatusSucceeded
				}
				var other atomic.Pointer[worldRecord]
				w.everyPost.then = func() {
					time.Sleep(time.Second)
					other.Store(w.triggerForeign(worldRecord{app: "app", resourceID: onceAppID("app", 1)}, takes))
				}
				results := runOnce(t.Context(), t, w, requestsFor("app"), reloads.Rerun(3))
				succeed(t, results)
				if n := len(w.own()); n != 1 || results[0].Reload == nil || results[0].Reload.ID != other.Load().id {
					t.Errorf("%d reloads were triggered, and the result is %v, want the other process's run, %s", n, results[0].Reload, other.Load().id)
				}
			})
		})
	}
}

// Nothing is triggered after a response has shown that the service does not keep ResourceIDs, also if the trigger waits for the
// rate limit already.
func TestOnceStopsATriggerThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 50 * time.Millisecond, runFor: 10 * time.Second, omitGot: []string{"resourceId"}}
		client := scriptedClient(t, w, reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(1, time.Minute)}))
		for i, r := range results(t, 3, client.RunAll(t.Context(), requestsFor("a", "b", "c"), reloads.Once(nightly), reloads.MaxActive(2))) {
			if r.Err == nil || !strings.Contains(r.Err.Error(), "did not return the ResourceID") || (r.Reload == nil) != (i > 0) {
				t.Errorf("step %d: got %v, %v", i, r.Reload, r.Err)
			}
		}
		lookUps := 0 // of a step that is not started
		for _, r := range w.sent() {
			if strings.Contains(r.query, "appId=c") {
				lookUps++
			}
		}
		if n := len(w.postTimes()); n != 1 || lookUps != 1 {
			t.Errorf("%d triggers were sent, and %d look-ups of the last step, want one", n, lookUps)
		}
	})
}

// A batch whose context has ended waits for its look-ups, even if the transport ignores the context.
func TestNoLookUpIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := false
		w := &world{instead: func(*http.Request) outcome {
			time.Sleep(10 * time.Second)
			ended = true
			return fails(errReset)
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r := runOnce(ctx, t, w, requestsFor("app"))[0]; !errors.Is(r.Err, reloads.ErrNotStarted) || !ended {
			t.Errorf("got %v; the look-up has ended: %t", r.Err, ended)
		}
	})
}

// A process is killed right after a trigger, and started again. Its reload has finished long before it is listed.
func TestOnceWithALateList(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{listLag: 2900 * time.Millisecond, latency: 10 * time.Millisecond, runFor: 50 * time.Millisecond}
			ctx, cancel := context.WithCancel(t.Context())
			w.everyPost = postPlan{lost: lost, then: cancel}
			runOnce(ctx, t, w, requestsFor("app"))
			w.everyPost = postPlan{}
			succeed(t, runOnce(t.Context(), t, w, requestsFor("app")))
			if n := len(w.own()); n != 1 {
				t.Errorf("%d reloads were triggered, want 1", n)
			}
		})
	}
}

// The pending reload of the app belongs to another step of the batch, from an earlier process with another order.
func TestOnceWaitsForAnotherStep(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]reloads.RunOption{nil, {reloads.MaxActive(1)}, {reloads.AfterPending()}, {reloads.AttachToPending()}} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{latency: 50 * time.Millisecond, runFor: time.Minute}
			run := []int{1, 1000}[len(opts)] // the last possible one, too
			earlier := w.triggerForeign(worldRecord{app: "app", partial: true, resourceID: onceID(nightly, `{"appId":"app","partial":true}`, 0, run)}, 0)
			time.Sleep(10 * time.Second)
			results := runOnce(t.Context(), t, w, []reloads.Request{{AppID: "other"}, {AppID: "app"}, {AppID: "app", Partial: true}, {AppID: "app"}}, opts...)
			succeed(t, results)
			if results[2].Reload == nil || results[2].Reload.ID != earlier.id {
				t.Errorf("got %v, want the earlier reload %s", results[2].Reload, earlier.id)
			}
			if n, posts := len(w.own()), len(w.postTimes()); n != 3 || posts != 3 {
				t.Errorf("%d triggers made %d reloads, want 3", posts, n)
			}
		})
	}
}

// The active reload of an earlier process is not canceled, as it would be if the step had triggered it. It may be listed only
// after it has refused a trigger, and later still have a response to a GET.
func TestOnceSparesAnEarlierRun(t *testing.T) {
	t.Parallel()
	for _, lag := range []time.Duration{0, 3500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{latency: 50 * time.Millisecond, listLag: lag}
			earlier := w.triggerForeign(worldRecord{app: "app", resourceID: onceAppID("app", 1)}, time.Hour)
			w.instead = func(r *http.Request) outcome {
				if isGet(r) && time.Since(earlier.created) < 8*time.Second {
					return respond(http.StatusNotFound, "")
				}
				return nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r := runOnce(ctx, t, w, requestsFor("app"), reloads.CancelOnAbort())[0]
			if r.Reload == nil || r.Reload.ID != earlier.id || r.Runs != 1 || !errors.Is(r.Err, context.DeadlineExceeded) || !earlier.canceled.IsZero() {
				t.Errorf("listed after %v: got %v with %d runs, %v; canceled: %v", lag, r.Reload, r.Runs, r.Err, earlier.canceled)
			}
		})
	}
}

func TestOnceRefusesAResourceID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		own := reloads.Request{AppID: "refused", ResourceID: "mine"}
		results := runOnce(t.Context(), t, w, []reloads.Request{own})
		refusedBeforeSending(t, results[0].Err, "ResourceID", "mine", "Once")
		if n := len(w.sent()); n != 0 {
			t.Errorf("%d requests were sent, want none", n)
		}
		results = runOnce(t.Context(), t, w, []reloads.Request{{AppID: "app"}, own, {AppID: ""}})
		succeed(t, results[:1])
		refusedBeforeSending(t, results[1].Err, "ResourceID")
		refusedBeforeSending(t, results[2].Err, "AppID")
		for _, r := range w.sent() {
			if strings.Contains(r.query, "refused") || strings.HasSuffix(r.path, "/reloads") && r.method == http.MethodGet && !strings.Contains(r.query, "appId=app") {
				t.Errorf("%s %s?%s was sent", r.method, r.path, r.query)
			}
		}
	})
}

func TestOnceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for n := 0; n < 300; n += size(1, 7) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{latency: time.Duration(n%4) * 400 * time.Millisecond, runFor: time.Hour}
			ctx, cancel := context.WithCancel(t.Context())
			if n%2 == 0 {
				ctx, cancel = context.WithTimeout(t.Context(), time.Duration(n)*20*time.Millisecond)
			} else {
				time.AfterFunc(time.Duration(n)*20*time.Millisecond, cancel)
			}
			defer cancel()
			var opts []reloads.RunOption
			if n%3 == 0 {
				opts = append(opts, reloads.CancelOnAbort())
			}
			results := runOnce(ctx, t, w, requestsFor("a", "b", "c"), opts...)
			time.Sleep(time.Minute)
			for _, r := range results {
				w.mu.Lock()
				triggers := len(w.app(r.Request.AppID).records)
				w.mu.Unlock()
				if s := w.statuses(); len(opts) > 0 && s[reloads.StatusCanceled] != len(w.own()) {
					t.Errorf("%d: the reloads are %v, want all canceled", n, s)
				}
				if triggers == 0 && !errors.Is(r.Err, reloads.ErrNotStarted) {
					t.Errorf("%d: app %s was not triggered, but its error is %v, want one that matches ErrNotStarted", n, r.Request.AppID, r.Err)
				}
				if triggers > 0 && errors.Is(r.Err, reloads.ErrNotStarted) || !errors.Is(r.Err, ctx.Err()) {
					t.Errorf("%d: app %s has %d reloads, but its error is %v", n, r.Request.AppID, triggers, r.Err)
				}
			}
		})
	}
}

func TestOnceWithoutALookUp(t *testing.T) {
	t.Parallel()
	other := recordText("other", "another app", reloads.StatusSucceeded, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	unsorted := []string{
		recordText("1", "app", reloads.StatusSucceeded, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		recordText("2", "app", reloads.StatusSucceeded, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)),
	}
	for name, failure := range map[string]outcome{
		"403":            respond(http.StatusForbidden, `{"errors":[{"code":"RELOADS-003","title":"forbidden"}]}`),
		"500":            respond(http.StatusInternalServerError, ""),
		"reset":          fails(errReset),
		"no list":        respond(http.StatusOK, "<html>"),
		"invalid record": respond(http.StatusOK, listText(`{"id":5}`)),
		"no ID":          respond(http.StatusOK, listText(`{"appId":"app"}`)),
		"another app":    respond(http.StatusOK, listText(other)),
		"cursor loop":    respond(http.StatusOK, `{"data":[`+unsorted[1]+`],"links":{"next":{"href":"?next=2"}}}`),
		"not sorted":     respond(http.StatusOK, `{"data":[`+strings.Join(unsorted, ",")+`],"links":{"next":{"href":"?next=2"}}}`),
	} {
		for _, first := range []int{0, 1} { // the first look-up that fails
			t.Run(fmt.Sprint(name, " ", first), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &world{runFor: time.Second}
					lists := 0
					w.instead = func(r *http.Request) outcome {
						if !isList(r) {
							return nil
						}
						if lists++; lists <= first {
							return nil
						}
						return failure
					}
					r := runOnce(t.Context(), t, w, requestsFor("app"))[0]
					if r.Err == nil || r.Reload != nil || r.Runs != 0 || errors.Is(r.Err, reloads.ErrNotStarted) || errors.Is(r.Err, reloads.ErrOutcomeUnknown) {
						t.Errorf("got %v, %d runs and %v, want an error of the look-up", r.Reload, r.Runs, r.Err)
					}
					if r.Err != nil && !strings.Contains(r.Err.Error(), "looking up the earlier runs") {
						t.Errorf("the error %q does not say that the look-up failed", r.Err)
					}
					if name == "not sorted" && r.Err != nil && !strings.Contains(r.Err.Error(), "not sorted as requested") {
						t.Errorf("the error %q does not say that the list is not sorted", r.Err)
					}
					if n := len(w.postTimes()); n > 0 {
						t.Errorf("%d triggers were sent, want none", n)
					}
				})
			})
		}
	}
}

// The first look-up of a step reads the app's newest 200 reloads, a later one only what is new.
func TestPagesOfOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{runFor: time.Second}
		for range 250 {
			w.addEarlier(t, worldRecord{app: "app"})
			time.Sleep(time.Minute)
		}
		succeed(t, runOnce(t.Context(), t, w, requestsFor("app")))
		var got []string
		for _, r := range w.sent() {
			if query, _ := url.ParseQuery(r.query); query.Get("appId") != "" {
				got = append(got, query.Get("limit")+" from "+cmp.Or(query.Get("next"), "0"))
			}
		}
		if want := []string{"100 from 0", "100 from 100", "20 from 0", "20 from 0"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A look-up is retried as often as the policy says.
func TestOnceRetriesItsLookUps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		w := &world{instead: func(*http.Request) outcome {
			lists++
			return respond(500, "")
		}}
		client := scriptedClient(t, w, reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 2}))
		for r := range client.RunAll(t.Context(), requestsFor("app"), reloads.Once(nightly)) {
			if r.Err == nil || lists != 3 {
				t.Errorf("%v after %d lists, want an error after 3", r.Err, lists)
			}
		}
	})
}

// Several steps are looked up at the same time, but no more of them than the budget allows.
func TestOnceLooksUpConcurrently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		var apps []string
		for i := range 80 {
			apps = append(apps, fmt.Sprint("app", i))
		}
		began := time.Now()
		succeed(t, runOnce(t.Context(), t, w, requestsFor(apps...)))
		if first := w.postTimes()[0].Sub(began); first < 80*time.Minute/800 || first > 7*time.Second {
			t.Errorf("the first trigger was sent after %v, want 6 s for the look-ups", first)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := &world{lookUpLatency: func() time.Duration { return time.Second }}
		var apps []string
		for i := range 80 {
			apps = append(apps, fmt.Sprint("app", i))
		}
		began := time.Now()
		succeed(t, runOnce(t.Context(), t, w, requestsFor(apps...)))
		if first := w.postTimes()[0].Sub(began); first < 10*time.Second || first > 14*time.Second {
			t.Errorf("the first trigger was sent after %v, want 10 s for the look-ups, and one more before the trigger", first)
		}
	})
}

// If look-ups are slow, triggers must not bunch up.
func TestOnceKeepsTheRateLimit(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(4, 0))
	var mu sync.Mutex
	began := time.Time{}
	for name, latency := range map[string]func() time.Duration{
		"constant": func() time.Duration { return 2 * time.Second },
		"random":   func() time.Duration { return time.Duration(random.Int64N(int64(2 * time.Second))) },
		"slow or fast": func() time.Duration {
			return time.Duration(random.IntN(2)) * 2 * time.Second
		},
		"slow at first": func() time.Duration {
			if time.Since(began) < time.Minute {
				return 2 * time.Second
			}
			return 0
		},
		"slower and slower, then fast": func() time.Duration { return time.Since(began) % time.Minute / 30 },
		"just quick enough":            func() time.Duration { return time.Duration(random.IntN(2)) * 490 * time.Millisecond },
		"stalled, then fast": func() time.Duration { // all lists of a minute end at its end
			if time.Since(began) < 2*time.Minute {
				return 0
			}
			return time.Minute - time.Since(began)%time.Minute - 5*time.Second
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "random" {
				skipInShortMode(t)
			}
			synctest.Test(t, func(t *testing.T) {
				began = time.Now()
				w := &world{latency: time.Millisecond, runFor: time.Second}
				w.lookUpLatency = func() time.Duration {
					mu.Lock()
					defer mu.Unlock()
					return latency()
				}
				var reqs []reloads.Request
				for i := range size(300, 150) {
					reqs = append(reqs, reloads.Request{AppID: fmt.Sprint("app", i)})
				}
				failed := map[string]int{}
				w.instead = func(r *http.Request) outcome { // two of three lists of an app fail
					app := r.URL.Query().Get("appId")
					if !isList(r) || app == "" {
						return nil
					}
					mu.Lock()
					defer mu.Unlock()
					if failed[app]++; failed[app]%3 == 0 {
						return nil
					}
					return respond(502, "")
				}
				succeed(t, runOnce(t.Context(), t, w, reqs))
				var posts, reads []time.Duration
				for _, r := range w.sent() {
					if r.method == http.MethodPost {
						posts = append(posts, r.began.Sub(began))
					} else {
						reads = append(reads, r.began.Sub(began))
					}
				}
				if n := maxInWindow(posts, time.Minute); n > reloads.SpecialPerMinute {
					t.Errorf("%d triggers in a minute, want at most %d", n, reloads.SpecialPerMinute)
				}
				if n := maxInWindow(reads, time.Minute); n > reloads.Tier1PerMinute*8/10 {
					t.Errorf("%d reads in a minute, want at most %d", n, reloads.Tier1PerMinute*8/10)
				}
				t.Logf("%d triggers in %v, at most %d in a minute; at most %d reads in a minute", len(posts), slices.Max(posts),
					maxInWindow(posts, time.Minute), maxInWindow(reads, time.Minute))
			})
		})
	}
}

// A token that is renewed slowly and slow look-ups together do not make a trigger late. Requests are quick, except for some
// time in the second minute.
func TestOnceKeepsTheRateLimitWithASlowToken(t *testing.T) {
	t.Parallel()
	for _, batches := range []int{2, 10, 50} {
		t.Run(fmt.Sprint(batches, " batches"), func(t *testing.T) {
			if batches != 10 {
				skipInShortMode(t)
			}
			synctest.Test(t, func(t *testing.T) {
				random, began := rand.New(rand.NewPCG(uint64(batches), 1)), time.Now()
				w := &world{latency: 5 * time.Millisecond, runFor: 2 * time.Second}
				w.lookUpLatency = func() time.Duration { // the world is locked
					if d := time.Since(began); d < time.Minute || d > 80*time.Second {
						return 30 * time.Millisecond
					}
					return between(random, 240*time.Millisecond, 480*time.Millisecond)
				}
				renewed := make(chan bool, 1)
				renewed <- false
				tokens := reloads.TokenFunc(func(context.Context) (string, error) {
					done := <-renewed
					if late := time.Since(began) > 63*time.Second; late && !done {
						time.Sleep(450 * time.Millisecond)
						done = true
					}
					renewed <- done
					return "secret-token", nil
				})
				client, err := reloads.NewClient("https://tenant.example.com", tokens, reloads.WithHTTPClient(&http.Client{Transport: w}))
				if err != nil {
					t.Fatal(err)
				}
				var running sync.WaitGroup
				for b := range batches {
					var apps []string
					for i := range size(400, 150) / batches {
						apps = append(apps, fmt.Sprintf("app-%d-%d", b, i))
					}
					running.Go(func() {
						for r := range client.RunAll(t.Context(), requestsFor(apps...), reloads.Once(nightly)) {
							if r.Err != nil {
								t.Error(r.Err)
							}
						}
					})
				}
				running.Wait()
				var posts []time.Duration
				for _, at := range w.postTimes() {
					posts = append(posts, at.Sub(began))
				}
				if n := maxInWindow(posts, time.Minute); n > reloads.SpecialPerMinute {
					t.Errorf("%d triggers in a minute, want at most %d", n, reloads.SpecialPerMinute)
				}
			})
		})
	}
}

// A list from a cache does not show what another process has triggered since.
func TestOnceWithCache(t *testing.T) {
	t.Parallel()
	for _, honors := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := &cache{world: &world{latency: 100 * time.Millisecond, runFor: 3 * time.Second}, keeps: time.Minute, honors: honors, kept: map[string]cachedList{}}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			runOnce(ctx, t, c, requestsFor("app"))
			time.Sleep(10 * time.Second)
			rs := runOnce(t.Context(), t, c, requestsFor("app"))
			n, err := len(c.postTimes()), rs[0].Err
			if honors && (err != nil || n != 1) || !honors && (n > 0 || err == nil || !strings.Contains(err.Error(), "cache")) {
				t.Errorf("honors %v: got %v and %d triggers", honors, err, n)
			}
		})
	}
}

// A trigger does not rely on a look-up of long ago because a list was refused for some time.
func TestOnceLooksAgainAfterARefusedList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 50 * time.Millisecond, queueFor: time.Second, runFor: 7 * time.Second}
		var mu sync.Mutex
		posts, refused := 0, ""
		first := outcome(func(r *http.Request) (*http.Response, error) {
			app := r.URL.Query().Get("appId")
			mu.Lock()
			if isTrigger(r) {
				posts++
			}
			refuse := posts == 50 && isList(r) && app != "" && refused == ""
			if refuse { // the look-up before the trigger that has to wait for the rate limit
				refused = app
			}
			mu.Unlock()
			if refuse {
				return respond(http.StatusServiceUnavailable, "", "Retry-After", "30")(r)
			}
			return w.RoundTrip(r)
		})
		var apps []string
		for i := range 60 {
			apps = append(apps, fmt.Sprint("app", i))
		}
		var running sync.WaitGroup
		running.Go(func() { succeed(t, runOnce(t.Context(), t, first, requestsFor(apps...))) })
		running.Go(func() {
			time.Sleep(36 * time.Second)
			succeed(t, runOnce(t.Context(), t, w, requestsFor(apps...)))
		})
		running.Wait()
		if n := len(w.app(refused).records); refused == "" || n != 1 {
			t.Errorf("%q was reloaded %d times, want once", refused, n)
		}
	})
}

// Nor does it rely on a first page of long ago because the second one was refused for some time.
func TestOnceLooksAgainAfterARefusedPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 20 * time.Millisecond, runFor: 5 * time.Second}
		w.lasts = func(app string) time.Duration { return map[string]time.Duration{"first": 30 * time.Minute}[app] }
		var another sync.Once
		refusing := outcome(func(r *http.Request) (*http.Response, error) {
			answer := outcome(w.RoundTrip)
			if q := r.URL.Query(); isList(r) && q.Get("appId") == "app" && q.Get("next") != "" {
				another.Do(func() {
					go runOnce(t.Context(), t, w, requestsFor("app"))
					answer = respond(http.StatusServiceUnavailable, "", "Retry-After", "30")
				})
			}
			return answer(r)
		})
		go func() {
			time.Sleep(time.Minute)
			for range 25 { // so that the look-up before the trigger has two pages
				w.triggerForeign(worldRecord{app: "app"}, 5*time.Second)
				time.Sleep(time.Minute)
			}
		}()
		succeed(t, runOnce(t.Context(), t, refusing, requestsFor("first", "app"), reloads.MaxActive(1)))
		runs := 0
		for _, r := range w.app("app").records {
			if !r.foreign {
				runs++
			}
		}
		if runs != 1 {
			t.Errorf("the step was run %d times, want once", runs)
		}
	})
}

// A look-up that hangs delays its own step only, once the batch has begun.
func TestOnceDuringALookUpThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 10 * time.Millisecond, runFor: time.Second}
		w.instead = func(r *http.Request) outcome {
			if isList(r) && r.URL.Query().Get("appId") == "child" {
				return hangs
			}
			return nil
		}
		var plan reloads.Plan
		first := plan.Add(reloads.Request{AppID: "parent"})
		plan.Add(reloads.Request{AppID: "child"}, first)
		for i := range 150 {
			plan.Add(reloads.Request{AppID: fmt.Sprint("app", i)})
		}
		failed := 0
		for r := range scriptedClient(t, w).RunPlan(t.Context(), &plan, reloads.Once("key")) {
			if r.Err != nil {
				failed++
			}
		}
		posts := w.postTimes()
		for i := 1; i < len(posts); i++ {
			if gap := posts[i].Sub(posts[i-1]); gap > 61*time.Second {
				t.Errorf("no trigger for %v", gap)
			}
		}
		if failed != 1 || len(posts) != 151 {
			t.Errorf("%d steps failed, and %d triggers were sent, want 1 and 151", failed, len(posts))
		}
	})
}

// A record without a creation time does not make a list unsorted.
func TestOnceWithARecordWithoutCreationTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 10 * time.Millisecond, runFor: time.Second}
		for range 120 {
			w.addEarlier(t, worldRecord{app: "app"})
		}
		w.extra = `{"id":"0","appId":"app","status":"SUCCEEDED"}` // the first of every page
		succeed(t, runOnce(t.Context(), t, w, requestsFor("app")))
	})
}

// The response to the first trigger is lost, and no list contains its ResourceID. Its reload is not triggered again, even if
// the response to another trigger contained one.
func TestOnceWithLostResponseAndWithoutResourceID(t *testing.T) {
	t.Parallel()
	for _, created := range []bool{false, true} {
		t.Run(fmt.Sprint("returned by a 201 ", created), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{latency: 50 * time.Millisecond, runFor: 10 * time.Second, omitListed: []string{"resourceId"}}
				if !created {
					w.omitCreated = w.omitListed
				}
				client := scriptedClient(t, w)
				if _, err := client.Trigger(t.Context(), reloads.Request{AppID: "other", ResourceID: "run-42"}); err != nil {
					t.Fatal(err)
				}
				w.everyPost = postPlan{status: 504}
				_, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.Once(nightly))
				own := slices.DeleteFunc(w.own(), func(r *worldRecord) bool { return r.app != "app" })
				if len(own) != 1 || !errors.Is(err, reloads.ErrOutcomeUnknown) || !strings.Contains(err.Error(), own[0].id) {
					t.Errorf("%d reloads, and the error %v; want one, and ErrOutcomeUnknown that names it", len(own), err)
				}
			})
		})
	}
}

// Another call of the client, whose trigger had no effect, does not return the reload of a step.
func TestReloadOfOnceIsNotTakenByAnotherCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 50 * time.Millisecond, runFor: 2 * time.Minute}
		client := scriptedClient(t, w)
		w.calibrate(t, client)
		var other *reloads.Reload
		var err error
		var trigger sync.WaitGroup
		time.AfterFunc(3200*time.Millisecond, func() {
			trigger.Go(func() {
				ctx, _ := newCall(t.Context(), postPlan{noEffect: true, status: 502})
				other, err = client.Trigger(ctx, reloads.Request{AppID: "app"})
			})
		})
		w.lookUpLatency = func() time.Duration { return 300 * time.Millisecond } // the step is triggered at 3.6 s
		w.everyPost = postPlan{status: 504}
		r, runErr := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.Once("key"))
		trigger.Wait()
		if runErr != nil || other != nil && other.ID == r.ID {
			t.Errorf("the run returned %v and %v, the trigger %v and %v", r, runErr, other, err)
		}
	})
}

// Another call of the client, whose trigger had no effect, does not return the reload of another process that a step waits for.
func TestReloadThatOnceHasFoundIsNotTakenByAnotherCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 50 * time.Millisecond, runFor: 2 * time.Minute}
		client := scriptedClient(t, w)
		w.calibrate(t, client)
		var other *reloads.Reload
		var err error
		var trigger sync.WaitGroup
		trigger.Go(func() {
			ctx, _ := newCall(t.Context(), postPlan{noEffect: true, hold: 5 * time.Second, status: 502})
			other, err = client.Trigger(ctx, reloads.Request{AppID: "app"})
		})
		time.Sleep(time.Second)
		found := w.triggerForeign(worldRecord{app: "app", resourceID: onceAppID("app", 1)}, 0)
		r, runErr := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.Once(nightly))
		trigger.Wait()
		if runErr != nil || r.ID != found.id || other != nil && other.ID == r.ID {
			t.Errorf("the run returned %v and %v, the trigger %v and %v", r, runErr, other, err)
		}
	})
}

// The reloads that an earlier process has left count for MaxActive before anything is triggered.
func TestOnceFindsActiveReloadsBeforeItTriggers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 200 * time.Millisecond, runFor: time.Minute}
		active := w.triggerForeign(worldRecord{app: "z", resourceID: onceAppID("z", 1)}, 10*time.Minute)
		time.Sleep(time.Minute)
		succeed(t, runOnce(t.Context(), t, w, requestsFor("a", "b", "c", "d", "e", "f", "g", "h", "i", "z"), reloads.MaxActive(1)))
		for _, r := range w.own() {
			if r.created.Before(active.ended) {
				t.Errorf("the reload of %s was triggered %v before the end of the one that was left", r.app, active.ended.Sub(r.created))
			}
		}
	})
}

// A service that does not keep ResourceIDs ends a batch whose reload has failed, too.
func TestOnceDoesNotRerunWithoutResourceID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 50 * time.Millisecond, runFor: time.Second, omitCreated: []string{"resourceId"}, ends: failing(reloads.StatusFailed, "app")}
		results := runOnce(t.Context(), t, w, requestsFor("app", "other"), reloads.Rerun(3))
		if n := len(w.own()); n != 1 || !errors.Is(results[0].Err, reloads.ErrReloadFailed) || !strings.Contains(results[0].Err.Error(), "did not return the ResourceID") || results[1].Err == nil || results[1].Reload != nil {
			t.Errorf("%d reloads, and the errors %v and %v", n, results[0].Err, results[1].Err)
		}
	})
}

// A run of another process that fails between the first look-up and the trigger uses up its number.
func TestOnceAfterARunBetweenLookUpAndTrigger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 10 * time.Millisecond, runFor: time.Second, ends: func(r *worldRecord) reloads.Status {
			if r.foreign {
				return reloads.StatusFailed
			}
			return reloads.StatusSucceeded
		}}
		time.AfterFunc(time.Second, func() {
			w.triggerForeign(worldRecord{app: "app", resourceID: onceAppID("app", 1)}, time.Second)
		})
		succeed(t, runOnce(t.Context(), t, w, requestsFor("app")))
		if own := w.own(); len(own) != 1 || own[0].resourceID != onceAppID("app", 2) {
			t.Errorf("%d triggers, the first one with the ResourceID %s, want that of run 2", len(own), own[0].resourceID)
		}
	})
}

// A pending reload that does not belong to the key is a refusal, unless AfterPending or AttachToPending is given.
// The other process succeeded, so nothing is triggered, and the step has no run of its own.
func TestOnceAfterASuccessBetweenLookUpAndTrigger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 10 * time.Millisecond}
		time.AfterFunc(time.Second, func() {
			w.triggerForeign(worldRecord{app: "app", resourceID: onceAppID("app", 1)}, time.Second)
		})
		results := runOnce(t.Context(), t, w, requestsFor("app"))
		succeed(t, results)
		if n := len(w.own()); n != 0 || results[0].Runs != 0 {
			t.Errorf("%d triggers and %d runs, want none", n, results[0].Runs)
		}
	})
}

// The app has a pending reload, and the list that would show it fails.
func TestOnceWithPendingReloadThatCannotBeListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scriptedService{trigger: func(int, string) (int, string) {
			return http.StatusTooManyRequests, testdata(t, "error_429_pending.json")
		}}
		s.list = func(*http.Request) (int, string) {
			if s.triggers > 0 {
				return http.StatusForbidden, ""
			}
			return http.StatusOK, emptyPage
		}
		rs := runOnce(t.Context(), t, s, requestsFor("app"))
		if !errors.Is(rs[0].Err, reloads.ErrReloadPending) || !errors.Is(rs[0].Err, reloads.ErrForbidden) || s.triggers != 1 {
			t.Errorf("got %v after %d triggers", rs[0].Err, s.triggers)
		}
	})
}

func TestOnceWithForeignPendingReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 10 * time.Millisecond, runFor: time.Second}
		foreign := w.triggerForeign(worldRecord{app: "app"}, time.Hour)
		if rs := runOnce(t.Context(), t, w, requestsFor("app")); !errors.Is(rs[0].Err, reloads.ErrReloadPending) || rs[0].Reload != nil {
			t.Errorf("got %v, %v, want ErrReloadPending", rs[0].Reload, rs[0].Err)
		}
		if rs := runOnce(t.Context(), t, w, requestsFor("app"), reloads.AttachToPending()); rs[0].Err != nil || rs[0].Reload.ID != foreign.id {
			t.Errorf("got %v, %v, want the pending reload", rs[0].Reload, rs[0].Err)
		}
	})
}

// If a list is not sorted, earlier runs may be on any page.
func TestOnceWithAnUnsortedList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 10 * time.Millisecond}
		for range 120 {
			w.addEarlier(t, worldRecord{app: "app"})
		}
		w.extra = `{"id":"0","appId":"app","status":"SUCCEEDED","creationTime":"1999-01-01T00:00:00Z"}` // the first of every page
		if rs := runOnce(t.Context(), t, w, requestsFor("app")); rs[0].Err == nil || len(w.own()) > 0 {
			t.Errorf("got %v and %d triggers, want an error and none", rs[0].Err, len(w.own()))
		}
	})
}

// Slow look-ups and a slow rate limit do not hold up a step for ever.
func TestOnceWithSlowLookUpsAndASlowRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 10 * time.Millisecond, runFor: time.Second, lookUpLatency: func() time.Duration { return 2 * time.Second }}
		client := scriptedClient(t, w, reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(1, 20*time.Second)}))
		began := time.Now()
		checkOutcomes(t, results(t, 3, client.RunAll(t.Context(), requestsFor("a", "b", "c"), reloads.Once("key"))),
			"SUCCEEDED, 1 runs", "SUCCEEDED, 1 runs", "SUCCEEDED, 1 runs")
		if d := time.Since(began); d > 10*time.Minute {
			t.Errorf("the batch took %v", d)
		}
	})
}

// A client that has seen how a run ended does not trigger another one because a list is behind. If the run failed, it does.
func TestOnceTwiceOnOneClientWithAListThatIsBehind(t *testing.T) {
	t.Parallel()
	for _, failed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{latency: 50 * time.Millisecond, runFor: 20 * time.Second, behind: func(*worldRecord) time.Duration { return 10 * time.Second }}
			if failed {
				w.ends = func(r *worldRecord) reloads.Status {
					if r.number == 0 {
						return reloads.StatusFailed
					}
					return reloads.StatusSucceeded
				}
			}
			client := scriptedClient(t, w)
			first, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.Once(nightly))
			if failed != errors.Is(err, reloads.ErrReloadFailed) || !failed && err != nil {
				t.Fatal(err)
			}
			second, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.Once(nightly))
			if err != nil || (second.ID == first.ID) == failed {
				t.Errorf("got %v and %v after %v", second, err, first)
			}
		})
	}
}

// The reload that refuses a trigger is not one that ended before it, also if the list is behind. It is the next one, which
// is not listed yet.
func TestOnceDoesNotTakeAFinishedReloadForThePendingOne(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]reloads.RunOption{{reloads.AttachToPending()}, {reloads.AfterPending()}, nil} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{latency: 50 * time.Millisecond, listLag: time.Second, behind: func(*worldRecord) time.Duration { return 2 * time.Second }}
			finished := w.triggerForeign(worldRecord{app: "app"}, 2500*time.Millisecond)
			var pending atomic.Pointer[worldRecord]
			time.AfterFunc(2700*time.Millisecond, func() { pending.Store(w.triggerForeign(worldRecord{app: "app"}, 3*time.Second)) })
			r := runOnce(t.Context(), t, w, requestsFor("app"), opts...)[0]
			switch next := pending.Load(); {
			case len(opts) == 0 && (!errors.Is(r.Err, reloads.ErrReloadPending) || time.Since(next.created) < w.listLag):
				t.Errorf("got %v after %v, want ErrReloadPending when the pending reload is listed", r.Err, time.Since(next.created))
			case len(opts) > 0 && (r.Err != nil || r.Reload.ID == finished.id || time.Now().Before(next.ended)):
				t.Errorf("got %v, %v, %v before the end of the pending reload", r.Reload, r.Err, time.Until(next.ended))
			}
		})
	}
}

// The Retry-After of a list is the wait before the next one. A refusal says nothing about the ResourceID.
func TestOnceHonorsRetryAfterOfItsLists(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		for _, after := range []bool{false, true} { // the first trigger
			for _, seconds := range []int{60, 200} {
				t.Run(fmt.Sprint(status, after, seconds), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := &world{latency: 50 * time.Millisecond, runFor: time.Second}
						var mu sync.Mutex
						var until time.Time
						refused := 0
						w.instead = func(r *http.Request) outcome {
							if isTrigger(r) || after && len(w.postTimes()) == 0 {
								return nil
							}
							mu.Lock()
							defer mu.Unlock()
							if until.IsZero() {
								until = time.Now().Add(time.Duration(seconds) * time.Second)
							}
							left := time.Until(until)
							if left <= 0 {
								return nil
							}
							refused++
							return respond(status, "", "Retry-After", fmt.Sprint(int(left.Seconds())+1))
						}
						succeed(t, runOnce(t.Context(), t, w, requestsFor("a", "b", "c")))
						if refused > 6 {
							t.Errorf("%d requests were refused, want at most 6", refused)
						}
					})
				})
			}
		}
	}
}

// A Retry-After that is too long ends a look-up at once.
func TestOnceDoesNotWaitForALongRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{instead: func(*http.Request) outcome {
			return respond(http.StatusServiceUnavailable, "", "Retry-After", "600")
		}}
		r := runOnce(t.Context(), t, w, requestsFor("app"))[0]
		if e := asError(t, r.Err); e.RetryAfter != 10*time.Minute || len(w.sent()) != 1 {
			t.Errorf("got %v after %d requests, want the first response", r.Err, len(w.sent()))
		}
	})
}

// The outcome of a trigger is unknown. Before its retry, a look-up shows that it took effect late, and that its reload FAILED.
// Without Rerun, no other run is triggered.
func TestOnceDoesNotRerunATriggerThatTookEffectLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var late atomic.Pointer[worldRecord]
		triggers := 0
		w := &world{latency: 10 * time.Millisecond, ends: func(*worldRecord) reloads.Status { return reloads.StatusFailed }}
		w.instead = func(r *http.Request) outcome {
			if !isTrigger(r) {
				return nil
			}
			if triggers++; triggers > 1 {
				return nil
			}
			time.AfterFunc(40*time.Second, func() {
				late.Store(w.triggerForeign(worldRecord{app: "app", resourceID: onceAppID("app", 1)}, 0))
			})
			return fails(errReset)
		}
		client := scriptedClient(t, w, reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(1, time.Minute)}))
		r, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.Once(nightly))
		if r != nil || triggers != 1 || !errors.Is(err, reloads.ErrOutcomeUnknown) || !errors.Is(err, errReset) || !strings.Contains(err.Error(), "reload "+late.Load().id+" is a run of the step;") {
			t.Errorf("got %v, %v after %d triggers, want ErrOutcomeUnknown that names the reload, after 1", r, err, triggers)
		}
	})
}

// Lists may spell IDs differently.
func TestOnceWithIDsInUpperCase(t *testing.T) {
	t.Parallel()
	id := regexp.MustCompile(`"id":"[^"]*"`)
	w := &world{runFor: time.Minute, latency: 20 * time.Millisecond}
	wire := outcome(func(r *http.Request) (*http.Response, error) {
		resp, err := w.RoundTrip(r)
		if err == nil && isList(r) {
			body, _ := io.ReadAll(resp.Body)
			text := id.ReplaceAllStringFunc(string(body), func(s string) string { return `"id":` + strings.ToUpper(s[len(`"id":`):]) })
			resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		}
		return resp, err
	})
	synctest.Test(t, func(t *testing.T) {
		for result := range scriptedClient(t, wire).RunAll(t.Context(), []reloads.Request{{AppID: "a"}, {AppID: "b"}}, reloads.Once("night")) {
			if result.Err != nil {
				t.Errorf("%s: %v", result.Request.AppID, result.Err)
			}
		}
	})
}

// A run that another process triggered during a slow first look-up is found, although many other reloads came after it, also if
// the clock of the records is unknown.
func TestOnceWithSlowFirstLookUp(t *testing.T) {
	t.Parallel()
	for _, w := range []*world{{}, {noDate: true, recordOffset: -3 * time.Minute}} {
		testOnceWithSlowFirstLookUp(t, w)
	}
}

func testOnceWithSlowFirstLookUp(t *testing.T, w *world) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.runFor, w.latency = 10*time.Second, 20*time.Millisecond
		for range 150 {
			w.addEarlier(t, worldRecord{app: "app"})
			time.Sleep(time.Minute)
		}
		refused := false
		slow := outcome(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Has("next") && !refused {
				refused = true
				return respond(http.StatusServiceUnavailable, "", "Retry-After", "290")(r)
			}
			return w.RoundTrip(r)
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			succeed(t, runOnce(t.Context(), t, slow, requestsFor("app")))
		}()
		time.Sleep(time.Second)
		succeed(t, runOnce(t.Context(), t, w, requestsFor("app")))
		for range 22 {
			w.addEarlier(t, worldRecord{app: "app"})
		}
		<-done
		if n := len(w.own()); n != 1 || !refused {
			t.Errorf("%d reloads were made, want 1", n)
		}
	})
}

// A step is run once if short pages grow while they are read, if they are not sorted, and if they repeat each other without end.
// If they are sorted, the look-ups after the first one read only what is new.
func TestOnceWithShortPages(t *testing.T) {
	t.Parallel()
	for _, c := range []string{"single", "grows", "ascends", "repeats"} {
		t.Run(c, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{runFor: time.Second, latency: 20 * time.Millisecond}
				for range 30 {
					w.addEarlier(t, worldRecord{app: "app"})
					time.Sleep(time.Hour)
				}
				lists := 0
				wire := outcome(func(r *http.Request) (*http.Response, error) {
					query := r.URL.Query()
					if !isList(r) || query.Get("appId") == "" {
						return w.RoundTrip(r)
					}
					lists++
					query.Set("limit", "2")
					switch {
					case c == "single":
						query.Set("limit", "1")
					case c == "ascends":
						query.Set("limit", "1")
						query.Set("sort", "+creationTime")
					case c == "grows" && query.Get("next") == "2":
						for range 4 {
							w.addEarlier(t, worldRecord{app: "app"})
						}
					case c == "repeats":
						query.Del("next")
					}
					r = r.Clone(r.Context())
					r.URL.RawQuery = query.Encode()
					resp, err := w.RoundTrip(r)
					if err == nil && c == "repeats" {
						body, _ := io.ReadAll(resp.Body)
						text := strings.Replace(string(body), "next=2", fmt.Sprint("next=", lists), 1)
						resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
					}
					return resp, err
				})
				for range 2 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					if results := runOnce(ctx, t, wire, requestsFor("app"), reloads.AfterPending()); c != "ascends" { // then, Once refuses
						succeed(t, results)
					}
				}
				if n := len(w.own()); n != 1 || lists > 1000 || c == "single" && lists > 75 {
					t.Errorf("%d reloads were made after %d lists, want 1", n, lists)
				}
			})
		})
	}
}
