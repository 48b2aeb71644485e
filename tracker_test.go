package reloads_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// With the longest interval, a list that fails is retried once a minute.
func TestLongestPollInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/reloads") {
				lists++
				return respond(500, "")(r)
			}
			return respond(200, fmt.Sprintf(`{"id":%q,"status":"RELOADING"}`, path.Base(r.URL.Path)))(r)
		}), reloads.WithPolling(reloads.PollPolicy{MinInterval: math.MaxInt64, MaxInterval: math.MaxInt64}))
		rs := make([]*reloads.Reload, 10)
		for i := range rs {
			rs[i] = &reloads.Reload{ID: fmt.Sprint("r", i)}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		for range client.WaitAll(ctx, rs) {
			continue
		}
		if lists < 1 || lists > 11 {
			t.Errorf("%d lists in 10 minutes, want one a minute", lists)
		}
	})
}

func TestWaitAllOfTenThousand(t *testing.T) {
	skipInShortMode(t)
	synctest.Test(t, func(t *testing.T) {
		tenant, rs := manyActive(t, 10_000, 30*time.Minute)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		peak, goroutines := uint64(0), countGoroutines()
		var lags []time.Duration
		client := tenant.NewClient(defaultPolling)
		for r := range client.WaitAll(t.Context(), rs) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			lags = append(lags, time.Since(r.Reload.EndTime))
			if n := countGoroutines() - goroutines; n > 20 {
				t.Fatalf("%d goroutines are running, want at most 20", n)
			}
			if len(lags)%1000 == 500 {
				recorded := uint64(len(tenant.Requests())) * 200 // the memory that the tenant needs to record them
				runtime.GC()
				runtime.ReadMemStats(&after)
				peak = max(peak, after.HeapAlloc-min(after.HeapAlloc, before.HeapAlloc+recorded))
			}
		}
		if len(lags) != len(rs) {
			t.Errorf("%d results for %d reloads", len(lags), len(rs))
		}
		n := maxRequestsPerMinute(tenant, reloadstest.Get, reloadstest.List)
		p95, p99, worst := percentile(lags, 95), percentile(lags, 99), percentile(lags, 100)
		t.Logf("lag %v (95 %%), %v (99 %%), %v (all); at most %d requests per minute; heap grew by %d MiB", p95, p99, worst, n, peak>>20)
		if p95 > 15*time.Second || p99 > 30*time.Second || n > reloads.Tier1PerMinute || peak > 64<<20 || countRateLimited(tenant) > 0 {
			t.Error("want 15s (95 %), 30s (99 %), at most 1000 requests per minute, less than 64 MiB and no 429")
		}
	})
}

// countGoroutines returns the smallest of several counts. A single count can be too large by 32, while the runtime moves
// its list of ended goroutines from one processor to the global list.
func countGoroutines() int {
	least := runtime.NumGoroutine()
	for range 9 {
		runtime.Gosched()
		least = min(least, runtime.NumGoroutine())
	}
	return least
}

// manyActive returns a tenant with n active reloads that end at random times within the given duration.
func manyActive(t *testing.T, n int, within time.Duration, opts ...reloadstest.Option) (*reloadstest.Tenant, []*reloads.Reload) {
	t.Helper()
	random := rand.New(rand.NewPCG(5, 0))
	tenant := reloadstest.NewTenant(opts...)
	var rs []*reloads.Reload
	for i := range n {
		app := fmt.Sprint("app", i)
		tenant.AddApp(app, reloadstest.App{RunFor: time.Minute + time.Duration(random.Int64N(int64(within-time.Minute)))})
		r, ok := tenant.Trigger(app, reloads.Reload{})
		if !ok {
			t.Fatal(app)
		}
		rs = append(rs, &r)
	}
	return tenant, rs
}

func TestWaitAllWithoutListPermission(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]int{"400": http.StatusBadRequest, "403": http.StatusForbidden} {
		t.Run(name, func(t *testing.T) {
			if name != "403" {
				skipInShortMode(t)
			}
			synctest.Test(t, func(t *testing.T) {
				waiting, most := size(2000, 200), time.Duration(size(30, 5))*time.Minute
				tenant, rs := manyActive(t, waiting, most)
				tenant.Inject(reloadstest.Fault{Operation: reloadstest.List, Status: role, Times: -1})
				var lags []time.Duration
				for r := range tenant.NewClient(defaultPolling).WaitAll(t.Context(), rs) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
					lags = append(lags, time.Since(r.Reload.EndTime))
				}
				n := maxRequestsPerMinute(tenant, reloadstest.Get, reloadstest.List)
				worst := percentile(lags, 100)
				t.Logf("lag %v (95 %%), %v (all); at most %d requests per minute, %d lists", percentile(lags, 95), worst, n, countRequests(tenant, reloadstest.List))
				// With 2000 reloads and 800 polls per minute, each reload is polled every 150 s.
				if want := time.Duration(waiting)*time.Minute/800 + 15*time.Second; n > 800 || worst > want {
					t.Errorf("want at most 800 requests per minute and a lag of at most %v", want)
				}
			})
		})
	}
}

func TestWaitAllOfFinishedUnknownAndDuplicateReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Minute})
		client := tenant.NewClient()
		active, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		finished := tenant.AddReload(reloads.Reload{AppID: "app", Status: reloads.StatusFailed})
		unknown := &reloads.Reload{ID: "unknown", AppID: "app"}
		got := map[string]int{}
		for r := range client.WaitAll(t.Context(), []*reloads.Reload{active, &finished, unknown, active, nil, {}}) {
			kind := "none"
			for name, err := range map[string]error{"failed": reloads.ErrReloadFailed, "unknown": reloads.ErrNotFound, "bad": reloads.ErrBadRequest} {
				if errors.Is(r.Err, err) {
					kind = name
				}
			}
			if r.Err == nil && r.Reload.Status == reloads.StatusSucceeded {
				kind = "succeeded"
			}
			got[kind]++
		}
		if want := map[string]int{"succeeded": 2, "failed": 1, "unknown": 1, "bad": 2}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// WaitAll copies its argument.
func TestArgumentOfWaitAllIsCopied(t *testing.T) {
	t.Parallel()
	inBubble(t, &world{}, func(t *testing.T, client *reloads.Client) {
		rs := []*reloads.Reload{{ID: "1", Status: reloads.StatusSucceeded}}
		all := client.WaitAll(t.Context(), rs)
		rs[0] = nil
		for r := range all {
			if r.Err != nil || r.Reload == nil || r.Reload.ID != "1" {
				t.Errorf("got %v, %v", r.Reload, r.Err)
			}
		}
	})
}

// batchOf runs the reloads of n apps in the world, of which each takes up to ten minutes, and returns how late their ends
// were seen. Every reload must have one result, and must have succeeded.
func batchOf(t *testing.T, w *world, client *reloads.Client, batch string, n int, opts ...reloads.RunOption) (lags []time.Duration) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(n), 8))
	lasts := map[string]time.Duration{}
	var apps []string
	for i := range n {
		apps = append(apps, fmt.Sprint("app", i))
		lasts[apps[i]] = 20*time.Second + time.Duration(random.Int64N(int64(time.Duration(size(10, 3))*time.Minute)))
	}
	w.latency, w.lasts = 20*time.Millisecond, func(app string) time.Duration { return lasts[app] }
	results := client.RunAll(t.Context(), requestsFor(apps...), opts...)
	if batch == "WaitAll" {
		results = client.WaitAll(t.Context(), w.foreignReloads(apps), opts...)
	}
	seen := map[string]int{}
	for r := range results {
		if r.Err != nil || r.Reload == nil || r.Reload.Status != reloads.StatusSucceeded {
			t.Errorf("%s: got %v with %v, want a reload that succeeded", r.Request.AppID, r.Reload, r.Err)
			continue
		}
		seen[r.Request.AppID]++
		lags = append(lags, time.Since(w.end(r.Reload.ID)))
	}
	for _, app := range apps {
		if seen[app] != 1 {
			t.Errorf("%s has %d results, want 1", app, seen[app])
		}
	}
	return lags
}

// foreignReloads makes a reload of each app, as somebody else.
func (w *world) foreignReloads(apps []string) (rs []*reloads.Reload) {
	for _, app := range apps {
		record := w.triggerForeign(worldRecord{app: app}, 0)
		rs = append(rs, &reloads.Reload{ID: record.id, AppID: app, Status: reloads.StatusQueued, CreationTime: record.created})
	}
	return rs
}

// end returns when a reload ended.
func (w *world) end(id string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byID[id].ended
}

// ignoreChanges makes a batch list what has started, too.
var ignoreChanges = reloads.OnChange(func(reloads.Request, *reloads.Reload) {})

// However the list fails, the reloads of a batch are polled singly, and none is lost.
func TestBatchWithFailingList(t *testing.T) {
	t.Parallel()
	failure := func(status int, headers ...string) outcome {
		return respond(status, fmt.Sprintf(`{"errors":[{"code":"HTTP-%d","title":"no list today"}]}`, status), headers...)
	}
	for name, c := range map[string]struct {
		list  outcome
		extra string
		lag   time.Duration // 0 means that of single polls
	}{
		"400":                    {list: failure(400)},
		"401":                    {list: failure(401)},
		"403":                    {list: failure(403)},
		"404":                    {list: failure(404)},
		"405":                    {list: failure(405)},
		"409":                    {list: failure(409)},
		"422":                    {list: failure(422)},
		"429":                    {list: failure(429)},
		"429 for 30 s":           {list: failure(429, "Retry-After", "30"), lag: 65 * time.Second}, // all reads wait, twice
		"500":                    {list: failure(500)},
		"501":                    {list: failure(501)},
		"503 for 30 s":           {list: failure(503, "Retry-After", "30")},
		"redirect":               {list: respond(302, "", "Location", "https://login.example.com/")},
		"sign-in page":           {list: respond(200, "<html>Sign in</html>", "Content-Type", "text/html")},
		"cut page":               {list: respond(200, `{"data":[{"id":"fore`)},
		"page without data":      {list: respond(200, `{"data":null}`)},
		"always empty":           {list: respond(200, emptyPage), lag: 30 * time.Second},
		"always the same record": {list: respond(200, pageJSON("{}", "foreign")), lag: 30 * time.Second},
		"cursor loop":            {list: respond(200, pageJSON(`{"next":{"href":"?next=1"}}`, "foreign"))},
		"endless":                {list: endless, lag: 30 * time.Second},
		"connection lost":        {list: fails(errReset)},
		"no response":            {list: hangs, lag: 30 * time.Second},
		"record of another kind": {extra: `{"id":"odd-1","status":{"of":"another kind"},"endTime":17}`},
		"record is a number":     {extra: `17`},
		"record without an id":   {extra: `{"status":"FAILED"}`},
	} {
		for batch, n := range map[string]int{"RunAll": 6, "WaitAll": 20} {
			for _, from := range []time.Duration{0, 90 * time.Second} {
				t.Run(fmt.Sprintf("%s, %s, from %v", name, batch, from), func(t *testing.T) {
					sample(t, 10)
					synctest.Test(t, func(t *testing.T) {
						began := time.Now()
						w := &world{extra: c.extra, instead: func(r *http.Request) outcome {
							if isList(r) && time.Since(began) >= from {
								return c.list
							}
							return nil
						}}
						lags := batchOf(t, w, scriptedClient(t, w), batch, n, ignoreChanges)
						worst, want := percentile(lags, 100), cmp.Or(c.lag, 17*time.Second)
						t.Logf("the ends were seen within %v", worst)
						if worst > want {
							t.Errorf("the ends were seen within %v, want at most %v", worst, want)
						}
					})
				})
			}
		}
	}
}

// A record that cannot be decoded does not hide the others of its page. The log names it, but not in every pass.
func TestBatchSkipsInvalidRecordOfList(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{
		"status of another kind": `{"id":"odd-1","status":{"of":"another kind"}}`,
		"time of another kind":   `{"id":"odd-1","status":"FAILED","endTime":17}`,
		"ID of another name":     `{"ID":"odd-1","status":"FAILED"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logBuffer
				w := &world{extra: extra, runFor: 2 * time.Minute, instead: func(r *http.Request) outcome {
					if isGet(r) { // only the list shows the ends
						return respond(500, "")
					}
					return nil
				}}
				var ends []time.Duration
				began := time.Now()
				client := scriptedClient(t, w, log.option(slog.LevelWarn))
				for r := range client.WaitAll(t.Context(), w.foreignReloads([]string{"a", "b", "c", "d", "e", "f"})) {
					if r.Err != nil || r.Reload.Status != reloads.StatusSucceeded {
						t.Errorf("got %v with %v, want a reload that succeeded", r.Reload, r.Err)
					}
					ends = append(ends, time.Since(began))
				}
				if worst := percentile(ends, 100); len(ends) != 6 || worst > 2*time.Minute+5*time.Second {
					t.Errorf("%d results, the last after %v, want 6 within 2m5s", len(ends), worst)
				}
				if n := strings.Count(log.String(), "odd-1"); n < 1 || n > 2 {
					t.Errorf("the log names the record %d times, want once", n)
				}
			})
		})
	}
}

// A list that shows something else than it was asked for, or shows it late, hides no end.
func TestBatchWithInaccurateList(t *testing.T) {
	t.Parallel()
	share := func(percent int) func(*worldRecord) bool { // of the records; the IDs are random
		return func(r *worldRecord) bool {
			n, _ := strconv.ParseUint(r.id[:4], 16, 64)
			return int(n%100) < percent
		}
	}
	someLater := func(d time.Duration) func(*worldRecord) time.Duration {
		late := share(30)
		return func(r *worldRecord) time.Duration {
			if late(r) {
				return d
			}
			return 0
		}
	}
	constant := func(d time.Duration) func(*worldRecord) time.Duration {
		return func(*worldRecord) time.Duration { return d }
	}
	// The lag of 90 % of the ends: if the feed sees them, if single polls do, and if the list is late. The last three reloads are polled singly.
	const feed, polls, late, net = 3 * time.Second, 16 * time.Second, 14 * time.Second, 40 * time.Second
	for name, c := range map[string]struct {
		world func() *world
		lag   time.Duration
	}{
		"accurate":                        {func() *world { return &world{} }, feed},
		"filter ignored":                  {func() *world { return &world{ignoreFilter: true} }, feed},
		"filter ignored, active first":    {func() *world { return &world{ignoreFilter: true, nullsFirst: true} }, polls},
		"sort ignored":                    {func() *world { return &world{ignoreSort: true} }, 15 * time.Second},
		"filter and sort ignored":         {func() *world { return &world{ignoreFilter: true, ignoreSort: true} }, 15 * time.Second},
		"no endTime":                      {func() *world { return &world{omitListed: []string{"endTime"}} }, polls},
		"no endTime, filter ignored":      {func() *world { return &world{omitListed: []string{"endTime"}, ignoreFilter: true} }, polls},
		"a tenth is never listed":         {func() *world { return &world{unlisted: share(10)} }, polls},
		"all are listed after 10 s":       {func() *world { return &world{listLag: 10 * time.Second, behind: constant(10 * time.Second)} }, late},
		"some are listed after 10 s":      {func() *world { return &world{behind: someLater(10 * time.Second)} }, late},
		"all are late, filter ignored":    {func() *world { return &world{ignoreFilter: true, nullsFirst: true, behind: constant(10 * time.Second)} }, late},
		"some are listed after 60 s":      {func() *world { return &world{behind: someLater(time.Minute)} }, net},
		"some end in the future":          {func() *world { return &world{endOffset: someLater(70 * 365 * 24 * time.Hour)} }, feed},
		"all end 2 s in the future":       {func() *world { return &world{endOffset: constant(2 * time.Second)} }, feed},
		"some end an hour in the past":    {func() *world { return &world{endOffset: someLater(-time.Hour)} }, net},
		"record clock 5 minutes ahead":    {func() *world { return &world{recordOffset: 5 * time.Minute} }, feed},
		"record clock 5 minutes behind":   {func() *world { return &world{recordOffset: -5 * time.Minute} }, feed},
		"server clock a day behind":       {func() *world { return &world{dateOffset: -24 * time.Hour} }, feed},
		"server clock a day ahead":        {func() *world { return &world{dateOffset: 24 * time.Hour} }, feed},
		"no Date, clock a day ahead":      {func() *world { return &world{dateOffset: 24 * time.Hour, noDate: true} }, feed},
		"creation times in whole seconds": {func() *world { return &world{precision: time.Second} }, feed},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "accurate" && name != "a tenth is never listed" && name != "some are listed after 10 s" {
				skipInShortMode(t)
			}
			synctest.Test(t, func(t *testing.T) {
				w := c.world()
				w.queueFor = 35 * time.Second // the first single polls see the start before a late list does
				random := rand.New(rand.NewPCG(1, 9))
				for i := range 100 { // half of the others have finished
					w.triggerForeign(worldRecord{app: fmt.Sprint("other", i)}, time.Duration(random.Int64N(int64(2*time.Hour))))
				}
				time.Sleep(time.Hour)
				changes := map[string][]reloads.Status{}
				lags := batchOf(t, w, scriptedClient(t, w), "WaitAll", 40, reloads.OnChange(func(req reloads.Request, r *reloads.Reload) {
					changes[req.AppID] = append(changes[req.AppID], r.Status)
				}))
				p90, worst := percentile(lags, 90), percentile(lags, 100)
				t.Logf("the ends were seen within %v (90 %%), %v (all)", p90, worst)
				if p90 > c.lag || worst > net+15*time.Second {
					t.Errorf("want %v (90 %%), %v (all)", c.lag, net+15*time.Second)
				}
				for app, statuses := range changes {
					all := []reloads.Status{reloads.StatusQueued, reloads.StatusReloading, reloads.StatusSucceeded}
					order := func(a, b reloads.Status) int { return slices.Index(all, a) - slices.Index(all, b) }
					if len(statuses) > len(all) || !slices.IsSortedFunc(statuses, order) {
						t.Errorf("%s: OnChange saw %v", app, statuses)
					}
				}
			})
		})
	}
}

// A poll in flight, whose end the feed sees before the response arrives, is not an end that the feed missed.
func TestEndDuringASlowPollIsNotMissed(t *testing.T) {
	t.Parallel()
	for range 3 { // which reload is polled at the end of the others is random
		synctest.Test(t, func(t *testing.T) {
			w := &world{lasts: func(app string) time.Duration {
				if app < "app5" {
					return 40 * time.Minute
				}
				return 2*time.Minute + 30*time.Second
			}}
			w.instead = func(r *http.Request) outcome {
				if !isGet(r) {
					return nil
				}
				return func(r *http.Request) (*http.Response, error) {
					id := strings.TrimPrefix(r.URL.Path, "/api/v1/reloads/")
					return w.exchange(r, "", 0, 5*time.Second, func() (*http.Response, error) { return w.get(r, id) })
				}
			}
			var apps []string
			for i := range 5 {
				apps = append(apps, fmt.Sprint("app", i))
			}
			for i := range 200 {
				apps = append(apps, fmt.Sprint("app5-", i))
			}
			for r := range scriptedClient(t, w, rarely).WaitAll(t.Context(), w.foreignReloads(apps)) {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}
			polls := 0
			for _, r := range w.sent() {
				if r.path != "/api/v1/reloads" {
					polls++
				}
			}
			if polls > 45 {
				t.Errorf("%d reloads were polled singly, want one a minute", polls)
			}
		})
	}
}

// A rate limit that only lists reach does not use up the time of the single polls.
func TestBatchOfManyWithRateLimitedList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{instead: func(r *http.Request) outcome {
			if isList(r) {
				return respond(429, `{"errors":[{"code":"HTTP-429","title":"too many requests"}]}`, "Retry-After", "60")
			}
			return nil
		}}
		lags := batchOf(t, w, scriptedClient(t, w), "WaitAll", size(500, 100), ignoreChanges)
		p95, worst := percentile(lags, 95), percentile(lags, 100)
		t.Logf("the ends were seen within %v (95 %%), %v (all)", p95, worst)
		// Half of the time is left, in which each reload is polled once.
		if worst > 3*time.Minute {
			t.Errorf("the ends were seen within %v, want at most 3m", worst)
		}
	})
}

// While the service refuses polls with Retry-After, a batch sends neither polls nor lists, but waits no longer than
// MaxRetryAfter.
func TestBatchHonorsRetryAfter(t *testing.T) {
	t.Parallel()
	for after, pause := range map[string]time.Duration{"60": time.Minute, "3600": 5 * time.Minute} {
		for _, status := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				began, refused := time.Now(), new(atomic.Int32)
				w := &world{instead: func(r *http.Request) outcome {
					if d := time.Since(began); d < 5*time.Minute || d > 25*time.Minute {
						return nil
					}
					refused.Add(1)
					return respond(status, "", "Retry-After", after)
				}}
				w.lasts = func(string) time.Duration { return 30 * time.Minute }
				var apps []string
				for i := range size(1000, 20) {
					apps = append(apps, fmt.Sprint("app", i))
				}
				for r := range scriptedClient(t, w).WaitAll(t.Context(), w.foreignReloads(apps)) {
					if r.Err != nil {
						t.Error(r.Err)
					}
				}
				// A list may be sent together with the first poll after each pause.
				if n, most := int(refused.Load()), 2*int(20*time.Minute/pause)+2; n > most || n < 4 {
					t.Errorf("%d requests were refused with %d and Retry-After %s, want at most %d", n, status, after, most)
				}
			})
		}
	}
}

// A Retry-After of centuries is honored, too.
func TestBatchHonorsLongRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		s := &scriptedService{get: func(id string) (int, string) {
			return http.StatusOK, recordText(id, id, reloads.StatusReloading, time.Now())
		}}
		wire := outcome(func(r *http.Request) (*http.Response, error) {
			if isList(r) {
				lists++
				return respond(http.StatusTooManyRequests, "", "Retry-After", "6000000000")(r)
			}
			return s.RoundTrip(r)
		})
		client := scriptedClient(t, wire, reloads.WithRetry(reloads.RetryPolicy{MaxRetryAfter: math.MaxInt64}), unmetered)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for range client.WaitAll(ctx, scriptedReloads("r", 5)) {
		}
		if lists != 1 {
			t.Errorf("%d lists", lists)
		}
	})
}

// endless responds with a page of a list that has no end.
func endless(r *http.Request) (*http.Response, error) {
	n, _ := strconv.Atoi(r.URL.Query().Get("next"))
	return respond(200, pageJSON(fmt.Sprintf(`{"next":{"href":"?next=%d"}}`, n+1), fmt.Sprint("foreign", n)))(r)
}

// scriptedReloads returns n reloads that are RELOADING.
func scriptedReloads(prefix string, n int) (rs []*reloads.Reload) {
	for i := range n {
		rs = append(rs, &reloads.Reload{ID: fmt.Sprint(prefix, i), AppID: fmt.Sprint(prefix, i), Status: reloads.StatusReloading, CreationTime: time.Now()})
	}
	return rs
}

// A batch uses at most 80 % of the rate limit in every minute, even if each poll is retried.
func TestBatchKeepsItsShareOfRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := scripted(respond(http.StatusInternalServerError, ""))
		client := scriptedClient(t, wire, reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 5, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		for range client.WaitAll(ctx, scriptedReloads("r", 100)) {
		}
		all, most := wire.requests(), 0
		for i, from := 0, 0; i < len(all); i++ {
			for all[i].At.Sub(all[from].At) >= time.Minute {
				from++
			}
			most = max(most, i-from+1)
		}
		if most > 800 || most < 400 {
			t.Errorf("%d reads in a minute, want at most 800, and the batch not to stop", most)
		}
	})
}

// A list shows the end of a reload while a poll of it is slow. That is not an end that the lists have missed, so single polls
// stay rare.
func TestSlowPollIsNotAMissedEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var slow atomic.Bool
		w := &world{lasts: func(string) time.Duration { return time.Hour }}
		w.instead = func(r *http.Request) outcome {
			if !isGet(r) || time.Since(began) < time.Minute || !slow.CompareAndSwap(false, true) {
				return nil
			}
			return func(r *http.Request) (*http.Response, error) {
				w.mu.Lock()
				w.byID[path.Base(r.URL.Path)].ended = time.Now()
				w.mu.Unlock()
				time.Sleep(25 * time.Second)
				return w.serve(r)
			}
		}
		var apps []string
		for i := range 200 {
			apps = append(apps, fmt.Sprint("app", i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		ended := 0
		for r := range scriptedClient(t, w).WaitAll(ctx, w.foreignReloads(apps)) {
			if r.Err == nil {
				ended++
			}
		}
		var reads []time.Duration
		for _, r := range w.sent() {
			if at := r.began.Sub(began); at > 2*time.Minute {
				reads = append(reads, at)
			}
		}
		if most := maxInWindow(reads, time.Minute); ended != 1 || most < 20 || most > 200 {
			t.Errorf("%d reloads ended, and later there were up to %d requests in a minute, want 1 and at most 200", ended, most)
		}
	})
}

// As many polls as may be in flight at once have no response. The ends of the other reloads are noticed nevertheless.
func TestBatchWithPollsWithoutResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ended := began.Add(30 * time.Second)
		wire := outcome(func(r *http.Request) (*http.Response, error) {
			id := strings.TrimPrefix(r.URL.Path, "/api/v1/reloads/")
			switch {
			case isList(r):
				return respond(http.StatusForbidden, "")(r)
			case strings.HasPrefix(id, "hung") && time.Since(began) < 3*time.Hour:
				return hangs(r)
			case time.Now().Before(ended):
				return respond(http.StatusOK, recordText(id, id, reloads.StatusReloading, began))(r)
			}
			return respond(http.StatusOK, recordText(id, id, reloads.StatusSucceeded, began))(r)
		})
		worst, noticed := time.Duration(0), 0
		for r := range scriptedClient(t, wire).WaitAll(t.Context(), append(scriptedReloads("hung", 8), scriptedReloads("ok", 8)...)) {
			if strings.HasPrefix(r.Reload.ID, "ok") {
				worst, noticed = max(worst, time.Since(ended)), noticed+1
			}
		}
		if worst > time.Minute || noticed != 8 {
			t.Errorf("%d ends were noticed, within %v, want 8 within a minute", noticed, worst)
		}
	})
}

// While the service refuses lists, no feed lists, not even the next page of a pass that another feed has begun.
func TestRefusedListEndsOtherPasses(t *testing.T) {
	t.Parallel()
	for _, refused := range []string{"-endTime", "-startTime"} {
		t.Run(refused, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var until atomic.Pointer[time.Time]
				var after atomic.Int32
				wire := outcome(func(r *http.Request) (*http.Response, error) {
					switch {
					case !isList(r):
						return respond(http.StatusOK, recordText(strings.TrimPrefix(r.URL.Path, "/api/v1/reloads/"), "app", reloads.StatusReloading, time.Now()))(r)
					case until.Load() == nil && r.URL.Query().Get("sort") == refused:
						time.Sleep(100 * time.Millisecond)
						end := time.Now().Add(50 * time.Second)
						until.Store(&end)
						return respond(http.StatusServiceUnavailable, "", "Retry-After", "50")(r)
					case until.Load() == nil:
						time.Sleep(time.Second) // the other feed is refused meanwhile
					case time.Now().Before(*until.Load()):
						t.Errorf("a list %v before lists are allowed again", time.Until(*until.Load()))
					default:
						after.Add(1)
					}
					return endless(r)
				})
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				client := scriptedClient(t, wire)
				for range client.WaitAll(ctx, scriptedReloads("r", 100), reloads.OnChange(func(reloads.Request, *reloads.Reload) {})) {
				}
				if after.Load() == 0 {
					t.Error("no list was sent afterwards")
				}
			})
		})
	}
}

// The feed finds many ends at once, and ends that are listed late, wherever the list contains them. Nothing else shows them.
func TestFeedFindsAllEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world  *world
		others int // reloads that end 5 s after those of the batch
		lists  int // at most
	}{
		"many":                  {&world{}, 0, 130},
		"without a Date header": {&world{noDate: true}, 0, 130},
		"one end is in the future": {&world{endOffset: func(r *worldRecord) time.Duration {
			return map[string]time.Duration{"earlier0": 3 * time.Hour}[r.app]
		}}, 0, 130},
		"listed 8 s late": {&world{behind: func(r *worldRecord) time.Duration {
			return map[string]time.Duration{"app0": 8 * time.Second}[r.app]
		}}, 15, 140},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := c.world
				for i := range 200 {
					w.triggerForeign(worldRecord{app: fmt.Sprint("earlier", i)}, time.Duration(i)*20*time.Second)
				}
				time.Sleep(2 * time.Hour)
				w.latency = time.Millisecond
				w.instead = func(r *http.Request) outcome {
					if isGet(r) {
						return respond(500, "")
					}
					return nil
				}
				w.runFor = 2 * time.Minute
				var apps []string
				for i := range 30 {
					apps = append(apps, fmt.Sprint("app", i))
				}
				rs := w.foreignReloads(apps)
				for i := range c.others {
					w.triggerForeign(worldRecord{app: fmt.Sprint("other", i)}, 2*time.Minute+5*time.Second)
				}
				before, began := len(w.sent()), time.Now()
				for r := range scriptedClient(t, w).WaitAll(t.Context(), rs) {
					if took := time.Since(began); r.Err != nil || took > 2*time.Minute+15*time.Second {
						t.Errorf("%s: %v after %v", r.Request.AppID, r.Err, took)
					}
				}
				lists := 0
				for _, r := range w.sent()[before:] {
					if strings.HasSuffix(r.path, "/reloads") {
						lists++
					}
				}
				if lists > c.lists {
					t.Errorf("%d lists, want at most %d", lists, c.lists)
				}
			})
		})
	}
}

// The first poll of a reload is not delayed by the search for others, so that tests against the fake tenant are fast.
func TestFirstPollComesAfterMinInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant()
		tenant.AddApp("app", reloadstest.App{RunFor: time.Millisecond})
		client := tenant.NewClient(reloads.WithPolling(reloads.PollPolicy{MinInterval: 10 * time.Millisecond}))
		began := time.Now()
		if _, err := client.Run(t.Context(), reloads.Request{AppID: "app"}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 10*time.Millisecond {
			t.Errorf("the run took %v, want the minimum interval of 10ms", took)
		}
	})
}

// While the feed works, single polls are a second apart. Without it, they are as frequent as the budget allows, and the least
// recently polled reload comes first.
func TestPaceOfSinglePolls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		list     func(*http.Request) (int, string)
		reloads  int
		interval time.Duration // between polls
		longest  time.Duration // between the polls of a reload
	}{
		"with a list":    {func(*http.Request) (int, string) { return http.StatusOK, emptyPage }, 20, time.Second, 22 * time.Second},
		"without a list": {listForbidden, 300, time.Minute / 782, 25 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := &scriptedService{list: c.list, get: func(id string) (int, string) {
					return http.StatusOK, recordText(id, id, reloads.StatusReloading, began)
				}}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				for range scriptedClient(t, s).WaitAll(ctx, scriptedReloads("r", c.reloads)) {
				}
				last := map[string]time.Time{}
				var previous time.Time
				for _, r := range s.requests() {
					if strings.HasPrefix(r.URI, "/api/v1/reloads?") {
						continue
					}
					if gap := r.At.Sub(previous); gap < c.interval {
						t.Errorf("a poll %v after the one before, want at least %v", gap, c.interval)
					}
					if known, ok := last[r.URI]; ok && r.At.Sub(known) > c.longest {
						t.Errorf("%s was not polled for %v", r.URI, r.At.Sub(known))
					}
					previous, last[r.URI] = r.At, r.At
				}
				if len(last) != c.reloads {
					t.Errorf("%d reloads were polled, want %d", len(last), c.reloads)
				}
			})
		})
	}
}

// The pages of the feed are small while few reloads end, and large afterwards. A pass reads back to what earlier ones have read.
func TestPagesOfTheFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{runFor: time.Minute, lasts: func(app string) time.Duration {
			if strings.HasPrefix(app, "long") {
				return 2 * time.Minute
			}
			return 0
		}}
		for i := range 150 {
			w.triggerForeign(worldRecord{app: fmt.Sprint("other", i)}, 0)
		}
		began := time.Now()
		for r := range scriptedClient(t, w).WaitAll(t.Context(), w.foreignReloads([]string{"a", "b", "long1", "long2", "long3", "long4"})) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		pages := map[float64][]string{} // by the second in which the pass begins
		for _, r := range w.sent() {
			if query, _ := url.ParseQuery(r.query); strings.HasSuffix(r.path, "/reloads") {
				if query.Get("log") != "true" {
					t.Errorf("the list %s does not request the logs", r.query)
				}
				second := r.began.Sub(began).Seconds()
				pages[second] = append(pages[second], query.Get("limit")+" from "+cmp.Or(query.Get("next"), "0"))
			}
		}
		for second, want := range map[float64][]string{
			0:  {"10 from 0"},
			59: {"10 from 0"},
			60: {"10 from 0", "100 from 0", "100 from 100"}, // all end
			61: {"100 from 0", "100 from 100"},
			69: {"100 from 0", "100 from 100"},
			70: {"100 from 0", "100 from 100"},
			71: {"100 from 0", "100 from 100"},
			72: {"100 from 0"}, // they are older than the overlap
			73: {"10 from 0"},
		} {
			if !slices.Equal(pages[second], want) {
				t.Errorf("after %v s: %q, want %q", second, pages[second], want)
			}
		}
	})
}

// The feed reads back further if the service lists ends late.
func TestFeedAdaptsToALateList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late := map[string]time.Duration{"app1": 9 * time.Second, "app2": 17 * time.Second, "app3": 30 * time.Second, "app4": 50 * time.Second}
		w := &world{behind: func(r *worldRecord) time.Duration { return late[r.app] }}
		w.instead = func(r *http.Request) outcome {
			if isGet(r) {
				return respond(500, "")
			}
			return nil
		}
		number := func(app string) time.Duration {
			n, _ := strconv.Atoi(strings.TrimLeft(app, "aother-p"))
			return time.Duration(n)
		}
		w.lasts = func(app string) time.Duration {
			if strings.HasPrefix(app, "app") {
				return number(app) * 40 * time.Second
			}
			return number(app) * time.Second // one of the others ends each second
		}
		for i := range 400 {
			w.triggerForeign(worldRecord{app: fmt.Sprint("other-", i)}, 0)
		}
		rs := w.foreignReloads([]string{"app1", "app2", "app3", "app4", "app5", "app6", "app7", "app8", "app9"})
		for r := range scriptedClient(t, w).WaitAll(t.Context(), rs) {
			// With three reloads left, a pass reads at most three pages.
			if lag := time.Since(w.end(r.Reload.ID)); r.Err != nil || lag > late[r.Request.AppID]+5*time.Second && number(r.Request.AppID) < 7 {
				t.Errorf("%s: %v, %v after the end", r.Request.AppID, r.Err, lag)
			}
		}
	})
}

// The pace of the lists of a batch depends on how many reloads are left and on how the lists fail.
func TestPaceOfLists(t *testing.T) {
	t.Parallel()
	always := func(status int, body string) func(int) (int, string) {
		return func(int) (int, string) { return status, body }
	}
	finished := func(id, end string) string {
		return recordText(id, "x", reloads.StatusFailed, time.Time{}, "endTime", end)
	}
	backoff := []float64{0, 1, 3, 7, 15, 31, 63, 123, 183}
	for name, c := range map[string]struct {
		reloads int
		list    func(n int) (int, string) // n counts the lists from 0
		opts    []reloads.RunOption
		want    []float64 // when the first lists are sent, in seconds
	}{
		"few reloads":   {3, always(200, emptyPage), nil, nil},
		"many reloads":  {4, always(200, emptyPage), nil, []float64{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		"with OnChange": {4, always(200, emptyPage), []reloads.RunOption{ignoreChanges}, []float64{0, 0, 1, 2, 3, 4, 5, 5, 6}},
		"with OnChange, earlier starts": {4, func(n int) (int, string) {
			earlier := recordText("a", "x", reloads.StatusFailed, time.Time{}, "startTime", "1999-12-31T23:00:00Z", "endTime", "1999-12-31T23:00:00Z")
			if n < 2 { // the first pass reads the whole list of reloads that have started
				return 200, listText(earlier)
			}
			return 200, `{"data":[` + earlier + `],"links":{"next":{"href":"?next=1"}}}`
		}, []reloads.RunOption{ignoreChanges}, []float64{0, 0, 1, 2, 3, 4, 5, 5, 6}},
		"400":             {4, always(400, ""), nil, []float64{0}},
		"401":             {4, always(401, ""), nil, []float64{0}},
		"403":             {4, always(403, ""), nil, []float64{0}},
		"not sorted":      {4, always(200, listText(finished("a", "2000-01-01T00:00:00Z"), finished("b", "2000-01-01T00:00:11Z"))), nil, []float64{0}},
		"almost sorted":   {4, always(200, listText(finished("a", "2000-01-01T00:00:00Z"), finished("b", "2000-01-01T00:00:10Z"))), nil, []float64{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		"404":             {4, always(404, ""), nil, backoff},
		"500":             {4, always(500, ""), nil, backoff},
		"connection lost": {4, always(0, ""), nil, backoff},
		"sign-in page":    {4, always(200, "<html>"), nil, backoff},
		"some fail": {4, func(n int) (int, string) {
			if n%3 == 2 {
				return 200, emptyPage
			}
			return 500, ""
		}, nil, []float64{0, 1, 3, 4, 5, 7, 8, 9, 11}},
		"earlier ends": {4, always(200, `{"data":[`+finished("earlier", "1999-12-31T23:00:00Z")+`],"links":{"next":{"href":"?next=1"}}}`), nil,
			[]float64{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		"endless": {4, func(n int) (int, string) {
			return 200, pageJSON(fmt.Sprintf(`{"next":{"href":"?next=%d"}}`, n), fmt.Sprint("foreign", n))
		}, nil, []float64{0, 0, 0, 0, 1, 1, 1, 1, 3}},
		"few are left": {5, func(n int) (int, string) {
			if n < 3 {
				return 200, emptyPage
			}
			return 200, listText(finished("r0", "2000-01-01T00:00:02Z"), finished("r1", "2000-01-01T00:00:02Z"))
		}, nil, []float64{0, 1, 2, 3, 4, 9, 14, 19, 24}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logBuffer
				began, n := time.Now(), 0
				s := &scriptedService{get: func(id string) (int, string) {
					return http.StatusOK, recordText(id, id, reloads.StatusReloading, began)
				}}
				s.list = func(*http.Request) (int, string) {
					n++
					return c.list(n - 1)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Second)
				defer cancel()
				for range scriptedClient(t, s, log.option(slog.LevelWarn)).WaitAll(ctx, scriptedReloads("r", c.reloads), c.opts...) {
				}
				var got []float64
				for _, r := range s.requests() {
					if strings.HasPrefix(r.URI, "/api/v1/reloads?") && len(got) < len(backoff) {
						got = append(got, r.At.Sub(began).Seconds())
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("lists after %v s, want %v", got, c.want)
				}
				fails := n == 1 || slices.Equal(c.want, backoff) || name == "some fail"
				if logged := strings.Contains(log.String(), "listing the tenant failed, continuing with single polls"); logged != fails {
					t.Errorf("the log contains a failure: %t, want %t", logged, fails)
				}
			})
		})
	}
}

// A list that is allowed but contains nothing does not slow the single polls much more than a forbidden one.
func TestBatchWithEmptyListPollsSingly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		list func(*http.Request) (int, string)
		lag  time.Duration
	}{
		"forbidden": {listForbidden, time.Minute},
		"empty":     {func(*http.Request) (int, string) { return http.StatusOK, emptyPage }, 75 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ended := began.Add(time.Minute)
				s := &scriptedService{latency: 20 * time.Millisecond, list: c.list, get: func(id string) (int, string) {
					if time.Now().Before(ended) {
						return http.StatusOK, recordText(id, id, reloads.StatusReloading, began)
					}
					return http.StatusOK, recordText(id, id, reloads.StatusSucceeded, began)
				}}
				for range scriptedClient(t, s).WaitAll(t.Context(), scriptedReloads("r", 600)) {
				}
				if lag := time.Since(ended); lag > c.lag {
					t.Errorf("the ends were noticed within %v, want %v", lag, c.lag)
				}
			})
		})
	}
}

// Many reloads of the tenant ended at the same time, and none since. The feed does not read them again in each pass, so it
// goes on to replace single polls.
func TestFeedOfQuietTenantAfterBurst(t *testing.T) {
	t.Parallel()
	reads := map[int]int{}
	for _, burst := range []int{0, 2000} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			earlier := began.Add(-time.Hour).UTC()
			s := &scriptedService{latency: 20 * time.Millisecond}
			s.get = func(id string) (int, string) {
				if time.Since(began) < 10*time.Minute {
					return http.StatusOK, recordText(id, id, reloads.StatusReloading, began)
				}
				return http.StatusOK, recordText(id, id, reloads.StatusSucceeded, began, "endTime", began.Add(10*time.Minute).UTC())
			}
			s.list = func(r *http.Request) (int, string) {
				query := r.URL.Query()
				from, _ := strconv.Atoi(query.Get("next"))
				limit, _ := strconv.Atoi(query.Get("limit"))
				var records []string
				for i := from; i < min(from+limit, burst); i++ {
					records = append(records, recordText(fmt.Sprint("earlier", i), "x", reloads.StatusFailed, earlier, "endTime", earlier))
				}
				if from+limit >= burst {
					return http.StatusOK, listText(records...)
				}
				query.Set("next", strconv.Itoa(from+limit))
				return http.StatusOK, `{"data":[` + strings.Join(records, ",") + `],"links":{"next":{"href":"?` + query.Encode() + `"}}}`
			}
			for range scriptedClient(t, s).WaitAll(t.Context(), scriptedReloads("r", 40)) {
			}
			reads[burst] = s.count(http.MethodGet)
		})
	}
	if reads[2000] > reads[0]+25 {
		t.Errorf("%d reads after a burst, want about %d, as without one", reads[2000], reads[0])
	}
}

// An old reload is polled at intervals of its age, also if the batch has just begun.
func TestWaitAllPollsOldReloadsRarely(t *testing.T) {
	t.Parallel()
	w := &world{latency: 50 * time.Millisecond, runFor: 2 * time.Hour}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		r, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for range client.WaitAll(ctx, []*reloads.Reload{r}) {
		}
		if polls := len(w.sent()) - 1; polls < 4 || polls > 6 {
			t.Errorf("%d polls in a minute, want one every 15 s or so", polls)
		}
		before := len(w.sent())
		wrong := *r
		wrong.CreationTime = time.Now().Add(-9 * time.Hour) // no reload takes so long
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for range client.WaitAll(ctx, []*reloads.Reload{&wrong}) {
		}
		if polls := len(w.sent()) - before; polls < 25 {
			t.Errorf("%d polls in a minute, want as many as of a new reload", polls)
		}
	})
}

// A list that waits because another list was refused also honors the Retry-After of a poll that is refused meanwhile.
func TestWaitingListHonorsRetryAfterOfPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var refused atomic.Int64 // until when, in nanoseconds since began
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			at := time.Since(began)
			if early := time.Duration(refused.Load()) - at; early > 0 && early < 2*time.Minute { // not at the same time
				t.Errorf("%s starts %v before the end of a poll's Retry-After", r.URL, early)
			}
			switch id := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; {
			case at > 3*time.Minute && isList(r):
				return respond(200, listText())(r)
			case at > 3*time.Minute:
				return respond(200, recordText(id, "app", reloads.StatusSucceeded, began))(r)
			case strings.Contains(r.URL.RawQuery, "startTime"): // the list of started reloads has a slow first page
				time.Sleep(900 * time.Millisecond)
				record := recordText("x", "x", reloads.StatusReloading, time.Now(), "startTime", time.Now())
				return respond(200, strings.Replace(listText(record), `"links":{}`, `"links":{"next":{"href":"?page=2"}}`, 1))(r)
			case isList(r):
				time.Sleep(100 * time.Millisecond)
				return respond(http.StatusServiceUnavailable, "", "Retry-After", "20")(r)
			}
			refused.Store(int64(at + 2*time.Minute))
			return respond(http.StatusServiceUnavailable, "", "Retry-After", "120")(r)
		}))
		rs := scriptedReloads("r", 5)
		for _, r := range rs {
			r.CreationTime = began.Add(-time.Minute)
		}
		for r := range client.WaitAll(t.Context(), rs, reloads.OnChange(func(reloads.Request, *reloads.Reload) {})) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
	})
}
