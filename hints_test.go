package reloads_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
	"github.com/reloads-go/reloads/webhook"
)

// rarely polls as seldom as a client with events does.
var rarely = reloads.WithPolling(reloads.PollPolicy{MinInterval: time.Minute, MaxInterval: 5 * time.Minute})

// gets returns how many reloads the tenant was asked for since a time.
func gets(tenant *reloadstest.Tenant, since time.Time) (n int) {
	for _, r := range tenant.Requests() {
		if r.Operation == reloadstest.Get && !r.Time.Before(since) {
			n++
		}
	}
	return n
}

func TestPollEndsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: 10 * time.Second})
		client := tenant.NewClient(rarely)
		r, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []time.Duration{4 * time.Second, 10 * time.Second} { // the first one is wrong
			time.AfterFunc(at, func() { client.Poll(r.ID) })
		}
		began := time.Now()
		if _, err := client.Wait(t.Context(), r.ID); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the wait took %v", took)
		}
		if n := gets(tenant, began); n != 3 { // at the beginning, and for each hint
			t.Errorf("%d polls, want 3", n)
		}
	})
}

func TestPollEndsStepsOfBatch(t *testing.T) {
	t.Parallel()
	for _, apps := range []int{1, 3, 60} {
		synctest.Test(t, func(t *testing.T) {
			tenant := reloadstest.NewTenant()
			client := tenant.NewClient(rarely)
			var reqs []reloads.Request
			for i := range apps {
				reqs = append(reqs, reloads.Request{AppID: fmt.Sprint(i)})
				tenant.AddApp(fmt.Sprint(i), reloadstest.App{RunFor: 10*time.Second + time.Duration(i)*time.Second})
			}
			deliverTo(t, client, tenant, nil)
			for result := range client.RunAll(t.Context(), reqs) {
				if late := time.Since(result.Reload.EndTime); result.Err != nil || late > 100*time.Millisecond {
					t.Errorf("%d apps: app %s: %v late, %v", apps, result.Request.AppID, late, result.Err)
				}
			}
		})
	}
}

// deliverTo makes the tenant deliver events to Client.Poll.
func deliverTo(t *testing.T, client *reloads.Client, tenant *reloadstest.Tenant, fault func(reloads.Reload) reloadstest.EventFault) {
	t.Helper()
	const secret = "test-secret-0123456789-0123456789"
	handler, err := webhook.New(secret, func(e webhook.Event) { client.Poll(e.Data.ID) })
	if err != nil {
		t.Fatal(err)
	}
	tenant.AddWebhook(reloadstest.Webhook{Secret: secret, Handler: handler, Fault: fault})
}

// A storm of hints costs a poll per second, and only of reloads that something waits for.
func TestManyHintsCostFewPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Hour})
		client := tenant.NewClient(rarely)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var id string
		storm := func() {
			time.Sleep(2 * time.Minute)
			began := time.Now()
			for range 1000 {
				client.Poll(id)
				client.Poll("forged")
				client.Poll("")
				time.Sleep(10 * time.Millisecond)
			}
			if n := gets(tenant, began); n < 9 || n > 11 {
				t.Errorf("%d polls in 10 s", n)
			}
		}
		changed := func(_ reloads.Request, r *reloads.Reload) {
			if id == "" {
				id = r.ID
				go storm()
			}
		}
		if _, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.OnChange(changed)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		go storm()
		if _, err := client.Wait(ctx, id); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		before := len(tenant.Requests())
		client.Poll(id) // nothing waits for it
		synctest.Wait()
		if n := len(tenant.Requests()) - before; n != 0 {
			t.Errorf("%d requests without a wait", n)
		}
		if n := reloads.Listeners(client); n != 0 {
			t.Errorf("%d listeners are left", n)
		}
	})
}

// slowTransport takes a second for each response, after the tenant has handled the request.
type slowTransport struct{ base http.RoundTripper }

func (s slowTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.base.RoundTrip(r)
	time.Sleep(time.Second)
	return resp, err
}

// A hint that comes during a poll is not lost, nor one that comes before the response to the trigger.
// Several hints for a reload cost one poll, a second after the one before at the earliest. One during a poll costs another one.
func TestHintsAreMerged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &scriptedService{latency: 100 * time.Millisecond, get: func(id string) (int, string) {
			return http.StatusOK, recordText(id, id, reloads.StatusReloading, began)
		}}
		client := scriptedClient(t, s, rarely)
		hint := func(id string, at ...time.Duration) {
			for _, d := range at {
				time.AfterFunc(d, func() { client.Poll(id) })
			}
		}
		hint("r0", 10*time.Second, 10*time.Second, 10*time.Second, 10300*time.Millisecond, 10300*time.Millisecond)
		hint("r1", 10010*time.Millisecond, 10150*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for range client.WaitAll(ctx, scriptedReloads("r", 2)) {
		}
		got := map[string][]float64{}
		for _, r := range s.requests() {
			id := r.URI[strings.LastIndex(r.URI, "/")+1:]
			got[id] = append(got[id], r.At.Sub(began).Round(time.Second/10).Seconds())
		}
		if diff := cmp.Diff(map[string][]float64{"r0": {10, 11.1}, "r1": {10.1, 11.2}}, got); diff != "" {
			t.Errorf("polls, in seconds (-want +got):\n%s", diff)
		}
	})
}

// A poll because of a hint is retried after 1, 2, 4, 8 and 16 s. Another hint begins again. Only many hints at once cause a list.
func TestPaceAfterHints(t *testing.T) {
	t.Parallel()
	hints := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprint("r", i))
		}
		return all
	}
	for name, c := range map[string]struct {
		status int
		hints  map[time.Duration][]string // the IDs of reloads, by the time
		polls  []float64                  // of r0, in seconds
		lists  []float64
	}{
		"one":             {200, map[time.Duration][]string{10 * time.Second: hints(1)}, []float64{10}, []float64{0, 60}},
		"eight":           {200, map[time.Duration][]string{10 * time.Second: hints(8)}, []float64{10}, []float64{0, 60}},
		"nine":            {200, map[time.Duration][]string{10 * time.Second: hints(9)}, []float64{10}, []float64{0, 10, 70}},
		"it fails":        {500, map[time.Duration][]string{10 * time.Second: hints(1)}, []float64{10, 12, 16, 24, 40}, []float64{0, 60}},
		"it fails, twice": {500, map[time.Duration][]string{10 * time.Second: hints(1), 30 * time.Second: hints(1)}, []float64{10, 12, 16, 24, 30, 32, 36, 44}, []float64{0, 60}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := &scriptedService{
					get: func(id string) (int, string) {
						return c.status, recordText(id, id, reloads.StatusReloading, began)
					},
					list: func(*http.Request) (int, string) { return http.StatusOK, emptyPage },
				}
				client := scriptedClient(t, s, rarely)
				for at, ids := range c.hints {
					time.AfterFunc(at, func() {
						for _, id := range ids {
							client.Poll(id)
						}
					})
				}
				ctx, cancel := context.WithTimeout(t.Context(), 110*time.Second)
				defer cancel()
				for range client.WaitAll(ctx, scriptedReloads("r", 9)) {
				}
				var polls, lists []float64
				for _, r := range s.requests() {
					switch at := r.At.Sub(began).Round(time.Second).Seconds(); {
					case strings.HasPrefix(r.URI, "/api/v1/reloads?"):
						lists = append(lists, at)
					case strings.HasSuffix(r.URI, "/r0") && at < 58:
						polls = append(polls, at)
					}
				}
				if !slices.Equal(polls, c.polls) || !slices.Equal(lists, c.lists) {
					t.Errorf("polls after %v s, lists after %v s, want %v and %v", polls, lists, c.polls, c.lists)
				}
			})
		})
	}
}

func TestHintDuringRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: 10500 * time.Millisecond})
		client := tenant.NewClient(rarely, reloads.WithHTTPClient(&http.Client{Transport: slowTransport{tenant}}))
		r, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Until(r.CreationTime.Add(10*time.Second)), func() { client.Poll(r.ID) }) // starts a poll
		time.AfterFunc(time.Until(r.CreationTime.Add(10600*time.Millisecond)), func() { client.Poll(r.ID) })
		if r, err = client.Wait(t.Context(), r.ID); err != nil || time.Since(r.EndTime) > 2*time.Second {
			t.Errorf("%v late, %v", time.Since(r.EndTime), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: 10500 * time.Millisecond})
		client := tenant.NewClient(rarely, reloads.WithHTTPClient(&http.Client{Transport: slowTransport{tenant}}))
		var created time.Time
		changed := func(_ reloads.Request, r *reloads.Reload) {
			if created.IsZero() {
				created = r.CreationTime
				time.AfterFunc(time.Until(created.Add(10*time.Second)), func() { client.Poll(r.ID) }) // starts a poll
				time.AfterFunc(time.Until(created.Add(10600*time.Millisecond)), func() { client.Poll(r.ID) })
			}
		}
		r, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.OnChange(changed))
		var polls []time.Duration
		for _, r := range tenant.Requests() {
			if r.Operation == reloadstest.Get {
				polls = append(polls, r.Time.Sub(created).Round(100*time.Millisecond))
			}
		}
		// The second poll waits for the end of the first one, and then for a second.
		if diff := cmp.Diff([]time.Duration{10 * time.Second, 12 * time.Second}, polls); diff != "" || err != nil || r.Status != reloads.StatusSucceeded {
			t.Errorf("%v, %v, polls (-want +got):\n%s", r, err, diff)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: 300 * time.Millisecond})
		client := tenant.NewClient(rarely, reloads.WithHTTPClient(&http.Client{Transport: slowTransport{tenant}}))
		deliverTo(t, client, tenant, nil)
		r, err := client.Run(t.Context(), reloads.Request{AppID: "app"})
		if late := time.Since(r.EndTime); err != nil || late > 3*time.Second {
			t.Errorf("%v late, %v", late, err)
		}
	})
}

// Hints that come before their wait count for a minute, the latest 256 of them.
func TestEarlyHints(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]int{0: 256, 50 * time.Second: 256, 61 * time.Second: 0} {
		synctest.Test(t, func(t *testing.T) {
			tenant := reloadstest.NewTenant()
			client := tenant.NewClient(rarely)
			var active []*reloads.Reload
			for i := range 260 {
				app := fmt.Sprint(i)
				tenant.AddApp(app, reloadstest.App{RunFor: time.Hour})
				r, _ := tenant.Trigger(app, reloads.Reload{})
				client.Poll(r.ID)
				active = append(active, &r)
			}
			time.Sleep(age)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			for range client.WaitAll(ctx, active) {
			}
			if n := gets(tenant, began); n != want {
				t.Errorf("hints %v before their wait: %d polls, want %d", age, n, want)
			}
		})
	}
}

// A poll because of a hint is retried, because the event is not repeated.
func TestHintedPollFails(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]reloadstest.Fault{
		"503": {Status: http.StatusServiceUnavailable}, "429": {Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"2"}}},
		"lost": {LoseAfter: true},
	} {
		for _, apps := range []int{1, 10} {
			synctest.Test(t, func(t *testing.T) {
				tenant := reloadstest.NewTenant(reloadstest.WithToken(reloadstest.DefaultToken, reloadstest.User))
				client := tenant.NewClient(rarely)
				deliverTo(t, client, tenant, nil)
				var reqs []reloads.Request
				for i := range apps {
					app := fmt.Sprint(i)
					tenant.AddApp(app, reloadstest.App{RunFor: 20*time.Minute + time.Duration(i)*time.Second})
					reqs = append(reqs, reloads.Request{AppID: app})
				}
				time.AfterFunc(20*time.Minute-time.Millisecond, func() {
					fault.Operation, fault.Times = reloadstest.Get, 3
					tenant.Inject(fault)
				})
				for result := range client.RunAll(t.Context(), reqs) {
					if late := time.Since(result.Reload.EndTime); result.Err != nil || late > 20*time.Second {
						t.Errorf("%s, %d apps: %v late, %v", name, apps, late, result.Err)
					}
				}
			})
		}
	}
}

// The intervals of the retries double, so that they last longer than an outage of some seconds.
func TestHintedPollOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: 20 * time.Minute})
		client := tenant.NewClient(rarely)
		deliverTo(t, client, tenant, nil)
		outage := time.Now().Add(20*time.Minute - time.Second)
		tenant.Inject(reloadstest.Fault{
			Operation: reloadstest.Get, Status: http.StatusServiceUnavailable, Times: -1,
			Match: func(*http.Request) bool { return time.Since(outage) > 0 && time.Since(outage) < 11*time.Second },
		})
		r, err := client.Run(t.Context(), reloads.Request{AppID: "app"})
		if late := time.Since(r.EndTime); err != nil || late > 20*time.Second {
			t.Errorf("%v late, %v", late, err)
		}
	})
}

// StepTimeout polls what it cancels, so that the result is true also if polls are rare and no event comes.
func TestStepTimeoutWithRarePolls(t *testing.T) {
	t.Parallel()
	for runFor, want := range map[time.Duration]reloads.Status{
		30*time.Minute - time.Second: reloads.StatusSucceeded, time.Hour: reloads.StatusCanceled,
	} {
		synctest.Test(t, func(t *testing.T) {
			tenant := newTenant(reloadstest.App{RunFor: runFor, CancelFor: 2 * time.Second})
			client := tenant.NewClient(rarely)
			r, err := client.Run(t.Context(), reloads.Request{AppID: "app"}, reloads.StepTimeout(30*time.Minute))
			if r.Status != want || (err == nil) != (want == reloads.StatusSucceeded) {
				t.Errorf("%s, %v, want %s", r.Status, err, want)
			}
		})
	}
}

// Another wait for the reload does not take the hint away from one that is about to begin.
func TestHintForTwoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: 10 * time.Second})
		client := tenant.NewClient(rarely)
		r, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = client.Wait(t.Context(), r.ID) }()
		time.Sleep(10 * time.Second)
		client.Poll(r.ID)
		synctest.Wait()
		began := time.Now()
		for result := range client.WaitAll(t.Context(), []*reloads.Reload{r}) { // its state is the one before the hint
			if took := time.Since(began); result.Err != nil || took > 2*time.Second {
				t.Errorf("%v, %v", took, result.Err)
			}
		}
	})
}

// Hints for some reloads do not starve the others, also if each is polled singly.
func TestHintsDoNotStarve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant(reloadstest.WithToken(reloadstest.DefaultToken, reloadstest.User))
		client := tenant.NewClient(rarely)
		var reqs []reloads.Request
		for i := range 41 {
			app := fmt.Sprint(i)
			tenant.AddApp(app, reloadstest.App{RunFor: time.Hour})
			reqs = append(reqs, reloads.Request{AppID: app})
		}
		tenant.AddApp("0", reloadstest.App{RunFor: 2 * time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var hinted []string
		storm := false
		changed := func(req reloads.Request, r *reloads.Reload) {
			if req.AppID != "0" && !slices.Contains(hinted, r.ID) {
				hinted = append(hinted, r.ID)
			}
			if len(hinted) == 40 && !storm {
				storm = true
				ids := slices.Clone(hinted)
				go func() {
					for ctx.Err() == nil {
						for _, id := range ids {
							client.Poll(id)
						}
						time.Sleep(500 * time.Millisecond)
					}
				}()
			}
		}
		for result := range client.RunAll(ctx, reqs, reloads.OnChange(changed)) {
			if result.Request.AppID == "0" {
				if late := time.Since(result.Reload.EndTime); result.Err != nil || late > 2*time.Minute {
					t.Errorf("%v late, %v", late, result.Err)
				}
				cancel()
			}
		}
		time.Sleep(time.Second) // for the end of the storm
	})
}

// With events and rare polls, ends are noticed at once, with few requests. Lost events lose nothing.
func TestEventsOfAThousandReloads(t *testing.T) {
	skipInShortMode(t)
	for name, c := range map[string]struct {
		fault    func(reloads.Reload) reloadstest.EventFault
		within   time.Duration
		late     time.Duration // 95 % of the ends
		requests float64       // per reload
	}{
		"events":          {nil, 30 * time.Minute, time.Second, 1.2},
		"within a second": {nil, time.Second, 10 * time.Second, 1.2},
		"late and doubled": {func(reloads.Reload) reloadstest.EventFault {
			return reloadstest.EventFault{Delay: 5 * time.Second, Repeats: 1}
		}, 30 * time.Minute, 6 * time.Second, 2.2},
		"all lost": {func(reloads.Reload) reloadstest.EventFault { return reloadstest.EventFault{Lost: true} }, 30 * time.Minute, time.Minute, 1.2},
	} {
		synctest.Test(t, func(t *testing.T) {
			tenant := reloadstest.NewTenant()
			client := tenant.NewClient(rarely)
			deliverTo(t, client, tenant, c.fault)
			const n = 1000
			var active []*reloads.Reload
			for i := range n {
				app := fmt.Sprint(i)
				tenant.AddApp(app, reloadstest.App{RunFor: time.Minute + c.within*time.Duration(i)/n})
				r, _ := tenant.Trigger(app, reloads.Reload{})
				active = append(active, &r)
			}
			began := time.Now()
			var late []time.Duration
			for result := range client.WaitAll(t.Context(), active) {
				if result.Err != nil {
					t.Fatal(result.Err)
				}
				late = append(late, time.Since(result.Reload.EndTime))
			}
			slices.Sort(late)
			requests := 0
			for _, r := range tenant.Requests() {
				if r.Operation != reloadstest.SignIn && !r.Time.Before(began) {
					requests++
				}
			}
			p95 := late[len(late)*95/100]
			t.Logf("%s: 95 %% within %v, all within %v, %.2f requests each", name, p95, late[len(late)-1], float64(requests)/n)
			if len(late) != n || p95 > c.late || float64(requests)/n > c.requests {
				t.Errorf("%s: %d results, 95 %% within %v, %.2f requests each", name, len(late), p95, float64(requests)/n)
			}
		})
	}
}

// Hints for many reloads during a pass of the feed cause another pass.
func TestManyHintsDuringAPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{latency: time.Second, runFor: time.Hour}
		client := scriptedClient(t, w, rarely)
		var active []*reloads.Reload
		for i := range 20 {
			r := w.triggerForeign(worldRecord{app: fmt.Sprint(i)}, 0)
			active = append(active, &reloads.Reload{ID: r.id, AppID: r.app, Status: reloads.StatusReloading})
		}
		time.AfterFunc(time.Second, func() {
			for _, r := range active {
				client.Poll(r.ID)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for range client.WaitAll(ctx, active) {
		}
		lists := 0
		for _, r := range w.sent() {
			if r.path == "/api/v1/reloads" {
				lists++
			}
		}
		if lists != 2 {
			t.Errorf("%d lists, want 2", lists)
		}
	})
}
