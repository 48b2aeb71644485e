package reloads_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestRunReturnsTerminalStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[reloads.Status]error{
		reloads.StatusSucceeded:     nil,
		reloads.StatusFailed:        reloads.ErrReloadFailed,
		reloads.StatusCanceled:      reloads.ErrReloadCanceled,
		reloads.StatusExceededLimit: reloads.ErrReloadExceededLimit,
	} {
		synctest.Test(t, func(t *testing.T) {
			tenant := newTenant(reloadstest.App{RunFor: time.Minute, Outcome: status, ErrorMessage: "no such table"})
			reload, err := tenant.NewClient().Run(t.Context(), reloads.Request{AppID: "app"})
			if reload == nil || reload.Status != status {
				t.Errorf("got the reload %v, want %s", reload, status)
			}
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", status, err, want)
			}
			var failed *reloads.ReloadError
			if errors.As(err, &failed) != (want != nil) || failed != nil && failed.Reload != reload {
				t.Errorf("%s: the error is %#v, want a ReloadError with the reload", status, err)
			}
		})
	}
}

// maxRequestsPerMinute returns the largest number of requests that the tenant received in any minute.
func maxRequestsPerMinute(tenant *reloadstest.Tenant, ops ...reloadstest.Operation) int {
	var all []time.Duration
	first := tenant.Requests()[0].Time
	for _, r := range tenant.Requests() {
		if slices.Contains(ops, r.Operation) {
			all = append(all, r.Time.Sub(first))
		}
	}
	return maxInWindow(all, time.Minute)
}

// percentile returns the value that p percent of the values do not exceed.
func percentile(values []time.Duration, p int) time.Duration {
	slices.Sort(values)
	return values[(len(values)*p+99)/100-1]
}

func TestRunAllUsesTheWholeRateLimit(t *testing.T) {
	t.Parallel()
	n, longest := size(500, 100), time.Duration(size(40, 5))*time.Minute
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 0))
		tenant := reloadstest.NewTenant()
		var apps []string
		for i := range n {
			apps = append(apps, fmt.Sprint("app", i))
			tenant.AddApp(apps[i], reloadstest.App{QueueFor: 10 * time.Second, RunFor: 20*time.Second + time.Duration(random.Int64N(int64(longest)))})
		}
		began := time.Now()
		var ended time.Time
		var lags []time.Duration
		results := map[string]int{}
		for r := range tenant.NewClient(defaultPolling).RunAll(t.Context(), requestsFor(apps...)) {
			if r.Err != nil {
				t.Errorf("%s: %v", r.Request.AppID, r.Err)
			}
			results[r.Request.AppID]++
			lags = append(lags, time.Since(r.Reload.EndTime))
			// Results come in the order in which the reloads ended, except for those that one poll finds.
			if r.Reload.EndTime.Before(ended.Add(-15 * time.Second)) {
				t.Errorf("%s ended at %v, long before the reload of the previous result, which ended at %v", r.Request.AppID, r.Reload.EndTime, ended)
			}
			ended = r.Reload.EndTime
		}
		if len(results) != n {
			t.Errorf("%d apps have a result, want %d", len(results), n)
		}
		last := slices.MaxFunc(tenant.Reloads(), func(a, b reloads.Reload) int { return a.CreationTime.Compare(b.CreationTime) })
		want := time.Duration(n/reloads.SpecialPerMinute-1)*time.Minute + 10*time.Second
		if at := last.CreationTime.Sub(began); at > want {
			t.Errorf("the last trigger started after %v, want at most %v", at, want)
		} else {
			t.Logf("the last trigger started after %v", at)
		}
		if n := countRateLimited(tenant); n > 0 {
			t.Errorf("%d requests got a 429", n)
		}
		p95, worst := percentile(lags, 95), percentile(lags, 100)
		if worst > 15*time.Second {
			t.Errorf("the end of a reload was seen after %v", worst)
		}
		t.Logf("ends were seen within %v (95 %%), %v (all), with %d reads, at most %d per minute", p95, worst,
			countRequests(tenant, reloadstest.Get)+countRequests(tenant, reloadstest.List), maxRequestsPerMinute(tenant, reloadstest.Get, reloadstest.List))
	})
}

func TestRunAllRunsReloadsOfOneAppInSequence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant()
		tenant.AddApp("slow", reloadstest.App{RunFor: time.Minute})
		tenant.AddApp("bad", reloadstest.App{RunFor: time.Second, Outcome: reloads.StatusFailed})
		tenant.AddApp("fast", reloadstest.App{RunFor: time.Second})
		var got []string
		for r := range tenant.NewClient().RunAll(t.Context(), requestsFor("slow", "slow", "bad", "unknown", "fast", "slow", "bad", "")) {
			got = append(got, fmt.Sprint(r.Request.AppID, errors.Is(r.Err, reloads.ErrReloadFailed), errors.Is(r.Err, reloads.ErrNotFound), errors.Is(r.Err, reloads.ErrBadRequest)))
		}
		slices.Sort(got)
		want := []string{"badtrue false false", "badtrue false false", "fastfalse false false",
			"slowfalse false false", "slowfalse false false", "slowfalse false false", "unknownfalse true false", "false false true"}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if n := countRateLimited(tenant); n > 0 {
			t.Errorf("%d triggers were refused because a reload was pending", n)
		}
	})
}

func TestRunAllWithoutRequests(t *testing.T) {
	t.Parallel()
	for r := range reloadstest.NewTenant().NewClient().RunAll(t.Context(), nil) {
		t.Errorf("got %v", r)
	}
}

// Breaking out of the loop cancels the requests in flight, and sends no further one. The loop ends at once, unless the
// context has ended and reloads are being canceled.
func TestBreakStopsBatch(t *testing.T) {
	t.Parallel()
	var apps []string
	for i := range 200 {
		apps = append(apps, fmt.Sprint("app", i))
	}
	type batchOfApps = func(context.Context, *reloads.Client, ...reloads.RunOption) iter.Seq[reloads.Result]
	runAll := func(*world) batchOfApps {
		return func(ctx context.Context, client *reloads.Client, opts ...reloads.RunOption) iter.Seq[reloads.Result] {
			return client.RunAll(ctx, requestsFor(apps...), opts...)
		}
	}
	waitAll := func(w *world) batchOfApps {
		return func(ctx context.Context, client *reloads.Client, opts ...reloads.RunOption) iter.Seq[reloads.Result] {
			return client.WaitAll(ctx, w.foreignReloads(apps), opts...)
		}
	}
	hanging := func(is func(*http.Request) bool) func(*http.Request) outcome {
		return func(r *http.Request) outcome {
			if is(r) {
				return hangs
			}
			return nil
		}
	}
	staggered := func(app string) time.Duration { // one ends every second
		i, _ := strconv.Atoi(app[3:])
		return time.Duration(i) * time.Second
	}
	const post, get, list, cancel = "POST app", "GET record", "GET list", "POST cancel"
	kind := func(r worldRequest) string {
		switch {
		case strings.HasSuffix(r.path, "/cancel"):
			return cancel
		case r.method == http.MethodPost:
			return post
		case strings.HasSuffix(r.path, "/reloads"):
			return list
		}
		return get
	}
	for name, c := range map[string]struct {
		batch    func(*world) batchOfApps
		world    func() *world
		aborts   bool     // the context ends after 5 s
		inFlight []string // the requests that are in flight at the break
	}{
		"triggers in flight":               {runAll, func() *world { return &world{lasts: staggered, everyPost: postPlan{hold: 2 * time.Second}} }, false, []string{post}},
		"triggers wait for the rate limit": {runAll, func() *world { return &world{lasts: staggered} }, false, []string{get, list}},
		"triggers are reconciled": {runAll, func() *world {
			return &world{lasts: staggered, listLag: 10 * time.Second, everyPost: postPlan{status: 502}}
		}, false, []string{list}},
		"triggers without a response": {runAll, func() *world {
			return &world{lasts: staggered, instead: func(r *http.Request) outcome {
				if isTrigger(r) && r.ContentLength > int64(len(`{"appId":"app9"}`)) {
					return hangs
				}
				return nil
			}}
		}, false, []string{post}},
		"lists without a response": {waitAll, func() *world { return &world{lasts: staggered, instead: hanging(isList)} }, false, []string{list, get}},
		"polls without a response": {waitAll, func() *world { return &world{lasts: staggered, instead: hanging(isGet)} }, false, []string{get}},
		"cancels without a response": {runAll, func() *world {
			return &world{lasts: func(app string) time.Duration { return staggered(app) * 3600 }, instead: hanging(isCancel)}
		}, true, []string{cancel}},
	} {
		for optsName, opts := range map[string][]reloads.RunOption{
			"no options":  nil,
			"all options": {reloads.CancelOnAbort(), reloads.AttachToPending(), ignoreChanges},
		} {
			if c.aborts && opts == nil {
				continue // nothing is canceled
			}
			t.Run(name+", "+optsName, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
					w := c.world()
					w.latency, w.spread = 300*time.Millisecond, true
					ctx, end := context.WithCancel(t.Context())
					defer end()
					if c.aborts {
						defer time.AfterFunc(5*time.Second, end).Stop()
					}
					inFlight := func() (kinds []string) {
						for _, r := range w.sent() {
							if r.ended.IsZero() {
								kinds = append(kinds, kind(r))
							}
						}
						return kinds
					}
					var before []worldRequest
					var left time.Time
					for range c.batch(w)(ctx, scriptedClient(t, w), opts...) {
						missing := func() []string {
							kinds := inFlight()
							return slices.DeleteFunc(slices.Clone(c.inFlight), func(kind string) bool { return slices.Contains(kinds, kind) })
						}
						for range 10_000 {
							time.Sleep(10 * time.Millisecond)
							if synctest.Wait(); len(missing()) == 0 { // nothing else happens at the same time as the break
								break
							}
						}
						if kinds := missing(); len(kinds) > 0 {
							t.Errorf("no %v was in flight", kinds)
						}
						before, left = w.sent(), time.Now()
						break
					}
					want := time.Duration(0)
					if c.aborts { // the cancels are completed, in the 10 s after the context ended
						want = 10 * time.Second
					}
					if took := time.Since(left); took > want {
						t.Errorf("the loop ended %v after the break", took)
					}
					after, canceled := w.sent(), map[string]int{}
					for i, r := range before {
						if !r.ended.IsZero() {
							continue
						}
						if got := after[i]; !c.aborts && (!got.ended.Equal(left) || !errors.Is(got.err, context.Canceled)) {
							t.Errorf("%s %s: ended %v after the break with %v, want it canceled at once", r.method, r.path, got.ended.Sub(left), got.err)
						}
						canceled[kind(r)]++
					}
					t.Logf("canceled: %v", canceled)
					time.Sleep(3 * time.Hour)
					if more := w.sent()[len(before):]; len(more) > 0 && !c.aborts {
						t.Errorf("%d requests after the break, the first %v later: %s %s?%s, %v", len(more), more[0].began.Sub(left), more[0].method, more[0].path, more[0].query, more[0].err)
					}
				})
			})
		}
	}
}

// Every request has exactly one result whenever the context ends. Nothing is triggered after that.
func TestRunAllReportsEveryRequestWhenContextEnds(t *testing.T) {
	t.Parallel()
	apps := size(100, 30)
	for seed := range size(12, 2) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(seed), 4))
			tenant := reloadstest.NewTenant()
			var reqs []reloads.Request
			for i := range apps + apps/5 {
				app := fmt.Sprint("app", i%apps) // some twice
				reqs = append(reqs, reloads.Request{AppID: app, Weight: 1 + i%10})
				tenant.AddApp(app, reloadstest.App{QueueFor: time.Second, RunFor: time.Duration(random.Int64N(int64(5 * time.Minute)))})
			}
			tenant.Inject(reloadstest.Fault{Match: func(*http.Request) bool { return random.IntN(20) == 0 }, LoseAfter: true, Times: -1},
				reloadstest.Fault{Match: func(*http.Request) bool { return random.IntN(20) == 0 }, DelayAnswer: 3 * time.Second, Times: -1})
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(8*time.Minute))))
			defer cancel()
			var opts []reloads.RunOption
			if seed%2 == 0 {
				opts = append(opts, reloads.CancelOnAbort())
			}
			results, started := map[string]int{}, 0
			for r := range tenant.NewClient(defaultPolling).RunAll(ctx, reqs, opts...) {
				results[r.Request.AppID]++
				switch {
				case errors.Is(r.Err, reloads.ErrNotStarted) != (r.Reload == nil) && !errors.Is(r.Err, reloads.ErrOutcomeUnknown):
					t.Errorf("seed %d: %s: reload %v with %v", seed, r.Request.AppID, r.Reload, r.Err)
				case r.Reload != nil:
					started++
				}
				// A request whose turn cannot come before the deadline has its result at once.
				if r.Err != nil && ctx.Err() == nil && !errors.Is(r.Err, reloads.ErrNotStarted) {
					t.Errorf("seed %d: %s: %v before the context ended", seed, r.Request.AppID, r.Err)
				}
			}
			ended := time.Now()
			for i := range apps {
				if want, n := 1+min(1, max(0, apps/5-i)), results[fmt.Sprint("app", i)]; n != want {
					t.Errorf("seed %d: app%d has %d results, want %d", seed, i, n, want)
				}
			}
			requests := len(tenant.Requests())
			time.Sleep(time.Hour)
			if n := len(tenant.Requests()); n != requests {
				t.Errorf("seed %d: %d requests after the end", seed, n-requests)
			}
			deadline, _ := ctx.Deadline()
			for _, r := range tenant.Requests() {
				if r.Operation == reloadstest.Trigger && r.Time.After(deadline) {
					t.Errorf("seed %d: a trigger %v after the deadline", seed, r.Time.Sub(deadline))
				}
			}
			if seed%2 == 1 && ended.After(deadline) {
				t.Errorf("seed %d: the loop ended %v after the deadline", seed, ended.Sub(deadline))
			}
			if made := len(tenant.Reloads()); made < started {
				t.Errorf("seed %d: %d results have a reload, but the tenant has only %d", seed, started, made)
			}
		})
	}
}

// A batch ends when its context ends. It does not wait until the next poll.
func TestContextEndsBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{QueueFor: 2 * time.Hour})
		client := tenant.NewClient()
		var rs []*reloads.Reload
		for _, app := range []string{"a", "b"} {
			tenant.AddApp(app, reloadstest.App{QueueFor: 2 * time.Hour})
			r, _ := tenant.Trigger(app, reloads.Reload{})
			rs = append(rs, &r)
		}
		for name, c := range map[string]struct {
			batch   func(context.Context) iter.Seq[reloads.Result]
			results int
		}{
			"WaitAll": {func(ctx context.Context) iter.Seq[reloads.Result] { return client.WaitAll(ctx, rs) }, 2},
			"WaitAll of an ID": {func(ctx context.Context) iter.Seq[reloads.Result] {
				return client.WaitAll(ctx, []*reloads.Reload{{ID: rs[0].ID}})
			}, 1},
			"RunAll": {func(ctx context.Context) iter.Seq[reloads.Result] {
				return client.RunAll(ctx, []reloads.Request{{AppID: "app"}})
			}, 1},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			began := time.Now()
			results := 0
			for r := range c.batch(ctx) {
				results++
				if !errors.Is(r.Err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", name, r.Err)
				}
			}
			cancel()
			if took := time.Since(began); took != time.Minute {
				t.Errorf("%s: it took %v, want 1m", name, took)
			}
			if results != c.results {
				t.Errorf("%s: got %d results, want %d", name, results, c.results)
			}
		}
	})
}

// A loop body or an OnChange that takes 15 minutes delays no trigger, no poll and no cancel.
func TestSlowLoopDelaysNothing(t *testing.T) {
	t.Parallel()
	const slow, abortAfter = 15 * time.Minute, 6 * time.Minute
	for _, inBody := range []bool{true, false} {
		for _, abort := range []bool{false, true} {
			t.Run(fmt.Sprintf("in the body %v, context ends %v", inBody, abort), func(t *testing.T) {
				if abort || !inBody {
					skipInShortMode(t)
				}
				synctest.Test(t, func(t *testing.T) {
					w := &world{latency: 20 * time.Millisecond, lasts: func(app string) time.Duration {
						if abort && app != "app0" {
							return time.Hour
						}
						return 2 * time.Minute
					}}
					var apps []string
					for i := range 120 {
						apps = append(apps, fmt.Sprint("app", i))
					}
					reqs := append(requestsFor(apps...), requestsFor("app0", "app0")...) // in sequence
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if abort {
						reqs = reqs[:45] // as many as can be canceled in 10 s
						defer time.AfterFunc(abortAfter, cancel).Stop()
					}
					began := time.Now()
					slept := false
					sleepOnce := func() {
						if !slept {
							slept = true
							time.Sleep(slow)
						}
					}
					opts := []reloads.RunOption{reloads.CancelOnAbort()}
					if !inBody {
						opts = append(opts, reloads.OnChange(func(reloads.Request, *reloads.Reload) { sleepOnce() }))
					}
					results := 0
					for r := range scriptedClient(t, w).RunAll(ctx, reqs, opts...) {
						results++
						if canceled := errors.Is(r.Err, context.Canceled); canceled != (abort && r.Request.AppID != "app0") || !canceled && r.Err != nil {
							t.Errorf("%s: got %v", r.Request.AppID, r.Err)
						}
						if inBody {
							sleepOnce()
						}
					}
					if took := time.Since(began); took < slow || took > slow+3*time.Minute || results != len(reqs) {
						t.Errorf("%d results after %v, want %d after the pause", results, took, len(reqs))
					}
					if abort {
						checkCanceledInTime(t, w, began.Add(abortAfter), 44)
						return
					}
					posts := w.postTimes()
					if last := posts[119].Sub(began); last > 2*time.Minute+10*time.Second {
						t.Errorf("the last app was triggered after %v, want at most 2m10s", last)
					}
					sent := w.sent()
					own := w.own()
					app0 := own[slices.IndexFunc(own, func(r *worldRecord) bool { return r.app == "app0" && r.number == 0 })]
					// Steps that are ready together race for the rate limit, so app0 may begin a minute later.
					if last := sent[len(sent)-1].began.Sub(app0.created); len(posts) != 122 || last > 6*time.Minute+30*time.Second {
						t.Errorf("%d triggers, and the last request %v after the first of app0, want 122 and the last end, after 6m, seen within 30s", len(posts), last)
					}
				})
			})
		}
	}
}

// checkCanceledInTime checks that n reloads were canceled within 10 s after the context ended.
func checkCanceledInTime(t *testing.T, w *world, end time.Time, n int) {
	t.Helper()
	canceled := 0
	for _, r := range w.own() {
		if r.canceled.IsZero() {
			continue
		}
		canceled++
		if late := r.canceled.Sub(end); late < 0 || late > 10*time.Second {
			t.Errorf("%s was canceled %v after the context ended, want within 10s", r.app, late)
		}
	}
	if canceled != n {
		t.Errorf("%d reloads were canceled, want %d", canceled, n)
	}
}

// However the service responds to cancels, an aborted batch ends within 10 s, and the results say which reloads were canceled.
func TestCancelOnAbortOfManyEndsInTime(t *testing.T) {
	t.Parallel()
	const n = 400
	for name, c := range map[string]struct {
		cancel   func(w *world, r *http.Request) outcome
		canceled int // reloads
	}{
		"canceled at once": {func(*world, *http.Request) outcome { return nil }, 50},
		"no response":      {func(*world, *http.Request) outcome { return hangs }, 0},
		"slow": {func(w *world, r *http.Request) outcome {
			return func(r *http.Request) (*http.Response, error) {
				id, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/reloads/"), "/")
				return w.exchange(r, "", 3*time.Second, 3*time.Second, func() (*http.Response, error) { return w.cancel(r, id) })
			}
		}, 50},
		"500":              {func(*world, *http.Request) outcome { return respond(500, "") }, 0},
		"429":              {func(*world, *http.Request) outcome { return respond(429, "", "Retry-After", "60") }, 0},
		"403":              {func(*world, *http.Request) outcome { return respond(403, "") }, 0},
		"redirect":         {func(*world, *http.Request) outcome { return respond(302, "", "Location", "https://login.example.com") }, 0},
		"connection lost":  {func(*world, *http.Request) outcome { return fails(errReset) }, 0},
		"connection fails": {func(*world, *http.Request) outcome { return fails(errDial) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "canceled at once" && name != "slow" {
				skipInShortMode(t)
			}
			synctest.Test(t, func(t *testing.T) {
				w := &world{latency: 20 * time.Millisecond, runFor: 5 * time.Hour}
				w.instead = func(r *http.Request) outcome {
					if isCancel(r) {
						return c.cancel(w, r)
					}
					return nil
				}
				limiters := reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(1, 0)}) // the others are the service's
				client := scriptedClient(t, w, limiters)
				var apps []string
				for i := range n {
					apps = append(apps, fmt.Sprint("app", i))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				results, canceled := 0, 0
				for r := range client.RunAll(ctx, requestsFor(apps...), reloads.CancelOnAbort()) {
					results++
					said := strings.Contains(r.Err.Error(), "the reload was canceled")
					if r.Reload == nil || !errors.Is(r.Err, context.DeadlineExceeded) || !said && !strings.Contains(r.Err.Error(), "canceling it: ") {
						t.Errorf("%s: got %v, %v", r.Request.AppID, r.Reload, r.Err)
						continue
					}
					if said {
						canceled++
					}
					if known := r.Reload.Status; said != (known == reloads.StatusCanceling || known == reloads.StatusCanceled) {
						t.Errorf("%s: the status %s and the error %v", r.Request.AppID, known, r.Err)
					}
				}
				deadline, _ := ctx.Deadline()
				if late := time.Since(deadline); results != n || late > 10*time.Second+100*time.Millisecond {
					t.Errorf("%d results, the last %v after the context ended, want %d within 10s", results, late, n)
				}
				sent := 0
				for _, r := range w.sent() {
					if strings.HasSuffix(r.path, "/cancel") {
						sent++
					}
				}
				t.Logf("%d cancels, %d reloads canceled, ended after %v", sent, canceled, time.Since(deadline))
				if canceled != c.canceled || w.statuses()[reloads.StatusCanceled]+w.statuses()[reloads.StatusCanceling] != canceled {
					t.Errorf("the results say that %d reloads were canceled, want %d; the service has %v", canceled, c.canceled, w.statuses())
				}
				if sent > 50 {
					t.Errorf("%d cancels were sent in 10s, want at most 50", sent)
				}
				requests := len(w.sent())
				time.Sleep(time.Hour)
				if more := len(w.sent()) - requests; more > 0 {
					t.Errorf("%d requests after the end", more)
				}
			})
		})
	}
}

// limiterFunc is a Limiter.
type limiterFunc func(ctx context.Context) error

func (f limiterFunc) Wait(ctx context.Context) error { return f(ctx) }

// afterTwo returns a limiter that lets two requests start, and decides about the others.
func afterTwo(other func(ctx context.Context) error) reloads.Option {
	var n atomic.Int32
	return reloads.WithLimiters(reloads.Limiters{Trigger: limiterFunc(func(ctx context.Context) error {
		if n.Add(1) <= 2 {
			return nil
		}
		return other(ctx)
	})})
}

// untilEnd blocks until ctx ends, and returns an error of its own.
func untilEnd(ctx context.Context) error {
	<-ctx.Done()
	return errors.New("interrupted")
}

// dialing is the outcome of an attempt whose connection is not established. The transport reports to httptrace, as that of
// net/http does.
func dialing(after time.Duration) outcome {
	return func(r *http.Request) (*http.Response, error) {
		if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GetConn != nil {
			trace.GetConn("tenant.example.com:443")
		}
		select {
		case <-time.After(after):
			return nil, errDial
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// ErrNotStarted is for the requests that had no effect because the context ended, or would have ended, before their turn,
// whatever they waited for. A connection or a sign-in that fails is another reason.
func TestNotStarted(t *testing.T) {
	t.Parallel()
	const limit = 30 * time.Second // of the context
	limiter := func(l reloads.Limiter) func() reloads.Option {
		return func() reloads.Option { return reloads.WithLimiters(reloads.Limiters{Trigger: l}) }
	}
	two := func(other func(ctx context.Context) error) func() reloads.Option {
		return func() reloads.Option { return afterTwo(other) }
	}
	instead := func(o outcome) func(*http.Request) outcome {
		return func(r *http.Request) outcome {
			if isTrigger(r) {
				return o
			}
			return nil
		}
	}
	// tokens returns the outcome of the third token fetch and later ones.
	tokens := func(third func(ctx context.Context) (string, error)) func() reloads.TokenSource {
		return func() reloads.TokenSource {
			var n atomic.Int32
			return reloads.TokenFunc(func(ctx context.Context) (string, error) {
				if n.Add(1) <= 2 {
					return testToken, nil
				}
				return third(ctx)
			})
		}
	}
	const waiting, deadlineOnly, cancelOnly = "2 aborted, 5 not started", 1, 2
	for name, c := range map[string]struct {
		option func() reloads.Option
		tokens func() reloads.TokenSource
		world  *world
		want   string
		again  bool // the last request is for the app of the first one
		only   int  // deadlineOnly or cancelOnly; 0 means both
	}{
		"WindowLimiter":                          {option: func() reloads.Option { return limiter(reloads.NewLimiter(2, time.Minute))() }, want: waiting},
		"rate.Limiter":                           {option: func() reloads.Option { return limiter(rate.NewLimiter(rate.Every(time.Minute), 2))() }, want: waiting},
		"limiter with an error of its own":       {option: two(untilEnd), want: waiting},
		"limiter with the error of the context":  {option: two(func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("limiter: %w", ctx.Err()) }), want: waiting},
		"limiter that calculates the wait":       {option: two(func(context.Context) error { return fmt.Errorf("too late: %w", context.DeadlineExceeded) }), want: waiting, only: deadlineOnly},
		"limiter that ignores the context":       {option: two(func(context.Context) error { time.Sleep(time.Minute); return nil }), want: waiting},
		"token source with an error of its own":  {tokens: tokens(func(ctx context.Context) (string, error) { return "", untilEnd(ctx) }), want: waiting},
		"token source that returns a token late": {tokens: tokens(func(ctx context.Context) (string, error) { return testToken, ignore(untilEnd(ctx)) }), want: waiting},
		"token source that ignores the context":  {tokens: tokens(func(context.Context) (string, error) { time.Sleep(time.Minute); return testToken, nil }), want: waiting},
		"dial takes a minute":                    {world: &world{instead: instead(dialing(time.Minute))}, want: "7 not started"},
		"429 for 20 s":                           {world: &world{instead: instead(respond(429, "", "Retry-After", "20"))}, want: "7 not started"},
		"429 for 60 s":                           {world: &world{instead: instead(respond(429, "", "Retry-After", "60"))}, want: "7 not started"},
		"503 for 20 s":                           {world: &world{instead: instead(respond(503, "", "Retry-After", "20"))}, want: "7 not started"},

		"triggers in flight":         {world: &world{everyPost: postPlan{hold: time.Hour}}, want: "1 not started, 6 unknown", again: true},
		"triggers without an effect": {world: &world{everyPost: postPlan{noEffect: true, hold: time.Hour}}, want: "1 not started, 6 unknown", again: true},
		"triggers are reconciled":    {world: &world{listLag: time.Hour, everyPost: postPlan{status: 502}}, want: "1 not started, 6 unknown", again: true},

		"connection refused":                {world: &world{instead: instead(fails(errDial))}, want: "7 failed"},
		"connection refused after 12 s":     {world: &world{instead: instead(dialing(12 * time.Second))}, want: "7 failed"},
		"host not found":                    {world: &world{instead: instead(fails(&net.DNSError{Err: "no such host", IsNotFound: true}))}, want: "7 failed"},
		"sign-in fails":                     {tokens: tokens(func(context.Context) (string, error) { return "", errors.New("the identity provider is down") }), want: "2 aborted, 5 failed"},
		"limiter fails":                     {option: two(func(context.Context) error { return errors.New("redis is down") }), want: "2 aborted, 5 failed"},
		"limiter has a timeout of its own":  {option: two(func(context.Context) error { return fmt.Errorf("redis: %w", context.DeadlineExceeded) }), want: "2 aborted, 5 failed", only: cancelOnly},
		"refused by the service":            {world: &world{instead: instead(respond(403, ""))}, want: "7 failed"},
		"rate limited without retries left": {option: func() reloads.Option { return noRetries }, world: &world{instead: instead(respond(429, "", "Retry-After", "1"))}, want: "7 failed"},
	} {
		for _, deadline := range []bool{true, false} {
			if c.only == cancelOnly && deadline || c.only == deadlineOnly && !deadline {
				continue
			}
			t.Run(fmt.Sprintf("%s, deadline %v", name, deadline), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &world{}
					if c.world != nil {
						w = &world{instead: c.world.instead, everyPost: c.world.everyPost, listLag: c.world.listLag}
					}
					w.latency, w.runFor = 20*time.Millisecond, time.Hour
					var opts []reloads.Option
					if c.option != nil {
						opts = append(opts, c.option())
					}
					source := reloads.TokenSource(reloads.APIKey(testToken))
					if c.tokens != nil {
						source = c.tokens()
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if deadline {
						ctx, cancel = context.WithTimeout(ctx, limit)
						defer cancel()
					} else {
						defer time.AfterFunc(limit, cancel).Stop()
					}
					reqs := requestsFor(eightApps[:7]...)
					if c.again {
						reqs[6] = reqs[0]
					}
					got := map[string]int{}
					for r := range clientWithTokens(t, source, w, opts...).RunAll(ctx, reqs) {
						ended := errors.Is(r.Err, context.DeadlineExceeded) || errors.Is(r.Err, context.Canceled)
						switch notStarted := errors.Is(r.Err, reloads.ErrNotStarted); {
						case notStarted && (r.Reload != nil || !ended || errors.Is(r.Err, reloads.ErrOutcomeUnknown)):
							t.Errorf("%s: got %v, %v", r.Request.AppID, r.Reload, r.Err)
						case notStarted:
							got["not started"]++
						case errors.Is(r.Err, reloads.ErrOutcomeUnknown):
							got["unknown"]++
						case r.Reload != nil && ended:
							got["aborted"]++
						case r.Err != nil:
							got["failed"]++
						}
					}
					var texts []string
					for _, kind := range []string{"aborted", "not started", "unknown", "failed"} {
						if got[kind] > 0 {
							texts = append(texts, fmt.Sprint(got[kind], " ", kind))
						}
					}
					if text := strings.Join(texts, ", "); text != c.want {
						t.Errorf("got %s, want %s", text, c.want)
					}
				})
			})
		}
	}
}

// A request whose app has a pending reload had no effect either, wherever it is when the context ends.
func TestNotStartedWhileAttaching(t *testing.T) {
	t.Parallel()
	for after := 150 * time.Millisecond; after < 25*time.Second; after += 700 * time.Millisecond {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{latency: 400 * time.Millisecond, runFor: time.Hour, unlisted: func(*worldRecord) bool { return true }}
				w.foreignReloads([]string{"app"})
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				for r := range scriptedClient(t, w).RunAll(ctx, requestsFor("app"), reloads.AttachToPending()) {
					posts := w.postTimes()
					inFlight := time.Since(posts[len(posts)-1]) < 800*time.Millisecond
					if errors.Is(r.Err, reloads.ErrNotStarted) == inFlight || errors.Is(r.Err, reloads.ErrOutcomeUnknown) != inFlight || !errors.Is(r.Err, context.DeadlineExceeded) {
						t.Errorf("after %v, a trigger in flight %v: got %v", after, inFlight, r.Err)
					}
				}
			})
		})
	}
}

// ignore returns nil.
func ignore(error) error { return nil }

func TestRunAllOverHTTP(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant(reloadstest.WithMetering(reloadstest.SlidingWindow, 0))
	server := httptest.NewServer(tenant)
	defer server.Close()
	var apps []string
	for i := range 30 {
		apps = append(apps, fmt.Sprint("app", i))
		tenant.AddApp(apps[i], reloadstest.App{RunFor: time.Duration(i%10) * 20 * time.Millisecond})
	}
	client, err := reloads.NewClient(server.URL+"/gateway", reloads.APIKey(tenant.Token()), unmetered,
		reloads.WithPolling(reloads.PollPolicy{MinInterval: 10 * time.Millisecond, MaxInterval: 50 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]int{}
	for r := range client.RunAll(t.Context(), requestsFor(apps...)) {
		if r.Err != nil {
			t.Errorf("%s: %v", r.Request.AppID, r.Err)
		}
		results[r.Request.AppID]++
	}
	if len(results) != 30 || len(tenant.Reloads()) != 30 {
		t.Errorf("%d apps have a result, %d reloads were made, want 30", len(results), len(tenant.Reloads()))
	}
}

// A result logs the app, the status of its reload and the error.
func TestResultLogValue(t *testing.T) {
	t.Parallel()
	var log logBuffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	failed := &reloads.Reload{ID: "1", AppID: "app", Status: reloads.StatusFailed}
	for _, r := range []reloads.Result{
		{Request: reloads.Request{AppID: "app", Variables: map[string]string{"a": secretVariable}}, Reload: failed, Runs: 2, Err: failed.Err()},
		{Step: 3, Request: reloads.Request{AppID: "app"}, Err: reloads.ErrNotStarted},
	} {
		logger.Info("", "result", r)
	}
	checkNoSecrets(t, "the log", log.String(), secretVariable)
	request := func(variables float64) map[string]any {
		return map[string]any{"app": "app", "partial": false, "variables": variables}
	}
	var got []any
	for _, line := range log.lines(t) {
		result := line["result"].(map[string]any)
		if reload, ok := result["reload"].(map[string]any); ok {
			result["reload"] = reload["status"]
		}
		got = append(got, result)
	}
	want := []any{
		map[string]any{"step": 0., "runs": 2., "request": request(1), "reload": "FAILED", "error": failed.Err().Error()},
		map[string]any{"step": 3., "runs": 0., "request": request(0), "error": reloads.ErrNotStarted.Error()},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Two requests of a batch get the same reload. Each has its own result, and the loop ends.
func TestRunAllOfRequestsWithTheSameReload(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		apps   []string
		second int // the status of the response to the second trigger
		opts   []reloads.RunOption
	}{
		"attached to, app IDs that differ in case": {[]string{"app", "APP"}, http.StatusTooManyRequests, []reloads.RunOption{reloads.AttachToPending()}},
		"a gateway sends the same 201 to both":     {[]string{"a", "b"}, http.StatusCreated, nil},
		"the same 201 to two requests for one app": {[]string{"a", "a"}, http.StatusCreated, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				record := func(app string) string {
					status := reloads.StatusReloading
					if time.Since(began) > 20*time.Second {
						status = reloads.StatusSucceeded
					}
					return recordText("same", app, status, began)
				}
				s := &scriptedService{latency: 20 * time.Millisecond}
				s.trigger = func(n int, app string) (int, string) {
					if n == 1 && c.second == http.StatusTooManyRequests {
						return c.second, testdata(t, "error_429_pending.json")
					}
					return http.StatusCreated, record("")
				}
				s.list = func(*http.Request) (int, string) { return http.StatusOK, listText(record("app")) }
				s.get = func(string) (int, string) { return http.StatusOK, record("") }
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var apps []string
				for r := range scriptedClient(t, s).RunAll(ctx, requestsFor(c.apps...), c.opts...) {
					apps = append(apps, r.Request.AppID)
					if r.Err != nil || r.Reload.ID != "same" || r.Reload.Status != reloads.StatusSucceeded {
						t.Errorf("%s: got %v, %v", r.Request.AppID, r.Reload, r.Err)
					}
				}
				slices.Sort(apps)
				want := slices.Sorted(slices.Values(c.apps))
				if !slices.Equal(apps, want) || ctx.Err() != nil {
					t.Errorf("results for %q, ctx: %v, want %q before ctx has ended", apps, ctx.Err(), want)
				}
			})
		})
	}
}

// The caller leaves the loop at the first error after ctx has ended. All reloads of the batch are canceled nevertheless.
func TestBreakAfterContextEndedCompletesCancels(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		requests int
		inLoop   bool // at a result that has nothing to do with ctx, while the loop body ends ctx
	}{
		"all have started":                 {6, false},
		"some wait for the rate limit":     {60, false},
		"ctx is canceled in the loop":      {5, true},
		"as many as the rate limit allows": {50, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{runFor: time.Hour, latency: 50 * time.Millisecond}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var reqs []reloads.Request
				for i := range c.requests {
					reqs = append(reqs, reloads.Request{AppID: fmt.Sprint("app", i)})
				}
				if c.inLoop {
					reqs = append(reqs, reloads.Request{}) // invalid, so it has its result at once
				} else {
					time.AfterFunc(10*time.Second, cancel)
				}
				for r := range scriptedClient(t, w).RunAll(ctx, reqs, reloads.CancelOnAbort()) {
					if r.Err != nil {
						time.Sleep(3 * time.Second)
						cancel()
						break
					}
				}
				time.Sleep(time.Minute)
				if got := w.statuses(); got[reloads.StatusCanceled] == 0 || len(got) != 1 {
					t.Errorf("got the statuses %v, want all CANCELED", got)
				}
			})
		})
	}
}

// A request that had no effect when ctx ended has not started, whatever the client was doing for it.
func TestRunAllNotStartedWhenContextEnds(t *testing.T) {
	t.Parallel()
	slowToken := reloads.TokenFunc(func(ctx context.Context) (string, error) {
		select {
		case <-time.After(2 * time.Second):
			return testToken, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	for name, c := range map[string]struct {
		token   reloads.TokenSource
		trigger func(int, string) (int, string)
		opts    []reloads.RunOption
	}{
		"while the token is renewed": {slowToken, func(int, string) (int, string) { return http.StatusUnauthorized, "" }, nil},
		"while it waits to attach": {reloads.APIKey(testToken), func(int, string) (int, string) {
			return http.StatusTooManyRequests, testdata(t, "error_429_pending.json")
		}, []reloads.RunOption{reloads.AttachToPending()}},
	} {
		for _, after := range []time.Duration{2500 * time.Millisecond, 3 * time.Second} {
			t.Run(fmt.Sprintf("%s, %v", name, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &scriptedService{latency: 20 * time.Millisecond, trigger: c.trigger}
					s.list = func(*http.Request) (int, string) { return http.StatusOK, emptyPage }
					client, err := reloads.NewClient("https://tenant.example.com", c.token, reloads.WithHTTPClient(&http.Client{Transport: s}))
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), after)
					defer cancel()
					for r := range client.RunAll(ctx, requestsFor("app"), c.opts...) {
						if !errors.Is(r.Err, reloads.ErrNotStarted) || !errors.Is(r.Err, context.DeadlineExceeded) || s.triggers == 0 {
							t.Errorf("got %v after %d triggers, want ErrNotStarted", r.Err, s.triggers)
						}
					}
				})
			})
		}
	}
}

// A transport that ends its goroutine, as t.Fatal in a stub does, does not hang a batch.
func TestGoexitInTransportEndsRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{runFor: time.Second, instead: func(r *http.Request) outcome {
			if isTrigger(r) && r.ContentLength == int64(len(`{"appId":"bad"}`)) {
				runtime.Goexit()
			}
			return nil
		}}
		got := map[string]error{}
		for r := range scriptedClient(t, w).RunAll(t.Context(), requestsFor("bad", "good1", "bad", "good2")) {
			got[r.Request.AppID] = errors.Join(got[r.Request.AppID], r.Err)
		}
		if len(got) != 3 || got["good1"] != nil || got["good2"] != nil || !errors.Is(got["bad"], reloads.ErrOutcomeUnknown) {
			t.Errorf("got %v, want ErrOutcomeUnknown for bad only", got)
		}
	})
}

// The same for a cancel. Here, the batch ended only when the context of the caller had ended, which was too late.
func TestGoexitInCancelEndsBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{runFor: time.Hour, instead: func(r *http.Request) outcome {
			if isCancel(r) {
				runtime.Goexit()
			}
			return nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		for r := range scriptedClient(t, w).RunAll(ctx, requestsFor("a", "b"), reloads.CancelOnAbort()) {
			n++
			if r.Reload == nil || !errors.Is(r.Err, context.DeadlineExceeded) {
				t.Errorf("got %v, %v", r.Reload, r.Err)
			}
		}
		if n != 2 {
			t.Errorf("%d results, want 2", n)
		}
	})
}

// The same for polls: the reload is polled again.
func TestGoexitInPollIsAFailedPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		exits := 0
		w := &world{runFor: time.Minute}
		w.instead = func(r *http.Request) outcome {
			if isGet(r) && exits < 2*concurrentPolls {
				exits++
				runtime.Goexit()
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if r, err := scriptedClient(t, w).Run(ctx, reloads.Request{AppID: "a"}); err != nil {
			t.Errorf("got %v, %v", r, err)
		}
	})
}

const concurrentPolls = 8 // of a batch

// A status that this package does not know is a change like any other.
func TestBatchShowsUnknownStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		statuses := []reloads.Status{"RELOADING", "PAUSED", "RELOADING", "SUCCEEDED"}
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			if isTrigger(r) {
				return respond(201, recordText("1", "app", "QUEUED", time.Now()))(r)
			}
			status := statuses[0]
			statuses = statuses[1:]
			return respond(200, recordText("1", "app", status, time.Now()))(r)
		}))
		var got []reloads.Status
		_, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
			got = append(got, r.Status)
		}))
		want := []reloads.Status{"QUEUED", "RELOADING", "PAUSED", "RELOADING", "SUCCEEDED"}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// WaitAll yields the reloads that have finished first, wherever they are.
func TestWaitAllYieldsFinishedReloadsFirst(t *testing.T) {
	t.Parallel()
	inBubble(t, &world{}, func(t *testing.T, client *reloads.Client) {
		rs := []*reloads.Reload{{}} // is invalid, so its result needs no request either
		for i := range 20 {
			status := reloads.StatusQueued
			if i%2 == 0 {
				status = reloads.StatusSucceeded
			}
			rs = append(rs, &reloads.Reload{ID: fmt.Sprint(i), Status: status})
		}
		n := 0
		for r := range client.WaitAll(t.Context(), rs) {
			if n++; n <= 10 && (r.Err != nil || r.Step%2 != 1) {
				t.Errorf("result %d is that of reload %d: %v", n, r.Step, r.Err)
			}
		}
		if n != 21 {
			t.Errorf("%d results, want 21", n)
		}
	})
}

// The service may spell an ID in another case than the one that the batch tracks.
func TestBatchIgnoresCaseOfID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			if isTrigger(r) {
				return respond(201, `{"id":"ABC1","appId":"app","status":"QUEUED"}`)(r)
			}
			return respond(200, `{"id":"abc1","appId":"app","status":"SUCCEEDED"}`)(r)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		results := 0
		for r := range client.RunAll(ctx, requestsFor("app", "app")) {
			results++
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		for r := range client.WaitAll(ctx, []*reloads.Reload{{ID: "ABC1"}, {ID: "ABC1", Status: reloads.StatusSucceeded}}) {
			results++
			if r.Err != nil || r.Reload.Status != reloads.StatusSucceeded {
				t.Errorf("got %v, %v, want the finished state", r.Reload, r.Err)
			}
		}
		if results != 4 {
			t.Errorf("%d results, want 4", results)
		}
	})
}

// The same for the records of a list, and for hints.
func TestBatchIgnoresCaseOfListedAndHintedID(t *testing.T) {
	t.Parallel()
	spellings := map[string]string{"abc1": "ABC1", "ABC2": "abc2", "abc3": "ABC3", "ABC4": "abc4"}
	for _, hinted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ended := began.Add(30 * time.Second)
			s := &scriptedService{list: listForbidden}
			client := scriptedClient(t, s, rarely)
			s.get = func(id string) (int, string) {
				status := reloads.StatusReloading
				if hinted && !time.Now().Before(ended) {
					status = reloads.StatusSucceeded
				}
				return http.StatusOK, recordText(id, "app", status, began)
			}
			var given []*reloads.Reload
			var records []string
			for id, spelling := range spellings {
				given = append(given, &reloads.Reload{ID: id})
				records = append(records, recordText(spelling, "app", reloads.StatusSucceeded, began, "endTime", ended.UTC().Format(milliseconds)))
				if hinted {
					time.AfterFunc(30*time.Second, func() { client.Poll(spelling) })
				}
			}
			if !hinted {
				client = scriptedClient(t, s)
				s.list = func(*http.Request) (int, string) {
					if time.Now().Before(ended) {
						return http.StatusOK, listText()
					}
					return http.StatusOK, listText(records...)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			for r := range client.WaitAll(ctx, given) {
				if r.Err != nil {
					t.Errorf("hinted %v, %s: %v", hinted, r.Reload.ID, r.Err)
				}
			}
		})
	}
}

// A poll without a response does not hold up the end of a batch whose reloads have all finished.
func TestBatchEndsDuringPollWithoutResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{runFor: time.Minute}
		w.instead = func(r *http.Request) outcome {
			if isGet(r) {
				return hangs
			}
			return nil
		}
		began := time.Now()
		n := 0
		for r := range scriptedClient(t, w, reloads.WithAttemptTimeout(0)).RunAll(t.Context(), requestsFor("a", "b", "c", "d", "e", "f")) {
			if n++; r.Err != nil {
				t.Error(r.Err)
			}
		}
		if d := time.Since(began); n != 6 || d > 2*time.Minute {
			t.Errorf("%d results, the loop ended after %v", n, d)
		}
	})
}

// ownContext is a context of another type than those of package context.
type ownContext struct {
	context.Context
	done  chan struct{}
	ended atomic.Bool
}

func (c *ownContext) Done() <-chan struct{} { return c.done }

func (c *ownContext) Err() error {
	if c.ended.Load() {
		return context.Canceled
	}
	return nil
}

// A context of another type ends right before the caller leaves the loop. All reloads of the batch are canceled.
func TestBreakAfterContextOfAnotherTypeEnded(t *testing.T) {
	t.Parallel()
	for range 20 { // the order of the goroutines varies
		synctest.Test(t, func(t *testing.T) {
			w := &world{runFor: time.Hour, latency: 50 * time.Millisecond}
			ctx := &ownContext{Context: t.Context(), done: make(chan struct{})}
			reqs := append(requestsFor("a", "b", "c"), reloads.Request{}) // the last one is invalid, so it has its result at once
			for r := range scriptedClient(t, w).RunAll(ctx, reqs, reloads.CancelOnAbort()) {
				if r.Err != nil {
					time.Sleep(3 * time.Second)
					ctx.ended.Store(true)
					close(ctx.done)
					break
				}
			}
			time.Sleep(time.Minute)
			if got := w.statuses(); got[reloads.StatusCanceled] != 3 {
				t.Errorf("got the statuses %v, want all CANCELED", got)
			}
		})
	}
}
