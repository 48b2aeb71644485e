package reloads_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestAttachToPending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{QueueFor: time.Second, RunFor: time.Minute})
		ids := make([]string, 5)
		var wg sync.WaitGroup
		for i := range ids { // each is a process of its own
			wg.Go(func() {
				reload, err := tenant.NewClient().Run(t.Context(), reloads.Request{AppID: "app"}, reloads.AttachToPending())
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = reload.ID
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("got the reloads %q, want one", ids)
			}
		}
		if n := len(tenant.Reloads()); n != 1 {
			t.Errorf("%d reloads were made", n)
		}
	})
}

func TestRunWithoutAttachToPending(t *testing.T) {
	t.Parallel()
	tenant := newTenant(reloadstest.App{RunFor: time.Hour})
	tenant.Trigger("app", reloads.Reload{})
	if r, err := tenant.NewClient().Run(t.Context(), reloads.Request{AppID: "app"}); r != nil || !errors.Is(err, reloads.ErrReloadPending) {
		t.Errorf("got %v, %v, want ErrReloadPending", r, err)
	}
}

// The pending reload has finished before the client lists it. There is nothing to attach to, and the app can be triggered.
func TestAttachToPendingThatHasFinished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Minute})
		tenant.Trigger("app", reloads.Reload{})
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.List, Delay: 55 * time.Second})
		time.Sleep(10 * time.Second)
		reload, err := tenant.NewClient().Run(t.Context(), reloads.Request{AppID: "app"}, reloads.AttachToPending())
		if err != nil || reload.UserID == "SomebodyElse" || len(tenant.Reloads()) != 2 {
			t.Errorf("got %+v, %v with %d reloads, want a new reload", reload, err, len(tenant.Reloads()))
		}
	})
}

func TestAttachToPendingThatCannotBeFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Minute})
		tenant.Trigger("app", reloads.Reload{})
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.List, Status: http.StatusForbidden})
		_, err := tenant.NewClient().Run(t.Context(), reloads.Request{AppID: "app"}, reloads.AttachToPending())
		if !errors.Is(err, reloads.ErrReloadPending) || !errors.Is(err, reloads.ErrForbidden) {
			t.Errorf("got %v, want an error that is both ErrReloadPending and ErrForbidden", err)
		}
	})
}

// The next trigger waits for the Retry-After of the one that was refused, unless a step does not wait that long.
func TestPendingReloadWithRetryAfter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world *world
		after string
		opt   reloads.RunOption
		posts int
		err   error
		took  time.Duration
	}{
		"listed late":     {&world{listLag: 10 * time.Second, runFor: 20 * time.Second}, "12", reloads.AttachToPending(), 1, nil, 20 * time.Second},
		"followed":        {&world{runFor: 20 * time.Second}, "60", reloads.AfterPending(), 2, nil, 80 * time.Second},
		"never listed":    {&world{listLag: time.Hour, runFor: time.Hour}, "20", reloads.AttachToPending(), 2, reloads.ErrReloadPending, 30 * time.Second},
		"for a long time": {&world{listLag: time.Hour, runFor: time.Hour}, "300", reloads.AfterPending(), 1, reloads.ErrReloadPending, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				c.world.triggerForeign(worldRecord{app: "app"}, 0)
				refusing := outcome(func(r *http.Request) (*http.Response, error) {
					resp, err := c.world.RoundTrip(r)
					if err == nil && resp.StatusCode == http.StatusTooManyRequests {
						resp.Header.Set("Retry-After", c.after)
					}
					return resp, err
				})
				_, err := scriptedClient(t, refusing).Run(t.Context(), reloads.Request{AppID: "app"}, c.opt)
				took := time.Since(began)
				if n := len(c.world.postTimes()); n != c.posts || !errors.Is(err, c.err) || took < c.took || took > c.took+5*time.Second {
					t.Errorf("got %v after %v and %d triggers, want %v after %v and %d", err, took, n, c.err, c.took, c.posts)
				}
			})
		})
	}
}

// A step that waited for the rate limit for a long time is retried like any other one.
func TestPendingReloadAfterALongWait(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]reloads.RunOption{"AttachToPending": reloads.AttachToPending(), "AfterPending": reloads.AfterPending()} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{runFor: 5 * time.Second}
			var posts atomic.Int32
			w.instead = func(r *http.Request) outcome {
				if isTrigger(r) && posts.Add(1) == 55 {
					return respond(http.StatusTooManyRequests, `{"errors":[{"code":"RELOADS-007","title":"pending"}]}`)
				}
				return nil
			}
			var apps []string
			for i := range 60 {
				apps = append(apps, fmt.Sprint("app", i))
			}
			for r := range scriptedClient(t, w).RunAll(t.Context(), requestsFor(apps...), opt) {
				if r.Err != nil {
					t.Errorf("%s: %s: %v", name, r.Request.AppID, r.Err)
				}
			}
		})
	}
}

// The list fails, hides the pending reload, or has an invalid record, too. The triggers in between are few and spaced
// out, and the other apps of a batch do not wait.
func TestAttachToPendingWithInaccurateList(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world  func() *world
		err    error // nil if the pending reload is attached to
		within time.Duration
	}{
		"never listed":            {func() *world { return &world{unlisted: func(*worldRecord) bool { return true }} }, reloads.ErrReloadPending, 35 * time.Second},
		"invalid record, too":     {func() *world { return &world{extra: `{"id":"odd-1","status":{}}`} }, nil, time.Hour + 16*time.Second},
		"filter and sort ignored": {func() *world { return &world{ignoreFilter: true, ignoreSort: true} }, nil, time.Hour + 16*time.Second},
		"empty first page": {func() *world {
			return &world{instead: func(r *http.Request) outcome {
				if isList(r) && r.URL.Query().Get("next") == "" {
					return respond(200, pageJSON(`{"next":{"href":"?`+r.URL.RawQuery+`&next=0"}}`))
				}
				return nil
			}}
		}, nil, time.Hour + 16*time.Second},
		"list is forbidden": {func() *world {
			return &world{instead: func(r *http.Request) outcome {
				if isList(r) {
					return respond(403, "")
				}
				return nil
			}}
		}, reloads.ErrForbidden, time.Second},
		"list fails": {func() *world {
			return &world{instead: func(r *http.Request) outcome {
				if isList(r) {
					return respond(500, "")
				}
				return nil
			}}
		}, reloads.ErrServer, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := c.world()
				w.latency, w.lasts = 20*time.Millisecond, func(app string) time.Duration {
					return map[string]time.Duration{"app": time.Hour, "other": time.Second}[app]
				}
				client := scriptedClient(t, w)
				pending := w.triggerForeign(worldRecord{app: "app"}, 0)
				began := time.Now()
				for r := range client.RunAll(t.Context(), requestsFor("app", "other"), reloads.AttachToPending()) {
					took := time.Since(began)
					switch attached := r.Reload != nil && r.Reload.ID == pending.id; {
					case r.Request.AppID == "other":
						if r.Err != nil || took > 5*time.Second {
							t.Errorf("other: got %v after %v", r.Err, took)
						}
					case !errors.Is(r.Err, c.err) || c.err != nil && !errors.Is(r.Err, reloads.ErrReloadPending) || attached != (c.err == nil):
						t.Errorf("got %v, %v, want the pending reload, or %v", r.Reload, r.Err, c.err)
					case took > c.within:
						t.Errorf("it took %v, want at most %v", took, c.within)
					}
				}
				posts := slices.Compact(w.postTimes()) // the other app is triggered at the time of the first one
				if len(posts) > 5 {
					t.Errorf("%d triggers were sent, want at most 5", len(posts))
				}
				for i := range len(posts) - 1 {
					if gap := posts[i+1].Sub(posts[i]); gap < 250*time.Millisecond {
						t.Errorf("two triggers were sent within %v", gap)
					}
				}
				if n := len(w.own()); n != 1 {
					t.Errorf("%d reloads were made, want one, of the other app", n)
				}
			})
		})
	}
}

// The Retry-After of a poll of the pending reload is the pause of all reads of the batch.
func TestPollOfPendingReloadHonorsRetryAfter(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]reloads.RunOption{"AttachToPending": reloads.AttachToPending(), "AfterPending": reloads.AfterPending()} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{latency: 20 * time.Millisecond, runFor: 10 * time.Minute}
			w.triggerForeign(worldRecord{app: "app"}, 0)
			var refused time.Time
			w.instead = func(r *http.Request) outcome {
				if !isGet(r) || !refused.IsZero() {
					return nil
				}
				refused = time.Now()
				return respond(http.StatusServiceUnavailable, "", "Retry-After", "60")
			}
			for r := range scriptedClient(t, w).RunAll(t.Context(), requestsFor("app", "other"), opt) {
				if r.Err != nil {
					t.Errorf("%s: %v", name, r.Err)
				}
			}
			for _, r := range w.sent() {
				if after := r.began.Sub(refused); r.method == http.MethodGet && after > 0 && after < time.Minute {
					t.Errorf("%s: GET %s?%s %v after a poll got a 503 with Retry-After: 60", name, r.path, r.query, after)
				}
			}
		})
	}
}

func TestCancelOnAbort(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script reloadstest.App
		faults []reloadstest.Fault
		opts   []reloads.RunOption
		status reloads.Status // of the returned reload
		also   error
		inside reloads.Status // in the tenant
	}{
		"queued":  {reloadstest.App{QueueFor: time.Hour}, nil, []reloads.RunOption{reloads.CancelOnAbort()}, reloads.StatusCanceled, reloads.ErrReloadCanceled, reloads.StatusCanceled},
		"running": {reloadstest.App{RunFor: time.Hour, CancelFor: time.Minute}, nil, []reloads.RunOption{reloads.CancelOnAbort()}, reloads.StatusCanceling, nil, reloads.StatusCanceling},
		"succeeded before the cancel": {reloadstest.App{RunFor: 61 * time.Second}, []reloadstest.Fault{{Operation: reloadstest.Cancel, Delay: 5 * time.Second}},
			[]reloads.RunOption{reloads.CancelOnAbort()}, reloads.StatusSucceeded, nil, reloads.StatusSucceeded},
		"failed before the cancel": {reloadstest.App{RunFor: 61 * time.Second, Outcome: reloads.StatusFailed},
			[]reloadstest.Fault{{Operation: reloadstest.Cancel, Delay: 5 * time.Second}},
			[]reloads.RunOption{reloads.CancelOnAbort()}, reloads.StatusFailed, reloads.ErrReloadFailed, reloads.StatusFailed},
		"not found": {reloadstest.App{RunFor: time.Hour}, []reloadstest.Fault{{Operation: reloadstest.Cancel, Status: 404, Times: -1}},
			[]reloads.RunOption{reloads.CancelOnAbort()}, reloads.StatusReloading, reloads.ErrNotFound, reloads.StatusReloading},
		"no response": {reloadstest.App{RunFor: time.Hour}, []reloadstest.Fault{{Operation: reloadstest.Cancel, Delay: time.Hour, Times: -1}},
			[]reloads.RunOption{reloads.CancelOnAbort()}, reloads.StatusReloading, context.DeadlineExceeded, reloads.StatusReloading},
		"without CancelOnAbort": {reloadstest.App{RunFor: time.Hour}, nil, nil, reloads.StatusReloading, nil, reloads.StatusReloading},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(c.script)
				tenant.Inject(c.faults...)
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(time.Minute, cancel).Stop()
				began := time.Now()
				reload, err := tenant.NewClient(defaultPolling).Run(ctx, reloads.Request{AppID: "app"}, c.opts...)
				if c.status == reloads.StatusSucceeded {
					if err != nil {
						t.Errorf("got %v for a reload that succeeded", err)
					}
				} else if !errors.Is(err, context.Canceled) || c.also != nil && !errors.Is(err, c.also) {
					t.Errorf("got %v, want Canceled and %v", err, c.also)
				}
				if reload == nil || reload.Status != c.status {
					t.Errorf("got the reload %+v, want it %s", reload, c.status)
				}
				if took := time.Since(began); took > 70*time.Second {
					t.Errorf("it took %v, want at most 10 s after the context ended", took)
				}
				if got := tenant.Reloads()[0].Status; got != c.inside {
					t.Errorf("the tenant has the status %s, want %s", got, c.inside)
				}
			})
		})
	}
}

// A reload that somebody else triggered is not canceled.
func TestCancelOnAbortSparesAttachedReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Hour})
		tenant.Trigger("app", reloads.Reload{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		reload, err := tenant.NewClient().Run(ctx, reloads.Request{AppID: "app"}, reloads.AttachToPending(), reloads.CancelOnAbort())
		if !errors.Is(err, context.DeadlineExceeded) || reload == nil || countRequests(tenant, reloadstest.Cancel) != 0 {
			t.Errorf("got %v, %v and %d cancels", reload, err, countRequests(tenant, reloadstest.Cancel))
		}
	})
}

func TestRunAllAttachesAndCancels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Hour})
		tenant.AddApp("other", reloadstest.App{QueueFor: time.Hour})
		theirs, _ := tenant.Trigger("app", reloads.Reload{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		results := 0
		for r := range tenant.NewClient().RunAll(ctx, requestsFor("app", "other"), reloads.AttachToPending(), reloads.CancelOnAbort()) {
			results++
			want := reloads.StatusCanceled
			if r.Request.AppID == "app" {
				want = reloads.StatusReloading
				if r.Reload.ID != theirs.ID {
					t.Errorf("attached to %s, want the pending reload", r.Reload.ID)
				}
			}
			if !errors.Is(r.Err, context.DeadlineExceeded) || r.Reload.Status != want {
				t.Errorf("%s: got %s with %v, want %s", r.Request.AppID, r.Reload.Status, r.Err, want)
			}
		}
		if results != 2 {
			t.Errorf("got %d results, want 2", results)
		}
	})
}

func TestOnChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{QueueFor: 10 * time.Second, RunFor: time.Minute})
		tenant.AddApp("other", reloadstest.App{QueueFor: 20 * time.Second, RunFor: time.Minute, Outcome: reloads.StatusFailed})
		tenant.AddApp("instant", reloadstest.App{})
		seen := map[string][]reloads.Status{}
		note := reloads.OnChange(func(req reloads.Request, r *reloads.Reload) { seen[req.AppID] = append(seen[req.AppID], r.Status) })
		client := tenant.NewClient(defaultPolling)
		for range client.RunAll(t.Context(), requestsFor("app", "other", "instant"), note, reloads.OnChange(nil)) {
		}
		want := map[string][]reloads.Status{
			"app":     {reloads.StatusQueued, reloads.StatusReloading, reloads.StatusSucceeded},
			"other":   {reloads.StatusQueued, reloads.StatusReloading, reloads.StatusFailed},
			"instant": {reloads.StatusSucceeded},
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("RunAll (-want +got):\n%s", diff)
		}
		clear(seen)
		if _, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, note); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want["app"], seen["app"]); diff != "" {
			t.Errorf("Run (-want +got):\n%s", diff)
		}
	})
}

// A record without an end that cannot be pending any more is not attached to: it was created too long ago, or a newer
// reload of the app has finished.
func TestAttachToPendingIgnoresReloadsWithoutEnd(t *testing.T) {
	t.Parallel()
	for name, ages := range map[string][]time.Duration{"too old": {10 * time.Hour}, "older than a finished one": {3 * time.Hour, time.Hour, 5 * time.Hour}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(reloadstest.App{RunFor: time.Minute}, reloadstest.WithListLag(3*time.Second))
				for i, status := range []reloads.Status{reloads.StatusReloading, reloads.StatusSucceeded, reloads.StatusSucceeded}[:len(ages)] {
					tenant.AddReload(reloads.Reload{AppID: "app", Status: status, CreationTime: time.Now().Add(-ages[i])})
				}
				pending, _ := tenant.Trigger("app", reloads.Reload{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				reload, err := tenant.NewClient().Run(ctx, reloads.Request{AppID: "app"}, reloads.AttachToPending())
				if err != nil || reload.ID != pending.ID {
					t.Errorf("got %+v, %v, want the reload %s", reload, err, pending.ID)
				}
			})
		})
	}
}

// The list is behind: it shows a reload that has finished as running, and not the pending one, which somebody else
// triggered. The pending one is attached to.
func TestAttachToPendingConfirmsThatReloadIsPending(t *testing.T) {
	t.Parallel()
	for _, waited := range []bool{false, true} { // the client itself has waited for the reload that has finished
		t.Run(fmt.Sprint("waited ", waited), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const behind = 3 * time.Second
				w := &world{latency: 20 * time.Millisecond, runFor: time.Minute, listLag: behind}
				w.behind = func(*worldRecord) time.Duration { return behind }
				client := scriptedClient(t, w)
				finished := w.triggerForeign(worldRecord{app: "app"}, 0)
				time.Sleep(time.Minute)
				if waited {
					if _, err := client.Wait(t.Context(), finished.id); err != nil {
						t.Fatal(err)
					}
				}
				pending := w.triggerForeign(worldRecord{app: "app"}, 0)
				reload, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.AttachToPending())
				if err != nil || reload.ID != pending.id {
					t.Errorf("got %v, %v, want the pending reload %s, not %s", reload, err, pending.id, finished.id)
				}
			})
		})
	}
}

// goroutineID returns the number of the current goroutine.
func goroutineID() string {
	buf := make([]byte, 64)
	return strings.Fields(string(buf[:runtime.Stack(buf, false)]))[1]
}

// runs are the calls that take an OnChange. Each runs the reloads of eight apps, or of one, and calls body for each result.
var runs = map[string]func(ctx context.Context, w *world, client *reloads.Client, body func(), opts ...reloads.RunOption){
	"Run": func(ctx context.Context, _ *world, client *reloads.Client, body func(), opts ...reloads.RunOption) {
		_, _ = client.Run(ctx, reloads.Request{AppID: "app0"}, opts...)
		body()
	},
	"RunAll": func(ctx context.Context, _ *world, client *reloads.Client, body func(), opts ...reloads.RunOption) {
		for range client.RunAll(ctx, requestsFor(eightApps...), opts...) {
			body()
		}
	},
	"WaitAll": func(ctx context.Context, w *world, client *reloads.Client, body func(), opts ...reloads.RunOption) {
		for range client.WaitAll(ctx, w.foreignReloads(eightApps), opts...) {
			body()
		}
	},
}

var eightApps = []string{"app0", "app1", "app2", "app3", "app4", "app5", "app6", "app7"}

// OnChange is called by the goroutine that ranges, never concurrently, and not after the result of its reload.
func TestOnChangeRunsInRangingGoroutine(t *testing.T) {
	t.Parallel()
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{latency: 20 * time.Millisecond, queueFor: 5 * time.Second, lasts: func(app string) time.Duration {
					return time.Duration(app[3]-'0'+1) * 20 * time.Second
				}}
				var active atomic.Int32
				changes, own := 0, goroutineID()
				enter := func(what string) {
					if n := active.Add(1); n != 1 || goroutineID() != own {
						t.Errorf("%s runs in goroutine %s with %d others, want %s alone", what, goroutineID(), n-1, own)
					}
					time.Sleep(3 * time.Second)
					active.Add(-1)
				}
				run(t.Context(), w, scriptedClient(t, w), func() { enter("the body") }, reloads.OnChange(func(reloads.Request, *reloads.Reload) {
					changes++
					enter("OnChange")
				}))
				if want := 3 * len(w.all); changes < len(w.all) || changes > want {
					t.Errorf("%d changes of %d reloads, want at most 3 of each", changes, len(w.all))
				}
			})
		})
	}
}

// A panic, or runtime.Goexit as by t.FailNow, in OnChange or in the loop body ends the goroutine that ranges and nothing
// else. No goroutine remains, and nothing more is sent.
func TestGoexitAndPanicEndRun(t *testing.T) {
	t.Parallel()
	for name, run := range runs {
		for _, inBody := range []bool{false, true} {
			for _, panics := range []bool{false, true} {
				for _, at := range []int{1, 2, 5} { // changes or results
					t.Run(fmt.Sprintf("%s, in the body %v, panic %v, at %d", name, inBody, panics, at), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { // fails if a goroutine remains
							w := &world{latency: 20 * time.Millisecond, queueFor: 5 * time.Second, lasts: func(app string) time.Duration {
								return time.Duration(app[3]-'0'+1) * 20 * time.Second
							}}
							n, left := 0, "returned"
							end := func() {
								if n++; n != at {
									return
								}
								if left = "was ended"; panics {
									panic("of the test")
								}
								runtime.Goexit()
							}
							body, opts := func() {}, []reloads.RunOption{reloads.CancelOnAbort()}
							if inBody {
								body = end
							} else {
								opts = append(opts, reloads.OnChange(func(reloads.Request, *reloads.Reload) { end() }))
							}
							ended := make(chan struct{})
							var recovered any
							go func() {
								defer close(ended)
								defer func() { recovered = recover() }()
								run(t.Context(), w, scriptedClient(t, w), body, opts...)
								left = "returned"
							}()
							<-ended
							reached := n >= at // a single reload has fewer changes, and one result
							if want := map[bool]string{true: "was ended", false: "returned"}[reached]; left != want || (recovered != nil) != (reached && panics) {
								t.Errorf("the goroutine %s after %d calls, and recovered %v", left, n, recovered)
							}
							sent := w.sent()
							for _, r := range sent {
								if r.ended.IsZero() {
									t.Errorf("%s %s is still in flight", r.method, r.path)
								}
							}
							time.Sleep(time.Hour)
							if more := len(w.sent()) - len(sent); more > 0 {
								t.Errorf("%d requests after the end", more)
							}
							if canceled := w.statuses()[reloads.StatusCanceled]; canceled > 0 {
								t.Errorf("%d reloads were canceled although the context had not ended", canceled)
							}
						})
					})
				}
			}
		}
	}
}

// OnChange takes longer than the grace time. The reload is canceled after it has returned.
func TestCancelOnAbortAfterSlowOnChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{runFor: time.Hour, latency: 50 * time.Millisecond}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		slow := reloads.OnChange(func(reloads.Request, *reloads.Reload) { time.Sleep(16 * time.Second) })
		reload, err := scriptedClient(t, w).Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort(), slow)
		time.Sleep(time.Minute)
		if got := w.statuses(); !errors.Is(err, context.DeadlineExceeded) || reload == nil || got[reloads.StatusCanceled] != 1 {
			t.Errorf("got %v, %v and the statuses %v, want a canceled reload", reload, err, got)
		}
	})
}

// A new reload may not be found at once, by a cancel either.
func TestCancelOnAbortOfReloadThatIsNotFoundYet(t *testing.T) {
	t.Parallel()
	for name, run := range runs {
		if name == "WaitAll" {
			continue // it cancels nothing
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				w := &world{runFor: time.Hour, latency: 20 * time.Millisecond, instead: func(r *http.Request) outcome {
					if (isGet(r) || isCancel(r)) && time.Since(began) < 3*time.Second {
						return respond(http.StatusNotFound, "")
					}
					return nil
				}}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				run(ctx, w, scriptedClient(t, w), func() {}, reloads.CancelOnAbort())
				time.Sleep(time.Minute)
				if got := w.statuses(); got[reloads.StatusCanceled] == 0 || len(got) != 1 {
					t.Errorf("got the statuses %v, want all CANCELED", got)
				}
			})
		})
	}
}

// The list is behind. A reload that this client saw finish is not attached to.
func TestAttachToPendingIgnoresReloadThatWasSeenToFinish(t *testing.T) {
	t.Parallel()
	const runFor, behind = 10 * time.Second, 5 * time.Second
	for name, run := range map[string]func(context.Context, *reloads.Client) (ids []string){
		"RunAll": func(ctx context.Context, client *reloads.Client) (ids []string) {
			for r := range client.RunAll(ctx, requestsFor("app", "app"), reloads.AttachToPending()) {
				ids = append(ids, r.Reload.ID)
			}
			return ids
		},
		"Run": func(ctx context.Context, client *reloads.Client) (ids []string) {
			for range 2 {
				r, _ := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.AttachToPending())
				ids = append(ids, r.ID)
			}
			return ids
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				first := func(behind time.Duration) string {
					if time.Since(began) < runFor+behind {
						return recordText("first", "app", reloads.StatusReloading, began)
					}
					return recordText("first", "app", reloads.StatusSucceeded, began)
				}
				s := &scriptedService{latency: 20 * time.Millisecond}
				s.trigger = func(n int, _ string) (int, string) {
					switch {
					case n == 0:
						return http.StatusCreated, first(0)
					case time.Since(began) < runFor+behind:
						return http.StatusTooManyRequests, testdata(t, "error_429_pending.json")
					}
					return http.StatusCreated, recordText("second", "app", reloads.StatusSucceeded, time.Now())
				}
				s.list = func(*http.Request) (int, string) { return http.StatusOK, listText(first(behind)) }
				s.get = func(string) (int, string) { return http.StatusOK, first(0) }
				if ids := run(t.Context(), scriptedClient(t, s)); !slices.Equal(ids, []string{"first", "second"}) {
					t.Errorf("got the reloads %q, want the first and the second", ids)
				}
			})
		})
	}
}

// The service ignores the appId of the list. The pending reload of another app is not attached to.
func TestAttachToPendingIgnoresReloadsOfOtherApps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		foreign := recordText("foreign", "other", reloads.StatusReloading, time.Now())
		s := &scriptedService{latency: 20 * time.Millisecond}
		s.trigger = func(int, string) (int, string) {
			return http.StatusTooManyRequests, testdata(t, "error_429_pending.json")
		}
		s.list = func(*http.Request) (int, string) { return http.StatusOK, listText(foreign) }
		s.get = func(string) (int, string) { return http.StatusOK, foreign }
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		reload, err := scriptedClient(t, s).Run(ctx, reloads.Request{AppID: "app"}, reloads.AttachToPending())
		if reload != nil || !errors.Is(err, reloads.ErrReloadPending) {
			t.Errorf("got %v, %v, want ErrReloadPending", reload, err)
		}
	})
}

// The first list shows a later state than a record that arrives after it. OnChange never receives an earlier state than
// before, and the result has the most recent one.
func TestOnChangeReceivesNoEarlierState(t *testing.T) {
	t.Parallel()
	for name, get := range map[string]func(*reloads.Reload) (int, string){
		"the polls are behind": func(r *reloads.Reload) (int, string) {
			return http.StatusOK, recordText(r.ID, r.AppID, reloads.StatusQueued, r.CreationTime)
		},
		"the polls fail": func(*reloads.Reload) (int, string) { return http.StatusForbidden, "" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				rs := map[string]*reloads.Reload{}
				var all []*reloads.Reload
				var running []string
				for _, app := range eightApps {
					r := &reloads.Reload{ID: "of-" + app, AppID: app, Status: reloads.StatusQueued, CreationTime: began}
					rs[r.ID], all = r, append(all, r)
					running = append(running, recordText(r.ID, app, reloads.StatusReloading, began, "startTime", began.UTC()))
				}
				// Only the polls take long, so their responses are older than those of the lists.
				s := &scriptedService{list: func(r *http.Request) (int, string) {
					if strings.Contains(r.URL.Query().Get("filter"), "RELOADING") {
						return http.StatusOK, listText(running...)
					}
					return http.StatusOK, emptyPage
				}}
				wire := outcome(func(r *http.Request) (*http.Response, error) {
					if !isGet(r) {
						return s.RoundTrip(r)
					}
					time.Sleep(20 * time.Second)
					status, body := get(rs[strings.TrimPrefix(r.URL.Path, "/api/v1/reloads/")])
					return respond(status, body)(r)
				})
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				last := map[string]reloads.Status{}
				for r := range scriptedClient(t, wire).WaitAll(ctx, all, reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
					if last[r.ID] == reloads.StatusReloading {
						t.Errorf("%s: OnChange received %s after RELOADING", r.ID, r.Status)
					}
					last[r.ID] = r.Status
				})) {
					if r.Reload.Status != reloads.StatusReloading || last[r.Reload.ID] != reloads.StatusReloading {
						t.Errorf("%s: the result is %s, OnChange received %s, want RELOADING", r.Reload.ID, r.Reload.Status, last[r.Reload.ID])
					}
				}
			})
		})
	}
}

// A poll that is slower than the list brings an earlier state after the reload has finished. OnChange does not receive it.
func TestOnChangeReceivesNothingAfterResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 20 * time.Millisecond, lasts: func(app string) time.Duration {
			if app == "app0" {
				return 30 * time.Second
			}
			return 2 * time.Minute
		}}
		w.instead = func(r *http.Request) outcome {
			if !isGet(r) {
				return nil
			}
			return func(r *http.Request) (*http.Response, error) {
				w.mu.Lock()
				resp, err := w.get(r, path.Base(r.URL.Path))
				w.mu.Unlock()
				time.Sleep(8 * time.Second) // the state is that old
				return resp, err
			}
		}
		done := map[string]bool{}
		onChange := reloads.OnChange(func(req reloads.Request, r *reloads.Reload) {
			if done[req.AppID] {
				t.Errorf("%s: OnChange received %s after the result", req.AppID, r.Status)
			}
		})
		for r := range scriptedClient(t, w).RunAll(t.Context(), requestsFor(eightApps[:5]...), onChange) {
			done[r.Request.AppID] = true
		}
		if len(done) != 5 {
			t.Errorf("%d results, want 5", len(done))
		}
	})
}

// The batch attaches to a reload before the response names it as its own. It is canceled nevertheless.
func TestCancelOnAbortOfOwnReloadThatWasAttachedTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const queued = `{"id":"r1","status":"QUEUED"}`
		var triggers, cancels atomic.Int32
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			switch {
			case isCancel(r):
				cancels.Add(1)
				return respond(202, `{"status":"CANCELING"}`)(r)
			case isTrigger(r) && triggers.Add(1) > 1:
				return respond(429, `{"errors":[{"code":"RELOADS-007","title":"pending"}]}`)(r)
			case isTrigger(r):
				time.Sleep(3 * time.Second)
				return respond(201, queued)(r)
			case isList(r):
				return respond(200, `{"data":[`+queued+`]}`)(r)
			}
			return respond(200, queued)(r)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		results := 0
		for range client.RunAll(ctx, requestsFor("app", "APP"), reloads.AttachToPending(), reloads.CancelOnAbort()) {
			results++
		}
		if results != 2 || cancels.Load() != 1 {
			t.Errorf("%d results and %d cancels, want 2 and 1", results, cancels.Load())
		}
	})
}

// The lists and polls of attaching count against the budget of the batch, whatever they return.
func TestAttachToPendingKeepsBudget(t *testing.T) {
	t.Parallel()
	for name, instead := range map[string]func(began time.Time) func(r *http.Request) outcome{
		"GET fails": func(began time.Time) func(r *http.Request) outcome {
			return func(r *http.Request) outcome {
				if isGet(r) && time.Since(began) < 3*time.Minute {
					return respond(503, "")
				}
				return nil
			}
		},
		"rate limit": func(began time.Time) func(r *http.Request) outcome {
			return func(r *http.Request) outcome {
				if !isTrigger(r) && time.Since(began) > time.Minute && time.Since(began) < 70*time.Second {
					return respond(429, `{"errors":[{"code":"HTTP-429"}]}`, "Retry-After", "60")
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name != "GET fails" {
				skipInShortMode(t)
			}
			synctest.Test(t, func(t *testing.T) {
				w := &world{latency: 50 * time.Millisecond, runFor: time.Minute}
				var apps []string
				for i := range 400 {
					apps = append(apps, fmt.Sprint("app", i))
					w.triggerForeign(worldRecord{app: apps[i]}, 4*time.Minute)
				}
				faults := instead(time.Now())
				w.instead = func(r *http.Request) outcome {
					if isList(r) && r.URL.Query().Get("appId") == "" {
						return respond(403, "") // the token may not list the tenant
					}
					return faults(r)
				}
				client := scriptedClient(t, w, reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(1, 0)}))
				began := time.Now()
				for r := range client.RunAll(t.Context(), requestsFor(apps...), reloads.AttachToPending()) {
					if r.Err != nil {
						t.Errorf("%s: %v", r.Request.AppID, r.Err)
					}
				}
				var reads []time.Duration
				for _, r := range w.sent() {
					if r.method == http.MethodGet {
						reads = append(reads, r.began.Sub(began))
					}
				}
				if n := maxInWindow(reads, time.Minute); n > reloads.Tier1PerMinute*8/10 {
					t.Errorf("%d reads in a minute, want at most 800", n)
				}
			})
		})
	}
}

// A pending reload that cannot be found by its ID is not pending.
func TestAttachToPendingIgnoresDeletedReload(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Second, latency: 50 * time.Millisecond}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		deleted := w.triggerForeign(worldRecord{app: "app"}, 10*time.Second)
		delete(w.byID, deleted.id)
		if r, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.AttachToPending()); err != nil || r.ID == deleted.id {
			t.Errorf("got %v, %v, want a reload of its own", r, err)
		}
	})
}
