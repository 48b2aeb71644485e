package reloads_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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
							CreationTime: time.Now().Add(offset - 2*time.Second),
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
				if reload != nil || !errors.Is(err, reloads.ErrReloadPending) {
					t.Errorf("%v after %s, offset %v: got %v, %v, want ErrReloadPending", ago, earlier.ID, offset, reload, err)
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + listener.Addr().String()
	_ = listener.Close()
	client, err := reloads.NewClient(closed, reloads.APIKey(testToken), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 2, MinBackoff: 1, MaxBackoff: 2}))
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

// plannedFault is a value in the context of a trigger: the fault of its first POST.
type plannedFault struct {
	fault int
	used  atomic.Bool
}

type plannedFaultKey struct{}

// Ten thousand apps are triggered. A fifth of the triggers has a fault, and a fifth follows a reload of somebody else.
// No reload is lost, none is made twice, and no reload of somebody else is adopted.
func TestManyTriggersWithFaults(t *testing.T) {
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
				var hit, refused atomic.Int64
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
				if n := len(made) + int(refused.Load()); n != apps {
					t.Errorf("%d reloads of %d", n, apps)
				}
				t.Logf("%d with a fault, %d reloaded, %d refused because of a pending reload", hit.Load(), len(made), refused.Load())
			})
		})
	}
}
