package reloads_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// countOwnReloads returns how many reloads of the app were made by a client, not by somebody else.
func countOwnReloads(tenant *reloadstest.Tenant, app string) (n int) {
	for _, r := range tenant.Reloads() {
		if r.AppID == app && r.UserID != "SomebodyElse" {
			n++
		}
	}
	return n
}

func TestTriggerCreatesOneReloadDespiteFaults(t *testing.T) {
	t.Parallel()
	const timeout = 20 * time.Second
	faults := map[string][]reloadstest.Fault{
		"lost before it took effect":         {{LoseBefore: true}},
		"lost after it took effect":          {{LoseAfter: true}},
		"lost before, three times":           {{LoseBefore: true, Times: 3}},
		"responded too late":                 {{DelayAnswer: time.Minute}},
		"took effect too late":               {{EffectAfter: timeout + 5*time.Second}},
		"took effect after the retry":        {{EffectAfter: timeout + 31*time.Second}},
		"took effect during the retry":       {{EffectAfter: timeout + 30500*time.Millisecond}, {Delay: time.Second}},
		"500 without an effect":              {{Status: 500}},
		"502 without an effect":              {{Status: 502, Body: "<html>"}},
		"503 without an effect":              {{Status: 503}},
		"503 with Retry-After":               {{Status: 503, Header: http.Header{"Retry-After": {"7"}}}},
		"504 without an effect":              {{Status: 504}},
		"its response is truncated":          {{CutBody: 7}},
		"lost after, lists fail for a while": {{Operation: reloadstest.Trigger, LoseAfter: true}, {Operation: reloadstest.List, Status: 500, Times: 8}},
	}
	for name, faults := range faults {
		for _, offset := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
			for _, finished := range []bool{false, true} { // the reload has finished before the client lists it
				t.Run(fmt.Sprintf("%s, offset %v, finished %v", name, offset, finished), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						script := reloadstest.App{QueueFor: time.Second, RunFor: time.Hour}
						if finished {
							script = reloadstest.App{}
							if strings.Contains(name, "the retry") {
								return // no client can prevent a second reload here, see the package documentation
							}
						}
						tenant := newTenant(script, reloadstest.WithClockSkew(offset))
						tenant.AddReload(reloads.Reload{
							AppID: "app", Type: reloads.TypeExternal, UserID: "SomebodyElse", Status: reloads.StatusSucceeded,
							CreationTime: time.Now().Add(offset - 4*time.Second),
						})
						for i := range faults {
							if faults[i].Operation == "" {
								faults[i].Operation = reloadstest.Trigger
							}
						}
						tenant.Inject(faults...)
						client := tenant.NewClient(reloads.WithAttemptTimeout(timeout))
						reload, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
						if err != nil || reload.UserID == "SomebodyElse" {
							t.Errorf("got %+v, %v", reload, err)
						}
						time.Sleep(10 * time.Minute)
						if n := countOwnReloads(tenant, "app"); n != 1 {
							t.Errorf("%d reloads were made, want 1", n)
						}
					})
				})
			}
		}
	}
}

// An earlier reload that is still pending is not adopted.
func TestTriggerDoesNotAdoptEarlierReload(t *testing.T) {
	t.Parallel()
	for _, ago := range []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second, time.Minute} {
		for _, offset := range []time.Duration{0, 5*time.Minute + 123*time.Millisecond, -5 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(777 * time.Millisecond)
				tenant := newTenant(reloadstest.App{RunFor: time.Hour}, reloadstest.WithClockSkew(offset))
				earlier, _ := tenant.Trigger("app", reloads.Reload{Type: reloads.TypeExternal})
				time.Sleep(ago)
				tenant.Inject(reloadstest.Fault{Operation: reloadstest.Trigger, LoseAfter: true}) // loses a 429
				reload, err := tenant.NewClient().Trigger(t.Context(), reloads.Request{AppID: "app"})
				if reload != nil || !errors.Is(err, reloads.ErrOutcomeUnknown) {
					t.Errorf("%v after %s, offset %v: got %v, %v, want ErrOutcomeUnknown", ago, earlier.ID, offset, reload, err)
				}
				if n := len(tenant.Reloads()); n != 1 {
					t.Errorf("%v after %s, offset %v: %d reloads", ago, earlier.ID, offset, n)
				}
			})
		}
	}
}

func TestTriggerOutcomeStaysUnknown(t *testing.T) {
	t.Parallel()
	noDate := http.Header{"Date": {""}}
	for name, c := range map[string]struct {
		faults []reloadstest.Fault
		also   error
	}{
		"all lists fail":        {[]reloadstest.Fault{{Operation: reloadstest.List, LoseBefore: true, Times: -1}}, nil},
		"lists are forbidden":   {[]reloadstest.Fault{{Operation: reloadstest.List, Status: 403, Times: -1}}, reloads.ErrForbidden},
		"the retry is refused":  {[]reloadstest.Fault{{Operation: reloadstest.Trigger, Status: 403, Times: -1}}, reloads.ErrForbidden},
		"all attempts are lost": {[]reloadstest.Fault{{Operation: reloadstest.Trigger, LoseBefore: true, Times: -1}}, nil},
		"no Date header and a possible candidate": {[]reloadstest.Fault{{
			Operation: reloadstest.List, Status: 200, Header: noDate, Times: -1,
			Body: `{"data":[{"id":"1","appId":"app","type":"external","status":"SUCCEEDED","creationTime":"2000-01-01T00:00:00Z"}],"links":{}}`,
		}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(reloadstest.App{})
				tenant.Inject(reloadstest.Fault{Operation: reloadstest.Trigger, LoseBefore: true})
				tenant.Inject(c.faults...)
				_, err := tenant.NewClient().Trigger(t.Context(), reloads.Request{AppID: "app"})
				if !errors.Is(err, reloads.ErrOutcomeUnknown) || c.also != nil && !errors.Is(err, c.also) {
					t.Errorf("got %v, want ErrOutcomeUnknown and %v", err, c.also)
				}
			})
		})
	}
}

func TestTriggerOutcomeUnknownWhenContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{})
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.Trigger, DelayAnswer: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := tenant.NewClient().Trigger(ctx, reloads.Request{AppID: "app"})
		if !errors.Is(err, reloads.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an error that is both ErrOutcomeUnknown and DeadlineExceeded", err)
		}
	})
}

// A unique ResourceID identifies the reload.
func TestTriggerFindsItsReloadByResourceID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{})
		for _, id := range []string{"run-41", "run-43"} {
			tenant.AddReload(reloads.Reload{AppID: "app", Type: reloads.TypeExternal, ResourceID: id, UserID: "SomebodyElse", Status: reloads.StatusSucceeded})
		}
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.Trigger, LoseAfter: true})
		reload, err := tenant.NewClient().Trigger(t.Context(), reloads.Request{AppID: "app", ResourceID: "run-42"})
		if err != nil || reload.ResourceID != "run-42" || countOwnReloads(tenant, "app") != 1 {
			t.Errorf("got %+v, %v", reload, err)
		}
	})
}

func TestTriggerLogsReconciliation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{})
		tenant.Inject(
			reloadstest.Fault{Operation: reloadstest.Trigger, LoseBefore: true},
			reloadstest.Fault{Operation: reloadstest.Trigger, LoseAfter: true},
		)
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if _, err := tenant.NewClient(reloads.WithLogger(logger)).Trigger(t.Context(), reloads.Request{AppID: "app"}); err != nil {
			t.Fatal(err)
		}
		var steps []string
		for line := range strings.Lines(log.String()) {
			if !strings.Contains(line, "level=WARN") || !strings.Contains(line, "app=app") {
				t.Errorf("the line is %s", line)
			}
			for _, step := range []string{"outcome of the trigger is unknown", "had no effect", "was found"} {
				if strings.Contains(line, step) {
					steps = append(steps, step)
				}
			}
		}
		if got, want := strings.Join(steps, ", "), "outcome of the trigger is unknown, had no effect, outcome of the trigger is unknown, was found"; got != want {
			t.Errorf("logged: %s\nwant: %s", got, want)
		}
	})
}

// Over real connections, a trigger that was never sent is distinguished from one that may have been received.
func TestTriggerOverLostConnections(t *testing.T) {
	t.Parallel()
	client, err := reloads.NewClient("http://"+closedPort(t), reloads.APIKey(testToken), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 2, MinBackoff: 1, MaxBackoff: 2}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Trigger(t.Context(), reloads.Request{AppID: "app"})
	if err == nil || errors.Is(err, reloads.ErrOutcomeUnknown) {
		t.Errorf("a closed port: %v", err)
	}

	url, requests := gateway(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusForbidden) // the token is not allowed to list
			return
		}
		panic(http.ErrAbortHandler)
	})
	if client, err = reloads.NewClient(url, reloads.APIKey(testToken)); err != nil {
		t.Fatal(err)
	}
	_, err = client.Trigger(t.Context(), reloads.Request{AppID: "app"})
	if !errors.Is(err, reloads.ErrOutcomeUnknown) || requests.count("POST") != 1 {
		t.Errorf("a lost connection: sent %d times, %v", requests.count("POST"), err)
	}
	if text := fmt.Sprint(err); !strings.Contains(text, "EOF") {
		t.Errorf("%v does not contain the cause", err)
	}
}

// closedPort returns an address that refuses connections. Nobody else can listen on it before the end of the test, because
// it is that of a socket that is connected to another one.
func closedPort(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

// plannedFault is a value in the context of a trigger: the fault of its first POST.
type plannedFault struct {
	fault int
	used  atomic.Bool
}

type plannedFaultKey struct{}

// The Date of a list from a cache does not make an earlier reload of somebody else look like the triggered one.
func TestCacheDoesNotMoveTheClock(t *testing.T) {
	t.Parallel()
	for i := range 50 {
		synctest.Test(t, func(t *testing.T) {
			lost := postPlan{noEffect: true, lost: true}
			w := &world{latency: 10 * time.Millisecond, planPost: func() postPlan { defer func() { lost = postPlan{} }(); return lost }}
			c := &cache{world: w, keeps: []time.Duration{1500 * time.Millisecond, 3 * time.Second}[i%2], kept: map[string]cachedList{}}
			time.Sleep(time.Duration(1+137*i%999) * time.Millisecond)
			foreign := w.triggerForeign(worldRecord{app: "app"}, 100*time.Millisecond)
			time.Sleep(time.Duration(250+29*i%650) * time.Millisecond)
			r, err := scriptedClient(t, c).Trigger(t.Context(), reloads.Request{AppID: "app"})
			if err == nil && r.ID == foreign.id {
				t.Errorf("case %d: got the reload of somebody else", i)
			}
		})
	}
}

// A list from a cache proves nothing about a trigger whose response was lost.
func TestLostTriggerWithCache(t *testing.T) {
	t.Parallel()
	for _, honors := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := &cache{world: &world{listLag: 500 * time.Millisecond, everyPost: postPlan{lost: true}}, keeps: time.Minute, honors: honors, kept: map[string]cachedList{}}
			r, err := scriptedClient(t, c).Trigger(t.Context(), reloads.Request{AppID: "app"})
			if n := len(c.postTimes()); n != 1 || errors.Is(err, reloads.ErrOutcomeUnknown) == honors {
				t.Errorf("honors %v: got %v, %v after %d triggers, want 1", honors, r, err, n)
			}
		})
	}
}

// Ten thousand apps are triggered. A fifth of the triggers has a fault, and a fifth follows a reload of somebody else.
// No reload is lost, none is made twice, and no reload of somebody else is adopted. An outcome stays unknown where that
// reload was made up to two seconds before.
func TestManyTriggersWithFaults(t *testing.T) {
	skipInShortMode(t)
	t.Parallel()
	const apps, timeout = 10_000, 20 * time.Second
	faults := []reloadstest.Fault{
		{LoseBefore: true}, {LoseAfter: true}, {DelayAnswer: time.Hour}, {EffectAfter: timeout + 10*time.Second},
		{Status: 500}, {Status: 502}, {Status: 503}, {Status: 503, Header: http.Header{"Retry-After": {"3"}}}, {Status: 504}, {CutBody: 20},
	}
	for i := range faults {
		faults[i].Operation, faults[i].Times = reloadstest.Trigger, -1
		faults[i].Match = func(r *http.Request) bool {
			c, _ := r.Context().Value(plannedFaultKey{}).(*plannedFault)
			return c != nil && c.fault == i && !c.used.Swap(true)
		}
	}
	for _, offset := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		t.Run(offset.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(offset), 1))
				tenant := reloadstest.NewTenant(reloadstest.WithClockSkew(offset), reloadstest.WithMetering(reloadstest.SlidingWindow, 0))
				tenant.Inject(faults...)
				client := tenant.NewClient(unmetered, reloads.WithAttemptTimeout(timeout))
				var hit, refused, unknown atomic.Int64
				var wg sync.WaitGroup
				for i := range apps {
					ctx := t.Context()
					if random.IntN(5) == 0 {
						ctx = context.WithValue(ctx, plannedFaultKey{}, &plannedFault{fault: random.IntN(len(faults))})
						hit.Add(1)
					}
					start := time.Duration(random.Int64N(int64(time.Hour)))
					before := time.Duration(100+random.IntN(5000)) * time.Millisecond
					foreign := random.IntN(5) == 0
					app := fmt.Sprint("app", i)
					tenant.AddApp(app, reloadstest.App{RunFor: time.Duration(random.IntN(60)) * time.Second})
					wg.Go(func() {
						time.Sleep(start)
						if foreign {
							tenant.Trigger(app, reloads.Reload{Type: reloads.TypeExternal})
						}
						time.Sleep(before)
						reload, err := client.Trigger(ctx, reloads.Request{AppID: app})
						switch {
						case foreign && errors.Is(err, reloads.ErrReloadPending):
							refused.Add(1)
						case errors.Is(err, reloads.ErrOutcomeUnknown):
							unknown.Add(1)
						case err != nil:
							t.Errorf("%s is lost: %v", app, err)
						case reload.UserID == "SomebodyElse":
							t.Errorf("%s: somebody else's reload was adopted", app)
						}
					})
				}
				wg.Wait()
				time.Sleep(time.Hour)
				made := map[string]int{}
				for _, r := range tenant.Reloads() {
					if r.UserID != "SomebodyElse" {
						if made[r.AppID]++; made[r.AppID] > 1 {
							t.Errorf("%s was reloaded twice", r.AppID)
						}
					}
				}
				if n := len(made) + int(refused.Load()); n > apps || n+int(unknown.Load()) < apps || unknown.Load() > apps/50 {
					t.Errorf("%d reloads of %d, %d outcomes unknown", n, apps, unknown.Load())
				}
				t.Logf("%d with a fault, %d reloaded, %d refused because of a pending reload, %d outcomes unknown", hit.Load(), len(made), refused.Load(), unknown.Load())
			})
		})
	}
}

// newWorld returns the world, by default with a latency of 5 ms, and a client that waits for no rate limit.
func newWorld(t *testing.T, w *world, opts ...reloads.Option) (*world, *reloads.Client) {
	t.Helper()
	if w.latency == 0 {
		w.latency = 5 * time.Millisecond
	}
	opts = append([]reloads.Option{unmetered, reloads.WithAttemptTimeout(20 * time.Second)}, opts...)
	return w, scriptedClient(t, w, opts...)
}

// lostBefore and lostAfter are triggers without a response, before and after they took effect.
var (
	lostBefore = postPlan{noEffect: true}
	lostAfter  = postPlan{lost: true}
)

// A creationTime in whole seconds or hundredths is earlier than the trigger itself, but is not that of an earlier reload.
func TestTriggerFindsReloadWithCoarseCreationTime(t *testing.T) {
	t.Parallel()
	for _, precision := range []time.Duration{time.Second, 10 * time.Millisecond} {
		for _, calibrated := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, calibrated %v", precision, calibrated), func(t *testing.T) {
				for phase := time.Duration(0); phase < time.Second; phase += 49 * time.Millisecond {
					synctest.Test(t, func(t *testing.T) {
						w, client := newWorld(t, &world{precision: precision, dateOffset: 3 * time.Minute, latency: time.Millisecond})
						if calibrated {
							w.calibrate(t, client)
						}
						time.Sleep(phase)
						got := w.trigger(t, client, reloads.Request{AppID: "app"}, lostAfter)
						got.returnsOwn(t)
						got.sent(t, 1)
					})
				}
			})
		}
	}
}

// The clock of the records may be behind that of the Date header. Until the client knows how far, the outcome is unknown.
func TestTriggerFindsReloadWhenRecordClockIsBehind(t *testing.T) {
	t.Parallel()
	for _, behind := range []time.Duration{80 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second} {
		for _, calibrated := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, calibrated %v", behind, calibrated), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, client := newWorld(t, &world{recordOffset: -behind, dateOffset: -2 * time.Minute})
					if calibrated {
						w.calibrate(t, client)
					}
					got := w.trigger(t, client, reloads.Request{AppID: "app"}, lostAfter)
					if calibrated {
						got.returnsOwn(t)
					} else {
						got.returnsOwnOrUnknown(t, true)
					}
					got.sent(t, 1)
				})
			})
		}
	}
}

// A field that the list lacks is not a contradiction, and neither is the type.
func TestTriggerFindsReloadWithMissingFields(t *testing.T) {
	t.Parallel()
	partial := reloads.Request{AppID: "app", Partial: true}
	identified := reloads.Request{AppID: "app", Partial: true, ResourceID: "run-42"}
	for name, c := range map[string]struct {
		world *world
		req   reloads.Request
	}{
		"without partial":                       {&world{omitListed: []string{"partial"}}, partial},
		"without partial, with the ResourceID":  {&world{omitListed: []string{"partial"}}, identified},
		"without any optional field":            {&world{omitListed: []string{"partial", "resourceId", "type", "links"}}, identified},
		"the 201 lacks them, too":               {&world{omitListed: []string{"partial", "resourceId"}, omitCreated: []string{"partial", "resourceId"}}, identified},
		"the type is hub":                       {&world{kind: reloads.TypeHub}, reloads.Request{AppID: "app"}},
		"the type is chronos":                   {&world{kind: reloads.TypeChronos}, reloads.Request{AppID: "app"}},
		"the type is chronos, with ResourceID":  {&world{kind: reloads.TypeChronos}, identified},
		"the type is hub, with a resource type": {&world{kind: reloads.TypeHub}, reloads.Request{AppID: "app", ResourceID: "run-42", ResourceType: reloads.ResourceTypeTasks}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client := newWorld(t, c.world)
				got := w.trigger(t, client, c.req, lostAfter)
				got.returnsOwn(t)
				got.sent(t, 1)
			})
		})
	}
}

// A reload that contradicts the request in a field that both state is not returned. It may still be the triggered one,
// because the service may replace a field, so the trigger is not retried.
func TestTriggerDoesNotReturnContradictingReload(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		foreign worldRecord
		extra   string
		earlier reloads.Request // triggered before, unless it is the zero value
	}{
		"partial":    {foreign: worldRecord{app: "app", partial: false, resourceID: "run-42"}},
		"resourceId": {foreign: worldRecord{app: "app", partial: true, resourceID: "run-43"}},
		"partial, beside an invalid record": {
			foreign: worldRecord{app: "app", partial: false, resourceID: "run-42"},
			extra:   `{"id":"odd-1","partial":"false","creationTime":"1999-12-31T00:00:00Z"}`,
		},
		"without resourceId, which the service returns": {
			foreign: worldRecord{app: "app", partial: true},
			earlier: reloads.Request{AppID: "other", ResourceID: "run-41"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client := newWorld(t, &world{extra: c.extra})
				if c.earlier.AppID != "" {
					w.trigger(t, client, c.earlier).returnsOwn(t)
				}
				plan, id := lostBefore, make(chan string, 1)
				plan.then = func() { id <- w.triggerForeign(c.foreign, 0).id }
				got := w.trigger(t, client, reloads.Request{AppID: "app", Partial: true, ResourceID: "run-42"}, plan)
				got.isUnknown(t, <-id)
				got.sent(t, 1)
			})
		})
	}
}

// The reload with the ResourceID of the request may have been created too early, by the clock of the records. A reload
// without a ResourceID is not returned instead, and the error names the reload with it.
func TestTriggerPrefersReloadWithItsResourceID(t *testing.T) {
	t.Parallel()
	for _, returned := range []bool{false, true} { // the service is known to return the ResourceID
		for _, reversed := range []bool{false, true} {
			t.Run(fmt.Sprintf("known to be returned %v, oldest first %v", returned, reversed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var listed []string
					s := &scriptedService{latency: 20 * time.Millisecond}
					s.trigger = func(n int, app string) (int, string) {
						if n > 0 {
							own := recordText("own", app, reloads.StatusSucceeded, time.Now().Add(-1500*time.Millisecond), "resourceId", "run-42")
							foreign := recordText("foreign", app, reloads.StatusSucceeded, time.Now().Add(2*time.Second))
							if listed = []string{foreign, own}; reversed {
								slices.Reverse(listed)
							}
							return 0, ""
						}
						var fields []any
						if returned {
							fields = []any{"resourceId", "run-41"}
						}
						return http.StatusCreated, recordText("earlier", app, reloads.StatusQueued, time.Now(), fields...)
					}
					s.list = func(*http.Request) (int, string) { return http.StatusOK, listText(listed...) }
					client := scriptedClient(t, s)
					if _, err := client.Trigger(t.Context(), reloads.Request{AppID: "other", ResourceID: "run-41"}); err != nil {
						t.Fatal(err)
					}
					reload, err := client.Trigger(t.Context(), reloads.Request{AppID: "app", ResourceID: "run-42"})
					if !errors.Is(err, reloads.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "reload own,") || s.triggers != 2 {
						t.Errorf("got %v, %v after %d triggers, want ErrOutcomeUnknown that names the own reload, after 2", reload, err, s.triggers)
					}
				})
			})
		}
	}
}

// Two goroutines trigger the same app. The trigger of the first has no effect. The reload of the second is not taken for
// it.
func TestTriggerIgnoresReloadOfAnotherCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, client := newWorld(t, &world{latency: 50 * time.Millisecond, runFor: time.Second})
		second := make(chan triggered, 1)
		plan := lostBefore
		plan.then = func() { second <- w.trigger(t, client, reloads.Request{AppID: "app"}) }
		first := w.trigger(t, client, reloads.Request{AppID: "app"}, plan)
		(<-second).returnsOwn(t)
		first.returnsOwn(t)
		first.sent(t, 2)
	})
}

// The reload of another call is listed before that call has its response. It is neither returned nor canceled by a call
// whose own trigger had no effect.
func TestTriggerIgnoresReloadWhoseResponseIsInFlight(t *testing.T) {
	t.Parallel()
	slow := postPlan{hold: 1200 * time.Millisecond, runFor: 10 * time.Second}
	start := func(t *testing.T) (w *world, client *reloads.Client, second <-chan triggered) {
		w, client = newWorld(t, &world{})
		w.calibrate(t, client)
		done := make(chan triggered, 1)
		time.AfterFunc(100*time.Millisecond, func() { done <- w.trigger(t, client, reloads.Request{AppID: "app"}, slow) })
		return w, client, done
	}
	t.Run("Trigger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, client, second := start(t)
			first := w.trigger(t, client, reloads.Request{AppID: "app"}, lostBefore)
			(<-second).returnsOwn(t)
			first.returnsOwn(t)
			first.sent(t, 2)
		})
	})
	t.Run("Run with CancelOnAbort", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, client, second := start(t)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			ctx, _ = newCall(ctx, lostBefore)
			if reload, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort()); reload != nil || !errors.Is(err, reloads.ErrOutcomeUnknown) {
				t.Errorf("got %v, %v, want ErrOutcomeUnknown", reload, err)
			}
			(<-second).returnsOwn(t)
			if n := w.statuses()[reloads.StatusCanceled]; n != 0 {
				t.Errorf("%d reloads were canceled, want none", n)
			}
		})
	})
}

// The responses of two calls are lost. Each returns a reload of its own, or its outcome is unknown.
func TestTriggersWithLostResponsesReturnDifferentReloads(t *testing.T) {
	t.Parallel()
	for name, plans := range map[string][2]postPlan{
		"both took effect":           {lostAfter, lostAfter},
		"only the first took effect": {lostAfter, lostBefore},
		"only the last took effect":  {lostBefore, lostAfter},
	} {
		for _, gap := range []time.Duration{0, 3 * time.Millisecond, 20 * time.Millisecond, 995 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, %v apart", name, gap), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, client := newWorld(t, &world{})
					w.calibrate(t, client)
					second := make(chan triggered, 1)
					time.AfterFunc(gap, func() { second <- w.trigger(t, client, reloads.Request{AppID: "app"}, plans[1]) })
					a, b := w.trigger(t, client, reloads.Request{AppID: "app"}, plans[0]), <-second
					if a.reload != nil && b.reload != nil && a.reload.ID == b.reload.ID {
						t.Errorf("both calls returned %s", a.reload.ID)
					}
					for _, got := range []triggered{a, b} {
						if got.err != nil && !errors.Is(got.err, reloads.ErrOutcomeUnknown) {
							t.Errorf("got %s, want a reload or ErrOutcomeUnknown", got)
						}
					}
					if made := len(a.made) + len(b.made); made > 2 {
						t.Errorf("%d reloads were made, want at most one for each call", made)
					}
				})
			})
		}
	}
}

// The clock of the records is known no better than the triggers of the client took. It is narrowed, so that a reload that
// somebody else triggered shortly before is not returned.
func TestTriggerAfterSlowTriggerDoesNotReturnForeignReload(t *testing.T) {
	t.Parallel()
	for _, slow := range []time.Duration{200 * time.Millisecond, 600 * time.Millisecond, 950 * time.Millisecond} {
		for phase := range 5 {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Duration(phase) * 200 * time.Millisecond)
				var foreign string
				s := &scriptedService{latency: 5 * time.Millisecond}
				s.trigger = func(n int, app string) (int, string) {
					if n > 0 {
						return 0, "" // lost, without an effect
					}
					created := time.Now()
					time.Sleep(slow)
					return http.StatusCreated, recordText("own", app, reloads.StatusQueued, created)
				}
				s.list = func(*http.Request) (int, string) { return 200, listText(foreign) }
				client := scriptedClient(t, s)
				if _, err := client.Trigger(t.Context(), reloads.Request{AppID: "a"}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				foreign = recordText("foreign", "b", reloads.StatusSucceeded, time.Now())
				time.Sleep(slow - 70*time.Millisecond)
				if r, err := client.Trigger(t.Context(), reloads.Request{AppID: "b"}); !errors.Is(err, reloads.ErrOutcomeUnknown) {
					t.Errorf("a trigger took %v, phase %d: got %v, %v, want ErrOutcomeUnknown", slow, phase, r, err)
				}
			})
		}
	}
}

// A trigger whose base transport panics may have taken effect. Its reload is not returned by a call that overlaps with it.
func TestPanicLeavesOutcomeUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var posts atomic.Int32
		second := recordText("of-the-second-call", "app", reloads.StatusReloading, time.Now().Add(time.Second))
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			date := time.Now().UTC().Format(http.TimeFormat)
			if !isTrigger(r) {
				return respond(200, listText(second), "Date", date)(r)
			}
			if posts.Add(1) == 1 {
				time.Sleep(3 * time.Second)
				return respond(http.StatusBadGateway, "", "Date", date)(r) // without an effect
			}
			panic("the response is lost")
		}))
		time.AfterFunc(time.Second, func() {
			defer func() { _ = recover() }()
			_, _ = client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		})
		if r, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"}); !errors.Is(err, reloads.ErrOutcomeUnknown) {
			t.Errorf("got %v, %v, want ErrOutcomeUnknown", r, err)
		}
	})
}

// A list spells the ID of an earlier reload differently than the response to its trigger. It is the same reload
// nevertheless.
func TestTriggerIgnoresSpellingOfIDs(t *testing.T) {
	t.Parallel()
	for _, ids := range [][2]string{{"ABC-1", "abc-1"}, {"abc-1", "ABC-1"}} {
		synctest.Test(t, func(t *testing.T) {
			var earlier string
			s := &scriptedService{latency: 20 * time.Millisecond}
			s.trigger = func(n int, app string) (int, string) {
				if n == 1 {
					return 0, ""
				}
				earlier = recordText(ids[1], app, reloads.StatusSucceeded, time.Now()) // at the time of the second trigger
				return http.StatusCreated, recordText([]string{ids[0], "", "own"}[n], app, reloads.StatusQueued, time.Now())
			}
			s.list = func(*http.Request) (int, string) { return http.StatusOK, listText(earlier) }
			client := scriptedClient(t, s)
			if _, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"}); err != nil {
				t.Fatal(err)
			}
			if reload, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"}); err != nil || reload.ID != "own" {
				t.Errorf("%q: got %v, %v, want another reload", ids, reload, err)
			}
		})
	}
}

// What the client knows about the clock of the records no longer holds when its own clock is set. No second reload is
// made, and no earlier one is returned, also if the responses from which it learned that clock have no Date header.
func TestTriggerAfterClockWasSet(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-30 * time.Second, -10 * time.Second, -3 * time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second} {
		for name, plan := range map[string]postPlan{"took effect": lostAfter, "had no effect": lostBefore} {
			for dates, noDate := range map[string][2]bool{"": {}, ", without Date before": {true, false}, ", without Date": {true, true}, ", without Date afterwards": {false, true}} {
				t.Run(fmt.Sprintf("by %v, %s%s", by, name, dates), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w, client := newWorld(t, &world{noDate: noDate[0]})
						w.calibrate(t, client)
						time.Sleep(time.Hour)
						w.dateOffset -= by
						w.noDate = noDate[1]
						w.triggerForeign(worldRecord{app: "app"}, 0)
						time.Sleep(8 * time.Second)
						got := w.trigger(t, client, reloads.Request{AppID: "app"}, plan)
						if w.noDate {
							got.isUnknown(t, got.ids()...)
							got.sent(t, 1)
							return
						}
						got.returnsOwn(t)
						got.sent(t, map[bool]int{true: 2, false: 1}[plan.noEffect])
					})
				})
			}
		}
	}
}

// The same if the clocks of the Date header are 1 s ahead of that of the records and 1 s behind it, and the client's clock
// is set by little more than that.
func TestTriggerAfterClockWasSetALittle(t *testing.T) {
	t.Parallel()
	const apart = 990 * time.Millisecond
	for phase := time.Duration(0); phase < time.Second; phase += 50 * time.Millisecond {
		for _, by := range []time.Duration{2200 * time.Millisecond, 2500 * time.Millisecond, 2900 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				w, client := newWorld(t, &world{dateOffset: -apart, recordOffset: apart})
				time.Sleep(phase)
				w.trigger(t, client, reloads.Request{AppID: "other"}).returnsOwn(t)
				w.dateOffset, w.recordOffset = apart, -apart
				w.trigger(t, client, reloads.Request{AppID: "other"}).returnsOwn(t)
				w.dateOffset -= by
				w.trigger(t, client, reloads.Request{AppID: "app"}, lostAfter).returnsOwnOrUnknown(t, true)
			})
		}
	}
}

// From a slow response, the client learns too little about the clock of the records. A reload that was created before the
// trigger is not returned.
func TestTriggerAfterSlowResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, client := newWorld(t, &world{})
		w.trigger(t, client, reloads.Request{AppID: "other"}, postPlan{hold: 1900 * time.Millisecond}).returnsOwn(t)
		foreign := w.triggerForeign(worldRecord{app: "app"}, 0)
		time.Sleep(1500 * time.Millisecond)
		got := w.trigger(t, client, reloads.Request{AppID: "app"}, lostBefore)
		got.isUnknown(t, foreign.id)
		got.sent(t, 1)
	})
}

// The error of a trigger whose retry was not sent contains the failure of the attempt before.
func TestTriggerErrorContainsFailure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tokens  int           // how many attempts get a token
		spacing time.Duration // of triggers
	}{
		"no token":       {1 + 6, 0}, // the trigger and its lists
		"the rate limit": {100, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
				defer cancel()
				tokens := reloads.TokenFunc(func(context.Context) (string, error) {
					if c.tokens--; c.tokens < 0 {
						return "", errReset
					}
					return testToken, nil
				})
				s := &scriptedService{}
				s.trigger = func(int, string) (int, string) { return http.StatusInternalServerError, "" }
				s.list = func(*http.Request) (int, string) { return http.StatusOK, emptyPage }
				limit := reloads.WithLimiters(reloads.Limiters{Trigger: reloads.NewLimiter(1, c.spacing)})
				_, err := clientWithTokens(t, tokens, s, limit).Trigger(ctx, reloads.Request{AppID: "app"})
				if e, n := asError(t, err), len(s.requests()); e.StatusCode != http.StatusInternalServerError || n != 1+6 {
					t.Errorf("got %v after %d requests, want a 500 after the trigger and 6 lists", err, n)
				}
			})
		})
	}
}

// Attempts counts all POSTs of a call, those before an unknown outcome included.
func TestTriggerCountsAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scriptedService{}
		s.trigger = func(n int, _ string) (int, string) {
			return []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusForbidden}[n], ""
		}
		s.list = func(*http.Request) (int, string) { return http.StatusOK, emptyPage }
		_, err := scriptedClient(t, s).Trigger(t.Context(), reloads.Request{AppID: "app"})
		if e := asError(t, err); e.Attempts != 3 || s.triggers != 3 {
			t.Errorf("got %d attempts in %v, want %d", e.Attempts, err, s.triggers)
		}
	})
}

// MaxRetries limits all POSTs of a call: those after a rate limit, and those after an unknown outcome.
func TestTriggerRetriesAreLimitedTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limited := respond(429, `{"errors":[{"code":"HTTP-429","title":"API rate limit reached."}]}`, "Retry-After", "1")
		n := 0
		wire := scripted(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				return respond(200, emptyPage)(r)
			}
			if n++; n%2 == 1 {
				return limited(r)
			}
			return nil, errReset
		})
		client := scriptedClient(t, wire, reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 3}))
		_, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if posts := wire.count(http.MethodPost); posts != 4 || !errors.Is(err, reloads.ErrOutcomeUnknown) {
			t.Errorf("%d POSTs and %v, want 4 and ErrOutcomeUnknown", posts, err)
		}
	})
}

// invalidBodies are the ways in which the body of a 2xx may be invalid.
var invalidBodies = map[string]postPlan{
	"HTML":           {corrupt: func(string) string { return "<html>Sign in</html>" }},
	"empty":          {corrupt: func(string) string { return "" }},
	"without id":     {corrupt: func(string) string { return "{}" }},
	"truncated":      {corrupt: func(body string) string { return body[:len(body)/2] }},
	"lost within it": {cut: true},
	"status 200":     {status: http.StatusOK, corrupt: func(string) string { return "<html>" }},
	"status 202":     {status: http.StatusAccepted, corrupt: func(string) string { return "" }},
}

// A 2xx to a trigger is never followed by another POST, even if no list shows the reload.
func TestTriggerIsNotRetriedAfter2xx(t *testing.T) {
	t.Parallel()
	for name, plan := range invalidBodies {
		for _, lag := range []time.Duration{0, 20 * time.Second, 40 * time.Second} {
			t.Run(fmt.Sprintf("%s, listed after %v", name, lag), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, client := newWorld(t, &world{listLag: lag})
					got := w.trigger(t, client, reloads.Request{AppID: "app"}, plan)
					if lag < 30*time.Second {
						got.returnsOwn(t)
					} else {
						got.returnsOwnOrUnknown(t, false)
					}
					got.sent(t, 1)
				})
			})
		}
	}
}

// Not even if the transport limits the rate at which bodies are read, and that limit is reached.
func TestTriggerWithThrottledBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wire := scripted(func(r *http.Request) (*http.Response, error) {
			if isList(r) {
				return respond(http.StatusOK, emptyPage)(r)
			}
			resp, err := respond(http.StatusCreated, "")(r)
			resp.Body = io.NopCloser(iotest.ErrReader(fmt.Errorf("body: %w", reloads.ErrRateLimited)))
			return resp, err
		})
		_, err := scriptedClient(t, wire).Trigger(t.Context(), reloads.Request{AppID: "app"})
		if n := wire.count(http.MethodPost); n != 1 || !errors.Is(err, reloads.ErrOutcomeUnknown) {
			t.Errorf("%d triggers; %v", n, err)
		}
	})
}

// A ResourceID that is used again and again does not make an earlier reload the one that was just triggered.
func TestTriggerDoesNotReturnEarlierReloadWithSameResourceID(t *testing.T) {
	t.Parallel()
	req := reloads.Request{AppID: "app", ResourceID: "nightly"}
	for name, c := range map[string]struct {
		world     *world
		ago       time.Duration // how old the earlier reload is
		sameOwner bool          // the client itself triggered it, and so knows its ID
		check     func(*testing.T, triggered, *worldRecord)
	}{
		"of another process, 4 minutes old": {&world{}, 4 * time.Minute, false, func(t *testing.T, got triggered, _ *worldRecord) {
			got.returnsOwn(t)
			got.sent(t, 2)
		}},
		"of another process, 300 ms old": {&world{}, 300 * time.Millisecond, false, func(t *testing.T, got triggered, earlier *worldRecord) {
			got.isUnknown(t, earlier.id)
			got.sent(t, 1)
		}},
		"of another process, 4 minutes old, no Date": {&world{noDate: true}, 4 * time.Minute, false, func(t *testing.T, got triggered, _ *worldRecord) {
			got.returnsOwnOrUnknown(t, false)
		}},
		"of this client, 4 minutes old, no Date": {&world{noDate: true}, 4 * time.Minute, true, func(t *testing.T, got triggered, _ *worldRecord) {
			got.returnsOwn(t)
			got.sent(t, 2)
		}},
		"of this client, 300 ms old": {&world{}, 300 * time.Millisecond, true, func(t *testing.T, got triggered, _ *worldRecord) {
			got.returnsOwn(t)
			got.sent(t, 2)
		}},
		"of this client, 300 ms old, in whole seconds": {&world{precision: time.Second}, 300 * time.Millisecond, true, func(t *testing.T, got triggered, _ *worldRecord) {
			got.returnsOwn(t)
			got.sent(t, 2)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client := newWorld(t, c.world)
				time.Sleep(500 * time.Millisecond) // the earlier reload is of the same second
				var earlier *worldRecord
				if c.sameOwner {
					if _, err := client.Trigger(t.Context(), req); err != nil {
						t.Fatal(err)
					}
					earlier = w.own()[0]
				} else {
					earlier = w.triggerForeign(worldRecord{app: "app", resourceID: "nightly"}, 0)
				}
				time.Sleep(c.ago)
				got := w.trigger(t, client, req, lostBefore)
				if got.reload != nil && got.reload.ID == earlier.id {
					t.Errorf("got the earlier reload, %v older than the trigger", got.posts[0].Sub(earlier.created))
				}
				c.check(t, got, earlier)
			})
		})
	}
}

// A trigger took effect although its response says otherwise, and a retry would be refused because of its own reload.
func TestTriggerFindsReloadThatIsListedLate(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]postPlan{
		"500": {status: 500}, "502": {status: 502}, "503": {status: 503}, "504": {status: 504}, "lost": lostAfter,
	} {
		for _, lag := range []time.Duration{5 * time.Second, 20 * time.Second, 35 * time.Second} {
			t.Run(fmt.Sprintf("%s, listed after %v", name, lag), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, client := newWorld(t, &world{listLag: lag, runFor: time.Hour})
					got := w.trigger(t, client, reloads.Request{AppID: "app"}, plan)
					if lag < 30*time.Second {
						got.returnsOwn(t)
						got.sent(t, 1)
					} else {
						got.returnsOwnOrUnknown(t, false)
					}
				})
			})
		}
	}
}

// Without knowing whether the first trigger took effect, the client does not know whose reload is pending.
func TestTriggerRefusedAsPendingAfterUnknownOutcome(t *testing.T) {
	t.Parallel()
	for _, ago := range []time.Duration{time.Second, 10 * time.Second} {
		t.Run(fmt.Sprintf("the pending reload is %v old", ago), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client := newWorld(t, &world{})
				time.Sleep(123 * time.Millisecond)
				pending := w.triggerForeign(worldRecord{app: "app"}, time.Hour)
				time.Sleep(ago)
				got := w.trigger(t, client, reloads.Request{AppID: "app"}, lostAfter)
				if ago < 2*time.Second {
					got.isUnknown(t, pending.id)
					got.sent(t, 1)
				} else {
					got.isUnknown(t)
				}
			})
		})
	}
}

// The context ends while triggers are in flight. CancelOnAbort cancels their reloads, too, and takes at most 10 s.
func TestCancelOnAbortOfTriggerInFlight(t *testing.T) {
	t.Parallel()
	const inTime = 10*time.Second + 100*time.Millisecond
	type batch struct {
		apps   int
		limit  time.Duration // of the context
		submit func(context.Context, *reloads.Client, []reloads.Request) []reloads.Result
	}
	run := func(ctx context.Context, client *reloads.Client, reqs []reloads.Request) []reloads.Result {
		reload, err := client.Run(ctx, reqs[0], reloads.CancelOnAbort())
		return []reloads.Result{{Request: reqs[0], Reload: reload, Err: err}}
	}
	runAll := func(ctx context.Context, client *reloads.Client, reqs []reloads.Request) []reloads.Result {
		return slices.Collect(client.RunAll(ctx, reqs, reloads.CancelOnAbort()))
	}
	for batchName, b := range map[string]batch{
		"Run":            {1, time.Second, run},
		"RunAll, one":    {1, time.Second, runAll},
		"RunAll, many":   {48, 7 * time.Second, runAll},
		"RunAll, nearly": {48, 1500 * time.Millisecond, runAll}, // not all have been sent
	} {
		for planName, plan := range map[string]postPlan{
			"the response takes 3 s":             {hold: 3 * time.Second},
			"it takes effect after 2 s of 3":     {reach: 2 * time.Second, hold: time.Second},
			"its connection is lost after 3 s":   {hold: 3 * time.Second, lost: true},
			"it is responded to with 502 in 3 s": {hold: 3 * time.Second, status: http.StatusBadGateway},
		} {
			t.Run(batchName+": "+planName, func(t *testing.T) {
				sample(t, 3)
				synctest.Test(t, func(t *testing.T) {
					w := &world{runFor: time.Hour, everyPost: plan, latency: 20 * time.Millisecond}
					client := scriptedClient(t, w) // with the rate limits of the service
					var reqs []reloads.Request
					for i := range b.apps {
						reqs = append(reqs, reloads.Request{AppID: fmt.Sprint("app", i)})
					}
					ctx, cancel := context.WithTimeout(t.Context(), b.limit)
					defer cancel()
					results := b.submit(ctx, client, reqs)
					deadline, _ := ctx.Deadline()
					if late := time.Since(deadline); late > inTime {
						t.Errorf("it ended %v after the context, want at most 10 s", late)
					}
					posts := w.postTimes()
					if last := posts[len(posts)-1]; last.After(deadline) {
						t.Errorf("a trigger was sent %v after the context ended", last.Sub(deadline))
					}
					if len(results) != len(reqs) {
						t.Errorf("got %d results, want %d", len(results), len(reqs))
					}
					known := 0
					var unexpected []error
					for _, r := range results {
						if r.Reload != nil {
							known++
						}
						if !errors.Is(r.Err, context.DeadlineExceeded) || errors.Is(r.Err, reloads.ErrNotStarted) == (r.Reload != nil) {
							unexpected = append(unexpected, r.Err)
						}
					}
					if len(unexpected) > 0 {
						t.Errorf("%d results have neither a reload nor ErrNotStarted, or do not match DeadlineExceeded, such as: %v", len(unexpected), unexpected[0])
					}
					time.Sleep(10 * time.Minute)
					statuses := w.statuses()
					if made := len(w.own()); statuses[reloads.StatusCanceled] != made || known != made || made == 0 {
						t.Errorf("%d reloads were made, %d are known, their statuses are %v, want all canceled", made, known, statuses)
					}
				})
			})
		}
	}
}

// The 10 s count from the end of the context, also if the response to the trigger, and so the first cancel, comes later.
func TestTimeOfALateCancelOnAbort(t *testing.T) {
	t.Parallel()
	w := &world{runFor: time.Hour, everyPost: postPlan{hold: 4 * time.Second}, instead: func(r *http.Request) outcome {
		if isCancel(r) {
			return hangs
		}
		return nil
	}}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
		deadline, _ := ctx.Deadline()
		if took := time.Since(deadline); r == nil || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || took != 10*time.Second {
			t.Errorf("%v, %v after %v, want a reload, and the end after 10 s", r, err, took)
		}
	})
}

// The wait before a retry ends with the context, also if a trigger in flight may outlive it.
func TestAbortDuringAWaitForRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := scriptedClient(t, scripted(respond(503, "", "Retry-After", "60")), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 1}))
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(5*time.Second, cancel).Stop()
		began := time.Now()
		_, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
		if took := time.Since(began); took != 5*time.Second || !errors.Is(err, context.Canceled) || !errors.Is(err, reloads.ErrNotStarted) {
			t.Errorf("%v after %v, want the end of the context after 5 s", err, took)
		}
	})
}

// A trigger in flight goes on after the end of the context, so that its reload can be canceled without a list.
func TestCancelOnAbortWithoutListPermission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{runFor: time.Hour, everyPost: postPlan{hold: 3 * time.Second}}
		w.instead = func(r *http.Request) outcome {
			if isList(r) {
				return respond(http.StatusForbidden, "")
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := scriptedClient(t, w).Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
		if rs := w.app("app").records; !errors.Is(err, context.DeadlineExceeded) || len(rs) != 1 || rs[0].canceled.IsZero() {
			t.Errorf("got %v, want the only reload to be canceled: %+v", err, rs)
		}
	})
}

// The cancel of an aborted run is refused, but the reload goes on. Its state is the most recent one.
func TestCancelOnAbortThatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scriptedService{
			trigger: func(int, string) (int, string) { return http.StatusCreated, queued },
			cancel:  func(string) (int, string) { return http.StatusConflict, "" },
			get: func(string) (int, string) {
				return http.StatusOK, strings.Replace(queued, "QUEUED", "RELOADING", 1)
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // before the first poll
		defer cancel()
		r, err := scriptedClient(t, s).Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
		if r == nil || r.Status != reloads.StatusReloading || !errors.Is(err, reloads.ErrNotCancelable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, %v", r, err)
		}
	})
}

// A trigger that gets no response at all does not make an aborted run longer than 10 s. Its reload is canceled.
func TestCancelOnAbortOfTriggerWithoutResponse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		latency    time.Duration
		calibrated bool
	}{
		"first trigger, 10 ms round trip":  {5 * time.Millisecond, false},
		"first trigger, 200 ms round trip": {100 * time.Millisecond, false},
		"later trigger, 200 ms round trip": {100 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client := newWorld(t, &world{latency: c.latency, lasts: func(app string) time.Duration {
					return map[string]time.Duration{"app": time.Hour}[app]
				}})
				if c.calibrated {
					w.calibrate(t, client)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				ctx, _ = newCall(ctx, postPlan{hold: time.Hour})
				began := time.Now()
				reload, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
				if took := time.Since(began); took > 11*time.Second+100*time.Millisecond {
					t.Errorf("it took %v, want at most 10 s after the context ended", took)
				}
				time.Sleep(time.Minute)
				if canceled := w.statuses()[reloads.StatusCanceled] == 1; !canceled || reload == nil || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, %v and the statuses %v, want a canceled reload", reload, err, w.statuses())
				}
			})
		})
	}
}

// The connection dies while a trigger is in flight, and the context ends. The reload is found and canceled over another
// connection in time.
func TestCancelOnAbortOfTriggerOnDeadConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		w, client := newWorld(t, &world{lasts: func(app string) time.Duration {
			return map[string]time.Duration{"app": time.Hour}[app]
		}})
		w.instead = func(*http.Request) outcome {
			if !dead.Load() {
				return nil
			}
			return func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				dead.CompareAndSwap(r.Close, false) // net/http uses an HTTP/2 connection until a request closes it
				return nil, r.Context().Err()
			}
		}
		w.calibrate(t, client)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctx, call := newCall(ctx, postPlan{hold: time.Hour, then: func() { dead.Store(true) }})
		reload, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
		if reload == nil || !errors.Is(err, context.DeadlineExceeded) || w.statuses()[reloads.StatusCanceling] != len(call.made) {
			t.Errorf("got %v, %v and the statuses %v, want a canceled reload", reload, err, w.statuses())
		}
	})
}

// The response to a trigger in flight arrives after the context has ended. If it is a final refusal, the error does not match
// ErrNotStarted, because the request would be refused again.
func TestRefusalAfterContextEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"not found":  {http.StatusNotFound, "", reloads.ErrNotFound},
		"forbidden":  {http.StatusForbidden, "", reloads.ErrForbidden},
		"invalid":    {http.StatusBadRequest, "", reloads.ErrBadRequest},
		"pending":    {http.StatusTooManyRequests, testdata(t, "error_429_pending.json"), reloads.ErrReloadPending},
		"rate limit": {http.StatusTooManyRequests, "", reloads.ErrNotStarted}, // it would be retried
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scriptedService{trigger: func(int, string) (int, string) {
					time.Sleep(2 * time.Second)
					return c.status, c.body
				}}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				for r := range scriptedClient(t, s).RunAll(ctx, requestsFor("app"), reloads.CancelOnAbort()) {
					if !errors.Is(r.Err, c.want) || errors.Is(r.Err, reloads.ErrNotStarted) != (c.want == reloads.ErrNotStarted) {
						t.Errorf("got %v, want %v", r.Err, c.want)
					}
				}
			})
		})
	}
}

// Without CancelOnAbort, nothing is sent after the context has ended.
func TestAbortWithoutCancelOfTriggerInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{runFor: time.Hour, everyPost: postPlan{hold: 3 * time.Second}, latency: 20 * time.Millisecond}
		client := scriptedClient(t, w)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		reload, err := client.Run(ctx, reloads.Request{AppID: "app"})
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v, want 1s", took)
		}
		if reload != nil || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, reloads.ErrOutcomeUnknown) {
			t.Errorf("got %v, %v, want an error that matches DeadlineExceeded and ErrOutcomeUnknown", reload, err)
		}
	})
}

// The pending reload is attached to even if it is listed late, or has a status that no filter selects. The triggers in
// between are few and spaced out.
func TestAttachToPendingThatIsHardToFind(t *testing.T) {
	t.Parallel()
	const maxPosts, minGap = 4, 250 * time.Millisecond
	batches := map[string]func(context.Context, *reloads.Client) (*reloads.Reload, error){
		"Run": func(ctx context.Context, client *reloads.Client) (*reloads.Reload, error) {
			return client.Run(ctx, reloads.Request{AppID: "app"}, reloads.AttachToPending())
		},
		"RunAll": func(ctx context.Context, client *reloads.Client) (*reloads.Reload, error) {
			for r := range client.RunAll(ctx, []reloads.Request{{AppID: "app"}}, reloads.AttachToPending()) {
				return r.Reload, r.Err
			}
			return nil, errors.New("there is no result")
		},
	}
	for name, c := range map[string]struct {
		world func() *world
		age   time.Duration // of the pending reload
	}{
		"listed after 5 s":                 {func() *world { return &world{listLag: 5 * time.Second} }, 0},
		"listed after 5 s, 4 s ago":        {func() *world { return &world{listLag: 5 * time.Second} }, 4 * time.Second},
		"listed after 10 s":                {func() *world { return &world{listLag: 10 * time.Second} }, 0},
		"no status":                        {func() *world { return &world{queuedAs: new(reloads.Status(""))} }, time.Second},
		"status CREATED":                   {func() *world { return &world{queuedAs: new(reloads.Status("CREATED"))} }, time.Second},
		"unknown status":                   {func() *world { return &world{queuedAs: new(reloads.Status("PAUSED"))} }, time.Second},
		"no status, listed after 5 s":      {func() *world { return &world{queuedAs: new(reloads.Status("")), listLag: 5 * time.Second} }, 0},
		"no optional fields":               {func() *world { return &world{omitListed: []string{"partial", "resourceId", "type", "links"}} }, time.Second},
		"record clock 2 s behind, no Date": {func() *world { return &world{recordOffset: -2 * time.Second, noDate: true} }, time.Second},
	} {
		for batchName, attach := range batches {
			t.Run(batchName+": "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := c.world()
					w.queueFor, w.runFor, w.latency = time.Minute, time.Minute, 20*time.Millisecond
					client := scriptedClient(t, w)
					pending := w.triggerForeign(worldRecord{app: "app"}, 0)
					time.Sleep(c.age)
					reload, err := attach(t.Context(), client)
					if err != nil || reload == nil || reload.ID != pending.id || reload.Status != reloads.StatusSucceeded {
						t.Errorf("got %+v, %v, want the pending reload %s", reload, err, pending.id)
					}
					if own := w.own(); len(own) > 0 {
						t.Errorf("%d reloads were made", len(own))
					}
					posts := w.postTimes()
					if len(posts) > maxPosts {
						t.Errorf("%d triggers were sent, want at most %d", len(posts), maxPosts)
					}
					for i := range len(posts) - 1 {
						if gap := posts[i+1].Sub(posts[i]); gap < minGap {
							t.Errorf("two triggers were sent within %v", gap)
							break
						}
					}
				})
			})
		}
	}
}

// simulation is a set of worlds, and what holds in them.
type simulation struct {
	seed       uint64
	odd        bool    // clocks, precision, fields and lag are unusual
	foreign    bool    // somebody else triggers the same apps
	maxUnknown float64 // the share of calls whose outcome may stay unknown
}

// A simulation has this many triggers. One client makes all of a world, those of an app one after another.
const (
	simulatedWorlds = 20
	simulatedApps   = 50
	simulatedCalls  = 10 // of an app
)

// simulatedCall is a call and its outcome.
type simulatedCall struct {
	*worldCall
	world  *world
	req    reloads.Request
	fault  string // the name of its fault; empty if it has none
	reload *reloads.Reload
	err    error
	again  bool // the reload was returned by an earlier call, too
}

// Thousands of triggers are sent to services that differ in what a client can observe. A fifth of the triggers has a
// fault. No call makes two reloads. None returns a reload that is not its own, except for those that the package
// documentation names. The outcome of few stays unknown.
func TestTriggerSimulation(t *testing.T) {
	t.Parallel()
	skipInShortMode(t)
	for name, s := range map[string]simulation{
		"A, milliseconds and agreeing clocks": {seed: 1, maxUnknown: 0.005},
		"B, odd worlds":                       {seed: 2, odd: true, maxUnknown: 0.05},
		"C, odd worlds with foreign triggers": {seed: 3, odd: true, foreign: true, maxUnknown: 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			f := figures{unknown: map[string]int{}, problems: map[string][]string{}}
			for seed := range uint64(simulatedWorlds) {
				synctest.Test(t, func(t *testing.T) {
					for _, c := range s.run(t, seed) {
						f.add(c)
					}
				})
			}
			f.check(t, s.maxUnknown)
		})
	}
}

// run makes the calls of one world.
func (s simulation) run(t *testing.T, seed uint64) (calls []*simulatedCall) {
	random := rand.New(rand.NewPCG(s.seed, seed))
	w := s.newWorld(random)
	start := time.Minute
	if oneIn(random, 3) { // many triggers are sent before the first 201
		start = 200 * time.Millisecond
	}
	_, client := newWorld(t, w)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range simulatedApps {
		random := rand.New(rand.NewPCG(random.Uint64(), seed))
		wg.Go(func() {
			time.Sleep(between(random, 0, start))
			for n := range simulatedCalls {
				c := s.call(t, w, client, random, fmt.Sprint("app", i), n)
				mu.Lock()
				calls = append(calls, c)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	time.Sleep(time.Hour) // nothing takes effect anymore
	return calls
}

// between returns a random duration.
func between(random *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(random.Int64N(int64(to-from)))
}

// small returns a random duration up to the limit. All orders of magnitude are equally likely.
func small(random *rand.Rand, limit time.Duration) time.Duration {
	return limit >> random.IntN(12)
}

// oneIn reports true once in n times.
func oneIn(random *rand.Rand, n int) bool { return random.IntN(n) == 0 }

func (s simulation) newWorld(random *rand.Rand) *world {
	w := &world{
		seed: random.Uint64(), spread: true,
		latency:    between(random, 5*time.Millisecond, 100*time.Millisecond),
		dateOffset: between(random, -4*time.Minute, 4*time.Minute),
		listLag:    max(0, between(random, -3*time.Second, 10*time.Second)),
	}
	if !s.odd {
		return w
	}
	w.precision = []time.Duration{0, 10 * time.Millisecond, time.Second}[random.IntN(3)]
	w.kind = []reloads.Type{reloads.TypeExternal, reloads.TypeHub, reloads.TypeChronos}[random.IntN(3)]
	w.noDate = oneIn(random, 6)
	if !oneIn(random, 4) {
		w.recordOffset = between(random, -2*time.Second, 50*time.Millisecond)
	}
	if oneIn(random, 6) {
		w.listLag = between(random, 10*time.Second, 40*time.Second)
	}
	for _, field := range []string{"partial", "resourceId", "type", "links"} {
		if oneIn(random, 3) {
			w.omitListed = append(w.omitListed, field)
		}
		if oneIn(random, 3) {
			w.omitCreated = append(w.omitCreated, field)
		}
	}
	return w
}

// call makes one call, and then waits until the app can be triggered again.
func (s simulation) call(t *testing.T, w *world, client *reloads.Client, random *rand.Rand, app string, n int) *simulatedCall {
	c := &simulatedCall{world: w, req: reloads.Request{AppID: app, Partial: oneIn(random, 6)}}
	switch random.IntN(8) {
	case 0, 1:
		c.req.ResourceID = fmt.Sprint("run-", app, "-", n)
	case 2:
		c.req.ResourceID = "nightly"
	}
	var plans [2]postPlan
	if oneIn(random, 5) {
		c.fault, plans[0] = simulatedFault(random)
		if oneIn(random, 7) {
			_, plans[1] = simulatedFault(random)
		}
	}
	failLists := 0
	if oneIn(random, 10) {
		failLists = 1 + random.IntN(3)
	}
	for i := range plans {
		if !oneIn(random, 4) {
			plans[i].runFor = between(random, 0, time.Minute)
		}
	}
	if s.foreign && oneIn(random, 3) {
		foreign, runFor := worldRecord{app: app}, max(0, between(random, -time.Minute, time.Minute))
		foreign.resourceID = []string{"", "", "nightly", "run-of-another-process"}[random.IntN(4)]
		gap := small(random, 10*time.Second) + between(random, 0, 5*time.Millisecond)
		if oneIn(random, 2) {
			w.triggerForeign(foreign, runFor)
			time.Sleep(gap)
		} else {
			if oneIn(random, 2) {
				plans[0].runFor = 0
			}
			plans[0].then = func() {
				time.AfterFunc(gap, func() { w.triggerForeign(foreign, runFor) })
			}
		}
	}
	if w.listLag > 10*time.Second { // only a pending reload prevents a second one
		plans[0].runFor += 2 * time.Minute
		plans[1].runFor += 2 * time.Minute
	}
	ctx, call := newCall(t.Context(), plans[:]...)
	call.failLists = failLists
	c.worldCall = call
	c.reload, c.err = client.Trigger(ctx, c.req)
	if c.reload != nil {
		w.mu.Lock()
		record := w.byID[c.reload.ID]
		c.again, record.returned = record.returned, true
		w.mu.Unlock()
	}
	time.Sleep(w.idleAfter(app) + small(random, 20*time.Second))
	return c
}

// simulatedFault returns a fault and its name. The attempt timeout is 20 s.
func simulatedFault(random *rand.Rand) (string, postPlan) {
	status := []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}[random.IntN(4)]
	switch random.IntN(10) {
	case 0, 1:
		return "lost before", lostBefore
	case 2, 3:
		return "lost after", lostAfter
	case 4:
		return "5xx before", postPlan{noEffect: true, status: status}
	case 5:
		return "5xx after", postPlan{status: status}
	case 6:
		bodies := slices.Sorted(maps.Keys(invalidBodies))
		return "2xx invalid", invalidBodies[bodies[random.IntN(len(bodies))]]
	case 7:
		return "no response", postPlan{hold: time.Hour}
	case 8:
		return "slow", postPlan{reach: between(random, 0, 12*time.Second), hold: between(random, 0, 12*time.Second)}
	}
	return "late", postPlan{reach: between(random, 20*time.Second, 28*time.Second)}
}

// figures are what came of the calls of a simulation.
type figures struct {
	calls, faults, own, refused int
	unknown                     map[string]int // by fault
	unnamed                     int            // unknown, although the own reload was listed and is not named

	// Foreign reloads that were returned although the client behaves as documented: made after a trigger that had
	// no effect, or so shortly before one that the times do not tell.
	after, before int
	earliest      time.Duration // the longest time before

	problems map[string][]string // examples, by what is wrong
}

func (f *figures) add(c *simulatedCall) {
	f.calls++
	if c.fault != "" {
		f.faults++
	}
	problem := func(what string) {
		f.problems[what] = append(f.problems[what], fmt.Sprintf(
			"fault %q, %v; sent %v; made %s; got %s; precision %v, record clock %v, lag %v, no Date %v, omitted %q",
			c.fault, c.req, c.posts, c.describe(c.made...), triggered{c.reload, c.err, c.worldCall},
			max(c.world.precision, time.Millisecond), c.world.recordOffset, c.world.listLag, c.world.noDate, c.world.omitListed))
	}
	if len(c.made) > 1 {
		problem("made two reloads")
	}
	if c.repeated {
		problem("sent another trigger after a 2xx")
	}
	switch {
	case errors.Is(c.err, reloads.ErrOutcomeUnknown):
		f.unknown[c.fault]++
		for _, r := range c.made {
			if c.listed[r.id] && !strings.Contains(c.err.Error(), r.id) {
				f.unnamed++
			}
		}
	case c.err != nil && len(c.made) > 0:
		problem("lost its reload")
	case errors.Is(c.err, reloads.ErrReloadPending):
		f.refused++
	case c.err != nil:
		problem("failed")
	default:
		f.addReload(c, problem)
	}
}

// addReload adds a call that returned a reload.
func (f *figures) addReload(c *simulatedCall, problem func(string)) {
	r := c.world.byID[c.reload.ID]
	before := c.posts[0].Sub(r.created)
	stated := func(field string) bool { return !slices.Contains(c.world.omitListed, field) }
	switch {
	case r.call == c.worldCall:
		f.own++
	case c.again:
		problem("returned the reload of an earlier call")
	case stated("partial") && c.req.Partial && !r.partial,
		stated("resourceId") && c.req.ResourceID != "" && r.resourceID != "" && r.resourceID != c.req.ResourceID:
		problem("returned a reload that contradicts the request")
	case before <= 0 && (len(c.made) == 0 || c.made[0].created.After(r.created)):
		f.after++
	case before > 0 && before <= c.world.resolution():
		f.before++
		f.earliest = max(f.earliest, before)
	default:
		problem(fmt.Sprint("returned a foreign reload, after the trigger ", before <= 0))
	}
}

// resolution returns how long before a trigger a reload can be created that cannot be distinguished from its own.
func (w *world) resolution() time.Duration {
	return 2*max(w.precision, time.Millisecond) + 4*w.latency + max(0, w.recordOffset) + 50*time.Millisecond
}

func (c *simulatedCall) describe(records ...*worldRecord) (texts []string) {
	for _, r := range records {
		texts = append(texts, fmt.Sprintf("%s at %v", r.id, r.created))
	}
	return texts
}

func (f *figures) check(t *testing.T, maxUnknown float64) {
	t.Helper()
	unknown := 0
	for _, n := range f.unknown {
		unknown += n
	}
	t.Logf("%d calls, %d with a fault, %d returned their reload, %d refused because of a pending one", f.calls, f.faults, f.own, f.refused)
	t.Logf("%d outcomes unknown, %.2f %%, by fault %v; %d do not name a reload that was listed", unknown, 100*float64(unknown)/float64(f.calls), f.unknown, f.unnamed)
	t.Logf("foreign reloads returned: %d made after a trigger without effect, %d made before one, by at most %v", f.after, f.before, f.earliest)
	if share := float64(unknown) / float64(f.calls); share > maxUnknown {
		t.Errorf("%.2f %% of the outcomes are unknown, want at most %.2f %%", 100*share, 100*maxUnknown)
	}
	for _, what := range slices.Sorted(maps.Keys(f.problems)) {
		examples := f.problems[what]
		t.Errorf("%d calls %s:\n%s", len(examples), what, strings.Join(examples[:min(3, len(examples))], "\n"))
	}
}

// A trigger took effect, and its reload is listed in a way that does not identify it. The trigger is not retried.
// A service that returns no ResourceIDs is not taken for one that does because a request had none.
func TestTriggerWithoutAndWithAResourceIDThatIsNotReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dropped := []string{"resourceId"}
		w, client := newWorld(t, &world{omitCreated: dropped, omitListed: dropped, omitGot: dropped})
		w.calibrate(t, client)
		w.trigger(t, client, reloads.Request{AppID: "app", ResourceID: "x"}, lostAfter).returnsOwn(t)
	})
}

func TestTriggerIsNotRetriedIfReloadIsListedDifferently(t *testing.T) {
	t.Parallel()
	var earlier []string // oldest first, as if the service ignored the sort
	for i := range 25 {
		earlier = append(earlier, recordText(fmt.Sprint("earlier", i), "app", reloads.StatusSucceeded, time.Date(1999, 12, 1+i, 0, 0, 0, 0, time.UTC)))
	}
	record := func(created time.Time, fields ...any) string {
		return recordText("own", "app", reloads.StatusSucceeded, created, fields...)
	}
	for name, c := range map[string]struct {
		req   reloads.Request
		list  func(own string, created time.Time, r *http.Request) string
		found bool
	}{
		"another resourceId": {reloads.Request{AppID: "app", ResourceID: "run-42"}, func(_ string, created time.Time, _ *http.Request) string {
			return listText(record(created, "resourceId", "made-by-the-service"))
		}, false},
		"another partial": {reloads.Request{AppID: "app", Partial: true}, func(_ string, created time.Time, _ *http.Request) string {
			return listText(record(created, "partial", false))
		}, false},
		"without creationTime": {reloads.Request{AppID: "app"}, func(string, time.Time, *http.Request) string {
			return listText(record(time.Time{}))
		}, false},
		"after an empty first page": {reloads.Request{AppID: "app"}, func(own string, _ time.Time, r *http.Request) string {
			if r.URL.Query().Get("next") == "" {
				return pageJSON(`{"next":{"href":"?next=2&appId=app"}}`)
			}
			return listText(own)
		}, true},
		"twice in a page": {reloads.Request{AppID: "app"}, func(own string, _ time.Time, _ *http.Request) string {
			return listText(own, own)
		}, true},
		"sort ignored, after 25 others": {reloads.Request{AppID: "app"}, func(own string, _ time.Time, r *http.Request) string {
			if r.URL.Query().Get("next") == "" {
				return `{"data":[` + strings.Join(earlier[:20], ",") + `],"links":{"next":{"href":"?next=2&appId=app"}}}`
			}
			return listText(append(earlier[20:], own)...)
		}, false},
		"as an invalid record": {reloads.Request{AppID: "app"}, func(string, time.Time, *http.Request) string {
			return listText(`{"id":5}`)
		}, false},
		"in a list that leads back": {reloads.Request{AppID: "app"}, func(_ string, created time.Time, _ *http.Request) string {
			return `{"data":[` + recordText("later", "other", reloads.StatusSucceeded, created) + `],"links":{"next":{"href":"?next=2"}}}`
		}, false},
		"after hundreds of newer ones": {reloads.Request{AppID: "app"}, func(_ string, created time.Time, r *http.Request) string {
			n, _ := strconv.Atoi(r.URL.Query().Get("next"))
			var others []string
			for i := range 20 {
				others = append(others, recordText(fmt.Sprint("later", n, "-", i), "other", reloads.StatusSucceeded, created))
			}
			return `{"data":[` + strings.Join(others, ",") + fmt.Sprintf(`],"links":{"next":{"href":"?next=%d"}}}`, n+1)
		}, false},
		"by a clock 1 s behind, later not at all": {reloads.Request{AppID: "app"}, func(_ string, created time.Time, _ *http.Request) string {
			if time.Since(created) > 20*time.Second {
				return listText()
			}
			return listText(record(created.Add(-time.Second)))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var created time.Time
				s := &scriptedService{latency: 20 * time.Millisecond}
				s.trigger = func(int, string) (int, string) { created = time.Now(); return 0, "" }
				s.list = func(r *http.Request) (int, string) { return http.StatusOK, c.list(record(created), created, r) }
				reload, err := scriptedClient(t, s).Trigger(t.Context(), c.req)
				if s.triggers != 1 {
					t.Errorf("%d triggers, want 1", s.triggers)
				}
				if found := err == nil && reload.ID == "own"; found != c.found || !found && !errors.Is(err, reloads.ErrOutcomeUnknown) {
					t.Errorf("got %v, %v, want the reload: %v, or ErrOutcomeUnknown", reload, err, c.found)
				}
			})
		})
	}
}

// A list shows a reload that may be the triggered one, and the next lists do not help. The error names the reload, and the
// trigger is not retried.
func TestTriggerErrorNamesPossibleReload(t *testing.T) {
	t.Parallel()
	const never = 1000
	older := recordText("older", "app", reloads.StatusSucceeded, time.Date(1999, 12, 30, 0, 0, 0, 0, time.UTC))
	newer := recordText("newer", "app", reloads.StatusSucceeded, time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC))
	for name, c := range map[string]struct {
		limit time.Duration // of the context
		early time.Duration // how much earlier than the trigger its reload was created, by the clock of the records
		from  int           // the first list that is other than usual, counted from 0
		list  func(own string) (int, string)
	}{
		"the context ends at once":   {limit: 50 * time.Millisecond, from: never},
		"the context ends in 300 ms": {limit: 300 * time.Millisecond, from: never},
		"the context ends in 2 s":    {limit: 2 * time.Second, from: never},
		"the next lists fail":        {from: 1, list: func(string) (int, string) { return http.StatusInternalServerError, "" }},
		"the next lists are lost":    {from: 1, list: func(string) (int, string) { return 0, "" }},
		"the next list is refused":   {from: 1, list: func(string) (int, string) { return http.StatusUnauthorized, "" }},
		"the next lists are HTML":    {from: 1, list: func(string) (int, string) { return http.StatusOK, "<html>" }},
		"1 s early, then refused":    {early: time.Second, from: 1, list: func(string) (int, string) { return http.StatusUnauthorized, "" }},
		"1 s early, then not listed": {early: time.Second, from: 1, list: func(string) (int, string) { return http.StatusOK, emptyPage }},
		"several pages without a sort": {list: func(own string) (int, string) {
			return http.StatusOK, strings.Replace(listText(older, newer, own), "{}", `{"next":{"href":"?next=2"}}`, 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(500 * time.Millisecond) // so that the clock is not known exactly at once
				var own string
				lists := 0
				s := &scriptedService{latency: 20 * time.Millisecond}
				s.trigger = func(_ int, app string) (int, string) {
					own = recordText("own", app, reloads.StatusSucceeded, time.Now().Add(-c.early))
					return 0, ""
				}
				s.list = func(*http.Request) (int, string) {
					if lists++; lists > c.from {
						return c.list(own)
					}
					return http.StatusOK, listText(own, newer, older)
				}
				ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(c.limit, time.Hour))
				defer cancel()
				reload, err := scriptedClient(t, s).Trigger(ctx, reloads.Request{AppID: "app"})
				if !errors.Is(err, reloads.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "reload own,") || s.triggers != 1 {
					t.Errorf("got %v, %v after %d triggers, want ErrOutcomeUnknown that names the reload, after 1", reload, err, s.triggers)
				}
			})
		})
	}
}

// The creationTime of one response is an hour off. It does not calibrate the clock of the records: the next trigger whose
// response is lost makes one reload, and an earlier reload is not returned.
func TestTriggerAfterResponseWithWrongCreationTime(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		for _, calibrated := range []bool{false, true} {
			for name, plan := range map[string]postPlan{"took effect": lostAfter, "had no effect": lostBefore} {
				t.Run(fmt.Sprintf("%v, calibrated %v, %s", off, calibrated, name), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w, client := newWorld(t, &world{latency: 20 * time.Millisecond})
						if calibrated {
							w.calibrate(t, client)
						}
						earlier := w.triggerForeign(worldRecord{app: "app"}, 0)
						time.Sleep(30 * time.Minute)
						ctx, _ := newCall(t.Context(), postPlan{corrupt: func(string) string {
							return recordText("other", "other", reloads.StatusQueued, time.Now().Add(off))
						}})
						if _, err := client.Trigger(ctx, reloads.Request{AppID: "other"}); err != nil {
							t.Fatal(err)
						}
						got := w.trigger(t, client, reloads.Request{AppID: "app"}, plan, plan)
						got.returnsOwnOrUnknown(t, false)
						if got.reload != nil && got.reload.ID == earlier.id {
							t.Errorf("got the earlier reload, want another one or an error")
						}
					})
				})
			}
		}
	}
}

// A record with a creationTime in the future is not returned as the triggered reload. The trigger is not retried, because
// it may be that reload.
func TestTriggerDoesNotReturnReloadOfTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scriptedService{latency: 20 * time.Millisecond}
		s.trigger = func(int, string) (int, string) { return 0, "" }
		s.list = func(*http.Request) (int, string) {
			return http.StatusOK, listText(recordText("future", "app", reloads.StatusSucceeded, time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)))
		}
		reload, err := scriptedClient(t, s).Trigger(t.Context(), reloads.Request{AppID: "app"})
		if reload != nil || !errors.Is(err, reloads.ErrOutcomeUnknown) || s.triggers != 1 {
			t.Errorf("got %v, %v after %d triggers, want ErrOutcomeUnknown after 1", reload, err, s.triggers)
		}
	})
}

// A trigger whose outcome is unknown is not sent again because a pending reload, which may be its own, is not listed. If that
// reload is listed after all, the step attaches to it, but does not wait for its end in order to trigger another one.
func TestPendingReloadAfterUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opt     reloads.RunOption
		listLag time.Duration // just after the lists that determine the outcome, or never
		runFor  time.Duration
		unknown bool
	}{
		"attach, not listed": {reloads.AttachToPending(), 3 * time.Minute, 62 * time.Second, true},
		"attach":             {reloads.AttachToPending(), 61 * time.Second, 2 * time.Minute, false},
		"after":              {reloads.AfterPending(), 61 * time.Second, 2 * time.Minute, true},
		"once":               {reloads.Once(nightly), 61 * time.Second, 2 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{listLag: c.listLag, latency: 20 * time.Millisecond}
				ctx, call := newCall(t.Context(), postPlan{lost: true, runFor: c.runFor})
				_, err := scriptedClient(t, w).Run(ctx, reloads.Request{AppID: "app"}, c.opt)
				if len(call.made) != 1 || errors.Is(err, reloads.ErrOutcomeUnknown) != c.unknown || !c.unknown && err != nil {
					t.Errorf("%d reloads and %v, want 1, and ErrOutcomeUnknown: %t", len(call.made), err, c.unknown)
				}
			})
		})
	}
}

// The triggered reload is on the second page of the app's newest reloads, because others follow quickly.
func TestTriggerReadsBackToItsOwnTime(t *testing.T) {
	t.Parallel()
	for _, once := range []bool{false, true} {
		t.Run(fmt.Sprint("Once ", once), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{latency: 200 * time.Millisecond}
				client := scriptedClient(t, w)
				w.calibrate(t, client)
				w.everyPost = postPlan{status: 502, then: func() {
					for range 30 {
						time.Sleep(5 * time.Millisecond)
						w.triggerForeign(worldRecord{app: "app"}, 0)
					}
				}}
				var r *reloads.Reload
				var err error
				if once {
					r, err = client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.Once("key"))
				} else {
					r, err = client.Trigger(t.Context(), reloads.Request{AppID: "app"})
				}
				own := slices.DeleteFunc(w.own(), func(r *worldRecord) bool { return r.app != "app" })
				if err != nil || len(own) != 1 || r.ID != own[0].id {
					t.Errorf("got %v, %v, and made %d reloads", r, err, len(own))
				}
			})
		})
	}
}

// Two calls of a client lose their responses. The one without an effect does not take the reload of the other one, which is
// listed later.
func TestTriggerDoesNotTakeReloadOfCallInProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 50 * time.Millisecond, runFor: 15 * time.Second, listLag: 4 * time.Second}
		client := scriptedClient(t, w)
		w.calibrate(t, client)
		first, _ := newCall(t.Context(), postPlan{noEffect: true, status: 502})
		second, call := newCall(t.Context(), postPlan{status: 502})
		var taken, own *reloads.Reload
		var err, ownErr error
		var calls sync.WaitGroup
		calls.Go(func() { taken, err = client.Trigger(first, reloads.Request{AppID: "app"}) })
		calls.Go(func() {
			time.Sleep(2 * time.Second)
			own, ownErr = client.Trigger(second, reloads.Request{AppID: "app"})
		})
		calls.Wait()
		if taken != nil || !errors.Is(err, reloads.ErrOutcomeUnknown) {
			t.Errorf("the call without an effect returned %v, %v", taken, err)
		}
		if len(call.made) != 1 || ownErr != nil && !errors.Is(ownErr, reloads.ErrOutcomeUnknown) || own != nil && own.ID != call.made[0].id {
			t.Errorf("the other one made %d reloads and returned %v, %v", len(call.made), own, ownErr)
		}
	})
}

// The same if the other call has given up before its reload is listed.
func TestTriggerDoesNotTakeReloadOfCallThatGaveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: 50 * time.Millisecond, runFor: time.Minute, listLag: 6 * time.Second}
		client := scriptedClient(t, w)
		w.calibrate(t, client)
		first, _ := newCall(t.Context(), postPlan{noEffect: true, status: 502})
		var calls sync.WaitGroup
		calls.Go(func() {
			if r, err := client.Trigger(first, reloads.Request{AppID: "app"}); r != nil || !errors.Is(err, reloads.ErrOutcomeUnknown) {
				t.Errorf("the call without an effect returned %v, %v", r, err)
			}
		})
		calls.Go(func() {
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			ctx, _ = newCall(ctx, postPlan{status: 502})
			if _, err := client.Trigger(ctx, reloads.Request{AppID: "app"}); !errors.Is(err, reloads.ErrOutcomeUnknown) {
				t.Errorf("the call that gave up returned %v", err)
			}
		})
		calls.Wait()
	})
}

// The triggered reload is listed in a way that does not identify it. A reload that somebody else triggers half a minute
// later does not become the triggered one. The error names both. The ResourceID decides nevertheless.
func TestTriggerDoesNotTakeLaterReload(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		early   time.Duration // how far the clock of the records is behind
		fields  []any         // of the triggered reload
		foreign []any         // of the later one
		returns string        // the ID of the reload; empty if the outcome is unknown
	}{
		"200 ms behind":                        {early: 200 * time.Millisecond},
		"1.9 s behind":                         {early: 1900 * time.Millisecond},
		"without creationTime":                 {fields: []any{"creationTime", nil}},
		"another partial":                      {fields: []any{"partial", true}},
		"another resourceId":                   {fields: []any{"resourceId", "made-by-the-service"}},
		"1.9 s behind, the other's resourceId": {early: 1900 * time.Millisecond, foreign: []any{"resourceId", "run-42"}, returns: "foreign"},
		"of the same clock":                    {returns: "own"},
		"3.1 s behind":                         {early: 3100 * time.Millisecond, returns: "foreign"}, // more than clocks may differ
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent time.Time
				s := &scriptedService{latency: 20 * time.Millisecond}
				s.trigger = func(int, string) (int, string) { sent = time.Now(); return 0, "" }
				s.list = func(*http.Request) (int, string) {
					own := recordText("own", "app", reloads.StatusSucceeded, sent.Add(-c.early), c.fields...)
					foreign := recordText("foreign", "app", reloads.StatusSucceeded, sent.Add(12*time.Second), c.foreign...)
					if c.returns != "own" && time.Since(sent) > 12*time.Second || c.returns == "foreign" {
						return http.StatusOK, listText(foreign, own)
					}
					return http.StatusOK, listText(own)
				}
				time.Sleep(123 * time.Millisecond) // otherwise the creationTime would seem to be in whole seconds
				r, err := scriptedClient(t, s).Trigger(t.Context(), reloads.Request{AppID: "app", ResourceID: "run-42"})
				if s.triggers != 1 {
					t.Errorf("%d triggers, want 1", s.triggers)
				}
				switch {
				case c.returns != "" && (err != nil || r.ID != c.returns):
					t.Errorf("got %v, %v, want the reload %s", r, err, c.returns)
				case c.returns == "" && (!errors.Is(err, reloads.ErrOutcomeUnknown) ||
					!strings.Contains(err.Error(), "reload own,") || !strings.Contains(err.Error(), "reload foreign,")):
					t.Errorf("got %v, %v, want ErrOutcomeUnknown that names both", r, err)
				}
			})
		})
	}
}

// A list shows the triggered reload, and the later ones lack it, because they are served by replicas that are behind. It is
// not forgotten, whatever else those lists contain.
func TestTriggerRemembersListedReload(t *testing.T) {
	t.Parallel()
	t.Run("of another call", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, client := newWorld(t, &world{runFor: time.Second})
			w.calibrate(t, client)
			began := time.Now()
			w.unlisted = func(r *worldRecord) bool {
				return r.number == 0 && time.Since(began) > 500*time.Millisecond && time.Since(began) < 40*time.Second
			}
			second := make(chan triggered, 1)
			time.AfterFunc(time.Millisecond, func() {
				second <- w.trigger(t, client, reloads.Request{AppID: "app"}, postPlan{reach: 2 * time.Second, hold: 2 * time.Second})
			})
			w.trigger(t, client, reloads.Request{AppID: "app"}, lostAfter).returnsOwn(t)
			(<-second).returnsOwn(t)
		})
	})
	t.Run("of somebody else", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, client := newWorld(t, &world{recordOffset: -1500 * time.Millisecond})
			began := time.Now()
			w.unlisted = func(r *worldRecord) bool { return r.number == 0 && time.Since(began) > 5*time.Second }
			time.AfterFunc(10*time.Second, func() { w.triggerForeign(worldRecord{app: "app"}, 0) })
			got := w.trigger(t, client, reloads.Request{AppID: "app"}, lostAfter)
			got.isUnknown(t, got.ids()...)
			got.sent(t, 1)
		})
	})
}

// A call has given up before another one for the same app begins. Its trigger may still take effect, or its reload may seem
// to have been created later, so its reload is not returned by the other call.
func TestTriggerDoesNotTakeReloadOfCallThatGaveUpBefore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		precision time.Duration
		first     postPlan
		second    postPlan
		pause     time.Duration // between the calls
	}{
		"takes effect later":        {first: postPlan{reach: 3 * time.Second}, second: postPlan{noEffect: true, status: 502}},
		"takes effect 25 s later":   {first: postPlan{reach: 25 * time.Second}, second: postPlan{noEffect: true, status: 502}, pause: 20 * time.Second},
		"in the same second":        {precision: time.Second, first: postPlan{hold: 10 * time.Second}, second: postPlan{status: 502}},
		"one that had no effect":    {first: postPlan{noEffect: true, hold: 10 * time.Second}, second: lostAfter, pause: 34 * time.Second},
		"one that was slow, before": {first: postPlan{hold: 10 * time.Second}, second: lostAfter, pause: 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client := newWorld(t, &world{runFor: time.Minute, precision: c.precision})
				w.calibrate(t, client)
				time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1100 * time.Millisecond)))
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				ctx, call := newCall(ctx, c.first)
				if _, err := client.Trigger(ctx, reloads.Request{AppID: "app"}); !errors.Is(err, reloads.ErrOutcomeUnknown) {
					t.Fatal(err)
				}
				time.Sleep(c.pause)
				second := w.trigger(t, client, reloads.Request{AppID: "app"}, c.second)
				if c.pause > 33*time.Second {
					second.returnsOwn(t)
				} else {
					second.isUnknown(t, triggered{worldCall: call}.ids()...)
				}
			})
		})
	}
}

// Somebody else triggers the app between a trigger without an effect and its retry, and that reload is listed only after the
// retry, whose response is lost. It is not returned instead of the retry's own.
func TestTriggerDoesNotTakeReloadBeforeItsRetry(t *testing.T) {
	t.Parallel()
	for _, calibrated := range []bool{false, true} {
		t.Run(fmt.Sprint("calibrated ", calibrated), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client := newWorld(t, &world{listLag: 15 * time.Second, runFor: 5 * time.Second})
				if calibrated {
					w.calibrate(t, client)
				}
				time.AfterFunc(22*time.Second, func() { w.triggerForeign(worldRecord{app: "app"}, 0) })
				got := w.trigger(t, client, reloads.Request{AppID: "app"}, lostBefore, lostAfter)
				got.isUnknown(t, got.ids()...)
				got.sent(t, 2)
			})
		})
	}
}

// The trigger does not arrive, and no list works during an outage. The reload that somebody else triggers at its end is too
// late to be the triggered one.
func TestTriggerDoesNotTakeReloadAfterOutage(t *testing.T) {
	t.Parallel()
	for after, returned := range map[time.Duration]bool{25 * time.Second: true, 40 * time.Second: false, 10 * time.Minute: false} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{latency: 50 * time.Millisecond}
				client := scriptedClient(t, w)
				w.calibrate(t, client)
				began := time.Now()
				w.instead = func(*http.Request) outcome {
					if time.Since(began) < time.Minute+after+time.Second {
						return hangs // the attempt of the trigger ends after a minute
					}
					return nil
				}
				var late atomic.Pointer[worldRecord]
				time.AfterFunc(time.Minute+after, func() { late.Store(w.triggerForeign(worldRecord{app: "app"}, time.Second)) })
				r := w.trigger(t, client, reloads.Request{AppID: "app"})
				if id := late.Load().id; !returned {
					r.isUnknown(t, id)
				} else if r.err != nil || r.reload.ID != id {
					t.Errorf("got %s, want the reload %s", r, id)
				}
			})
		})
	}
}

// The lists after a lost trigger honor Retry-After as far as MaxRetryAfter, also when the retries of a list are used up.
func TestTriggerListsHonorRetryAfter(t *testing.T) {
	t.Parallel()
	for after, pause := range map[string]time.Duration{"60": time.Minute, "600": 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			wire := scripted(fails(errReset), respond(503, "", "Retry-After", after))
			_, err := scriptedClient(t, wire).Trigger(t.Context(), reloads.Request{AppID: "app"})
			gaps := wire.gaps()[1:] // the first list follows at once
			if !errors.Is(err, reloads.ErrOutcomeUnknown) || len(gaps) < 5 || slices.Min(gaps) < pause || slices.Max(gaps) > pause+15*time.Second {
				t.Errorf("Retry-After %s: %v between the lists, %v", after, gaps, err)
			}
		})
	}
}

// A trigger without an effect is retried when the Retry-After of its response has passed. It is not retried if that exceeds
// MaxRetryAfter.
func TestTriggerRetryHonorsRetryAfter(t *testing.T) {
	t.Parallel()
	for after, retries := range map[string]int{"120": 1, "300": 1, "301": 0} {
		synctest.Test(t, func(t *testing.T) {
			began, failed := time.Now(), false
			w, client := newWorld(t, &world{})
			w.instead = func(r *http.Request) outcome {
				if failed || !isTrigger(r) {
					return nil
				}
				failed = true
				return respond(http.StatusBadGateway, "", "Retry-After", after)
			}
			got := w.trigger(t, client, reloads.Request{AppID: "app"})
			got.sent(t, retries)
			if retries == 0 {
				got.isUnknown(t)
			} else if got.returnsOwn(t); fmt.Sprint(got.posts[0].Sub(began).Round(time.Second).Seconds()) != after {
				t.Errorf("the trigger was retried after %v, want %s s", got.posts[0].Sub(began), after)
			}
		})
	}
}

// The client's clock is set forward by less than the clocks of the service may be apart, and the record of the next trigger
// has a clock that is behind. No second reload is made.
func TestTriggerAfterClockWasSetAndRecordClockIsBehind(t *testing.T) {
	t.Parallel()
	for by := 100 * time.Millisecond; by < 2*time.Second; by += 200 * time.Millisecond {
		for behind := 100 * time.Millisecond; behind < 2*time.Second; behind += 200 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				w, client := newWorld(t, &world{})
				w.calibrate(t, client)
				time.Sleep(time.Hour)
				w.dateOffset, w.recordOffset = -by, -behind
				w.trigger(t, client, reloads.Request{AppID: "app"}, lostAfter).returnsOwnOrUnknown(t, true)
			})
		}
	}
}

// In the grace time of an aborted run, too, the lists after a lost trigger honor Retry-After.
func TestRetryAfterInGraceTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lists int
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			if isTrigger(r) {
				return nil, errReset
			}
			lists++
			return respond(http.StatusServiceUnavailable, "", "Retry-After", "30")(r)
		}), noRetries)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
		if lists != 1 || !errors.Is(err, reloads.ErrOutcomeUnknown) {
			t.Errorf("%d lists within the Retry-After of the first one; %v", lists, err)
		}
	})
}

// Of an app with very many new reloads, the newest 200 are listed.
func TestTriggerOfAppWithTooManyReloads(t *testing.T) {
	t.Parallel()
	w := &world{latency: 300 * time.Millisecond}
	w.everyPost = postPlan{status: 502, then: func() {
		for range 250 {
			time.Sleep(time.Millisecond)
			w.triggerForeign(worldRecord{app: "app"}, 0)
		}
	}}
	inBubble(t, w, func(t *testing.T, client *reloads.Client) {
		_, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if !errors.Is(err, reloads.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "more than 200 reloads") {
			t.Errorf("got %v", err)
		}
		last := w.sent()[10]
		if query, _ := url.ParseQuery(last.query); query.Get("next") != "180" || strings.Contains(w.sent()[11].query, "next") {
			t.Errorf("the last page is %s", last.query)
		}
	})
}

// A list whose pages never end is read to the end of maxListed records.
func TestTriggerWithEndlessList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lists := 0
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			if isTrigger(r) {
				return respond(http.StatusBadGateway, "")(r)
			}
			lists++
			time.Sleep(time.Second)
			links := fmt.Sprintf(`{"next":{"href":"?next=%d"}}`, lists)
			return respond(200, `{"data":[`+recordText("r1", "app", reloads.StatusReloading, time.Now())+`],"links":`+links+`}`)(r)
		}), unmetered)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := client.Trigger(ctx, reloads.Request{AppID: "app"}); !errors.Is(err, reloads.ErrOutcomeUnknown) || lists != 6*200 {
			t.Errorf("%v after %d lists", err, lists)
		}
	})
}

// Pages with one old reload, with some of the same time or with one of another app do not show that the list is sorted.
func TestTriggerWithListInOtherOrder(t *testing.T) {
	t.Parallel()
	other := recordText("other", "other", reloads.StatusFailed, time.Unix(0, 0))
	for name, extra := range map[string]string{"of this app": "", "of the same time": "", "of another app": other} {
		synctest.Test(t, func(t *testing.T) {
			var records []string
			wire := scripted(func(r *http.Request) (*http.Response, error) {
				if isTrigger(r) {
					records = append(records, recordText(fmt.Sprint("own", len(records)), "app", reloads.StatusSucceeded, time.Now()))
					return nil, errReset
				}
				n, _ := strconv.Atoi(r.URL.Query().Get("next"))
				page, next := records[n:min(n+1, len(records))], ""
				if n+1 < len(records) {
					next = fmt.Sprintf(`"next":{"href":"?next=%d"}`, n+1)
				}
				if extra != "" {
					page = append(slices.Clone(page), extra)
				}
				return respond(200, `{"data":[`+strings.Join(page, ",")+`],"links":{`+next+`}}`, "Date", time.Now().UTC().Format(http.TimeFormat))(r)
			})
			for i := range 2 {
				records = append(records, recordText(fmt.Sprint("old", i), "app", reloads.StatusFailed, time.Now()))
				if name != "of the same time" {
					time.Sleep(time.Hour)
				}
			}
			time.Sleep(time.Hour)
			_, err := scriptedClient(t, wire).Trigger(t.Context(), reloads.Request{AppID: "app"})
			if n := wire.count(http.MethodPost); n != 1 {
				t.Errorf("a reload %s: %d triggers; %v", name, n, err)
			}
		})
	}
}

// A list that hangs when ctx ends does not take the whole grace time of an aborted run.
func TestAbortDuringAListThatHangs(t *testing.T) {
	t.Parallel()
	for name, stuck := range map[string]outcome{"hangs": hangs, "backoff": respond(http.StatusBadGateway, "")} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			w := &world{runFor: time.Hour, everyPost: lostAfter, latency: 5 * time.Millisecond}
			w.instead = func(r *http.Request) outcome {
				if isList(r) && ctx.Err() == nil {
					return stuck
				}
				return nil
			}
			client := scriptedClient(t, w, reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 5, MinBackoff: 30 * time.Second}))
			_, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
			if rs := w.app("app").records; len(rs) != 1 || rs[0].canceled.IsZero() {
				t.Errorf("%s: got %v, want the only reload to be canceled: %+v", name, err, rs)
			}
		})
	}
}

// The pending reload is found if its creation time is less precise than that of an earlier one, by another clock, or missing.
func TestAttachToPendingWithInexactCreationTime(t *testing.T) {
	t.Parallel()
	for creationTime, endedAfter := range map[string]time.Duration{
		"2000-01-01T00:00:00Z": 200 * time.Millisecond, "2000-01-01T00:00:00.001Z": 1900 * time.Millisecond, "": time.Minute,
	} {
		testAttachToPendingWith(t, creationTime, endedAfter)
	}
}

func testAttachToPendingWith(t *testing.T, creationTime string, endedAfter time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pending := func(status reloads.Status) string {
			return fmt.Sprintf(`{"id":%q,"appId":"app","status":%q,"creationTime":%q}`, reloadID, status, creationTime)
		}
		began := time.Now()
		ended := recordText("ended", "app", reloads.StatusCanceled, began.Add(endedAfter))
		time.Sleep(time.Second)
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			switch {
			case isTrigger(r):
				return respond(http.StatusTooManyRequests, `{"errors":[{"code":"RELOADS-007"}]}`)(r)
			case isList(r):
				return respond(http.StatusOK, listText(pending(reloads.StatusReloading), ended))(r)
			}
			if time.Since(began) < time.Minute {
				return respond(http.StatusOK, pending(reloads.StatusReloading))(r)
			}
			return respond(http.StatusOK, pending(reloads.StatusSucceeded))(r)
		}))
		if reload, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.AttachToPending()); err != nil {
			t.Errorf("%q: %v, %v", creationTime, reload, err)
		}
	})
}

// The reloads of other apps, if the service lists them, show that the list is not sorted.
func TestTriggerWithListOfTenantInOtherOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		record := func(id, app string, age time.Duration) string {
			return recordText(id, app, reloads.StatusFailed, began.Add(-age))
		}
		first := strings.Join([]string{
			record("1", "other", 10*time.Minute), record("2", "app", time.Hour), record("3", "other", 5*time.Minute), record("4", "app", 2*time.Hour),
		}, ",")
		var own []string
		wire := scripted(func(r *http.Request) (*http.Response, error) {
			date := []string{"Date", time.Now().UTC().Format(http.TimeFormat)}
			switch {
			case isTrigger(r):
				own = append(own, recordText(fmt.Sprint("own", len(own)), "app", reloads.StatusReloading, time.Now()))
				return nil, errReset
			case r.URL.Query().Has("next"):
				return respond(200, listText(own...), date...)(r)
			}
			return respond(200, `{"data":[`+first+`],"links":{"next":{"href":"?next=1"}}}`, date...)(r)
		})
		_, err := scriptedClient(t, wire).Trigger(t.Context(), reloads.Request{AppID: "app"})
		if n := wire.count(http.MethodPost); n != 1 || !errors.Is(err, reloads.ErrOutcomeUnknown) {
			t.Errorf("%d triggers; %v", n, err)
		}
	})
}

// The error of an aborted run is that of its context, also if the lists after a lost trigger end later.
func TestAbortWhileListing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			if isTrigger(r) {
				return nil, errReset
			}
			return respond(http.StatusOK, emptyPage)(r)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
		if !errors.Is(err, reloads.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want ErrOutcomeUnknown because of the deadline", err)
		}
	})
}

// A list of one page is complete in any order.
func TestTriggerWithPageInOtherOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		records := []string{recordText("old", "app", reloads.StatusFailed, time.Now())}
		time.Sleep(time.Hour)
		wire := scripted(func(r *http.Request) (*http.Response, error) {
			if isTrigger(r) {
				time.Sleep(10 * time.Millisecond)
				records = append(records, recordText("own", "app", reloads.StatusReloading, time.Now()))
				return nil, errReset
			}
			return respond(200, listText(records...), "Date", time.Now().UTC().Format(http.TimeFormat))(r)
		})
		reload, err := scriptedClient(t, wire).Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil || reload.ID != "own" {
			t.Errorf("got %v, %v", reload, err)
		}
	})
}
