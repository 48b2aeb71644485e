package reloads_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{QueueFor: 10 * time.Second, RunFor: time.Minute, Outcome: reloads.StatusFailed})
		client := tenant.NewClient()
		reload, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		states := client.Watch(t.Context(), reload.ID)
		if n := countRequests(tenant, "get"); n != 0 {
			t.Errorf("%d requests before the range", n)
		}
		for _, want := range [][]reloads.Status{
			{reloads.StatusQueued, reloads.StatusReloading, reloads.StatusFailed},
			{reloads.StatusFailed}, // the second range, after the end
		} {
			var got []reloads.Status
			for r, err := range states {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, r.Status)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
		}
		polls := countRequests(tenant, "get")
		for _, err := range states {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if n := countRequests(tenant, "get") - polls; n != 1 {
			t.Errorf("%d requests for a range with a break, want 1", n)
		}
	})
}

func TestPollingLagAndCount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		length, lag time.Duration
		polls       int
	}{
		{5 * time.Second, time.Second, 6},
		{time.Minute, 7200 * time.Millisecond, 35},
		{10 * time.Minute, 15 * time.Second, 80},
		{3 * time.Hour, 15 * time.Second, 800},
	} {
		t.Run(c.length.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(reloadstest.App{QueueFor: c.length / 5, RunFor: c.length * 4 / 5})
				began := time.Now()
				reload, err := tenant.NewClient(defaultPolling).Run(t.Context(), reloads.Request{AppID: "app"})
				if err != nil {
					t.Fatal(err)
				}
				if lag := time.Since(began) - c.length; lag < 0 || lag > c.lag {
					t.Errorf("the end was seen %v after it, want at most %v", lag, c.lag)
				}
				if n := countRequests(tenant, "get"); n > c.polls {
					t.Errorf("%d polls, want at most %d", n, c.polls)
				}
				if got, want := reload.QueueTime()+reload.RunTime(), c.length; got != want {
					t.Errorf("the reload took %v, want %v", got, want)
				}
			})
		})
	}
}

func TestPollingIntervalDependsOnAge(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]time.Duration{"clocks agree": 0, "tenant is ahead": 2 * time.Hour, "tenant is behind": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(reloadstest.App{RunFor: time.Hour + 5*time.Minute}, reloadstest.WithClockSkew(offset))
				client := tenant.NewClient(defaultPolling)
				reload, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				if _, err := client.Wait(t.Context(), reload.ID); err != nil {
					t.Fatal(err)
				}
				// Intervals of 13.5 s to 15 s: they do not start short.
				if n := countRequests(tenant, "get"); n < 21 || n > 24 {
					t.Errorf("%d polls in 5 minutes, want 21 to 24", n)
				}
			})
		})
	}
}

func TestWaitToleratesTransientFailures(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]reloadstest.Fault{
		"server error":         {Status: http.StatusInternalServerError, Times: 20},
		"gateway's error page": {Status: http.StatusBadGateway, Body: "<html>", Times: 20},
		"lost connection":      {LoseBefore: true, Times: 20},
		"maintenance page":     {Status: http.StatusOK, Body: "<html>back soon</html>", Times: 20},
		"not found yet":        {Status: http.StatusNotFound, Times: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fault.Operation = "get"
				tenant := newTenant(reloadstest.App{RunFor: time.Minute})
				tenant.Inject(fault)
				reload, err := tenant.NewClient(defaultPolling).Run(t.Context(), reloads.Request{AppID: "app"})
				if err != nil || reload.Status != reloads.StatusSucceeded {
					t.Errorf("got %v and %v, want a reload that succeeded", reload, err)
				}
			})
		})
	}
}

func TestWaitEndsOnPermanentFailure(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		http.StatusBadRequest:   reloads.ErrBadRequest,
		http.StatusUnauthorized: reloads.ErrUnauthorized,
		http.StatusForbidden:    reloads.ErrForbidden,
	} {
		synctest.Test(t, func(t *testing.T) {
			tenant := newTenant(reloadstest.App{QueueFor: 10 * time.Second, RunFor: time.Minute})
			tenant.Inject(reloadstest.Fault{Operation: "get", Skip: 15, Times: -1, Status: status})
			reload, err := tenant.NewClient(defaultPolling).Run(t.Context(), reloads.Request{AppID: "app"})
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			if reload == nil || reload.Status != reloads.StatusReloading {
				t.Errorf("got the reload %v, want the most recent state, RELOADING", reload)
			}
		})
	}
}

func TestWaitReturnsTerminalStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[reloads.Status]error{
		reloads.StatusSucceeded: nil, reloads.StatusFailed: reloads.ErrReloadFailed,
		reloads.StatusCanceled: reloads.ErrReloadCanceled, reloads.StatusExceededLimit: reloads.ErrReloadExceededLimit,
	} {
		wire := scripted(respond(200, strings.Replace(queued, "QUEUED", string(status), 1)))
		if r, err := scriptedClient(t, wire).Wait(t.Context(), reloadID); r == nil || r.Status != status || !errors.Is(err, want) {
			t.Errorf("got %v, %v, want %s and %v", r, err, status, want)
		}
	}
}

func TestFailedPollsAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		wire := scripted(respond(500, ""), respond(200, strings.Replace(queued, "QUEUED", "SUCCEEDED", 1)))
		if _, err := scriptedClient(t, wire, noRetries, log.option(slog.LevelWarn)).Wait(t.Context(), reloadID); err != nil {
			t.Error(err)
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "poll failed, continuing") || !strings.Contains(text, "500") {
			t.Errorf("the log is %s", text)
		}
		if lines := log.lines(t); len(lines) != 1 || lines[0]["level"] != "WARN" || lines[0]["reload"] != reloadID {
			t.Errorf("the log is %v", lines)
		}
	})
}

func TestWaitForUnknownReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		reload, err := newTenant(reloadstest.App{}).NewClient(defaultPolling).Wait(t.Context(), "5be59decca62aa00097268a4")
		if reload != nil || !errors.Is(err, reloads.ErrNotFound) {
			t.Errorf("got %v and %v, want ErrNotFound", reload, err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v, want nothing: no response has named the reload", took)
		}
	})
}

// A reload that this client has just triggered may not be found at once.
func TestWaitToleratesNotFoundOfNewReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Minute})
		client := tenant.NewClient(defaultPolling)
		triggered, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.Get, Status: http.StatusNotFound, Times: 5})
		if reload, err := client.Wait(t.Context(), triggered.ID); err != nil || reload.Status != reloads.StatusSucceeded {
			t.Errorf("got %v, %v", reload, err)
		}
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.Get, Status: http.StatusNotFound, Times: -1})
		if _, err := client.Wait(t.Context(), triggered.ID); !errors.Is(err, reloads.ErrNotFound) {
			t.Errorf("a minute later: got %v, want ErrNotFound", err)
		}
		began := time.Now()
		again, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Wait(t.Context(), again.ID)
		if took := time.Since(began); !errors.Is(err, reloads.ErrNotFound) || took < 10*time.Second || took > 12*time.Second {
			t.Errorf("never found: %v after %v, want ErrNotFound after 10 s", err, took)
		}
	})
}

// The reloads of a batch may not be found at once, either. Those that no response has named end at once.
func TestBatchToleratesNotFoundOfNewReloads(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 8} {
		for _, c := range []struct {
			hidden time.Duration
			err    error
		}{{8 * time.Second, nil}, {time.Hour, reloads.ErrNotFound}} {
			t.Run(fmt.Sprintf("%d, hidden for %v", n, c.hidden), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					began := time.Now()
					w := &world{latency: 20 * time.Millisecond, runFor: time.Minute, listLag: c.hidden, instead: func(r *http.Request) outcome {
						if isGet(r) && time.Since(began) < c.hidden {
							return respond(404, "")
						}
						return nil
					}}
					client := scriptedClient(t, w)
					for r := range client.RunAll(t.Context(), requestsFor(eightApps[:n]...)) {
						if took := time.Since(began); !errors.Is(r.Err, c.err) || r.Reload == nil || c.err != nil && (took < 10*time.Second || took > 20*time.Second) {
							t.Errorf("RunAll: got %v, %v after %v, want %v", r.Reload, r.Err, took, c.err)
						}
					}
					began = time.Now()
					unknown := []*reloads.Reload{{ID: "unknown1"}, {ID: "unknown2"}}
					for r := range client.WaitAll(t.Context(), unknown) {
						if took := time.Since(began); !errors.Is(r.Err, reloads.ErrNotFound) || took > 2*time.Second {
							t.Errorf("WaitAll: got %v after %v, want ErrNotFound within 2s", r.Err, took)
						}
					}
				})
			})
		}
	}
}

func TestContextEndsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := newTenant(reloadstest.App{RunFor: time.Hour}).NewClient(defaultPolling)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		began := time.Now()
		reload, err := client.Run(ctx, reloads.Request{AppID: "app"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 20*time.Minute {
			t.Errorf("got %v after %v, want DeadlineExceeded after 20m", err, time.Since(began))
		}
		if reload == nil || reload.Status != reloads.StatusReloading {
			t.Errorf("got the reload %v, want the most recent state, RELOADING", reload)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := client.Wait(ended, reload.ID); !errors.Is(err, context.Canceled) {
			t.Errorf("with a canceled context: got %v, want Canceled", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = scriptedClient(t, scripted(hangs)).Wait(ctx, reloadID)
		if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "poll") {
			t.Errorf("during a poll: got %v, want DeadlineExceeded, not a failed poll", err)
		}
	})
}

// A token source that fails for a while does not end a wait. One that fails from the beginning does.
func TestWaitWithFailingTokenSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: 10 * time.Minute})
		began, down := time.Now(), errors.New("the identity provider is down")
		client, err := reloads.NewClient("https://tenant.example.com", reloads.TokenFunc(func(context.Context) (string, error) {
			if d := time.Since(began); d > 3*time.Minute && d < 5*time.Minute {
				return "", down
			}
			return tenant.Token(), nil
		}), reloads.WithHTTPClient(&http.Client{Transport: tenant}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Run(t.Context(), reloads.Request{AppID: "app"}); err != nil {
			t.Errorf("got %v, want a reload that succeeded", err)
		}
		began = time.Now().Add(-4 * time.Minute)
		if _, err := client.Wait(t.Context(), tenant.Reloads()[0].ID); !errors.Is(err, down) {
			t.Errorf("got %v, want the error of the token source", err)
		}
	})
}

// The record of another reload does not end the wait.
func TestWaitIgnoresRecordsOfOtherReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		record := func(id string, status reloads.Status) outcome {
			return respond(200, fmt.Sprintf(`{"id":%q,"status":%q}`, id, status))
		}
		sequence := []outcome{record("other", "FAILED"), record("mine", "QUEUED"), record("other", "SUCCEEDED"), record("mine", "SUCCEEDED")}
		wire := scripted(sequence...)
		r, err := scriptedClient(t, wire).Wait(t.Context(), "mine")
		if err != nil || r.ID != "mine" || len(wire.requests()) != len(sequence) {
			t.Errorf("Wait: %+v, %v after %d requests", r, err, len(wire.requests()))
		}
		results := 0
		for result := range scriptedClient(t, scripted(sequence...)).WaitAll(t.Context(), []*reloads.Reload{{ID: "mine"}, {ID: "mine"}}) {
			results++
			if result.Err != nil || result.Reload.ID != "mine" {
				t.Errorf("WaitAll: %+v", result)
			}
		}
		if results != 2 {
			t.Errorf("WaitAll: got %d results, want 2", results)
		}
	})
}

// waiting calls something that waits for the reload "mine" and returns its last state. Lists are refused.
type waiting func(ctx context.Context, client *reloads.Client) (*reloads.Reload, error)

var waitings = map[string]waiting{
	"Wait": func(ctx context.Context, client *reloads.Client) (*reloads.Reload, error) {
		return client.Wait(ctx, "mine")
	},
	"Run": func(ctx context.Context, client *reloads.Client) (*reloads.Reload, error) {
		return client.Run(ctx, reloads.Request{AppID: "app"})
	},
	"RunAll": func(ctx context.Context, client *reloads.Client) (reload *reloads.Reload, err error) {
		for r := range client.RunAll(ctx, requestsFor("app")) {
			reload, err = r.Reload, r.Err
		}
		return reload, err
	},
	"WaitAll": func(ctx context.Context, client *reloads.Client) (reload *reloads.Reload, err error) {
		for r := range client.WaitAll(ctx, []*reloads.Reload{{ID: "mine"}}) {
			reload, err = r.Reload, r.Err
		}
		return reload, err
	},
}

// pollTransport is a transport that responds to a trigger and refuses lists. poll returns the outcome of a poll, by how long
// after the first request it is sent and how many there were before.
type pollTransport struct {
	poll func(id string, after time.Duration, n int) outcome

	mu    sync.Mutex
	began time.Time
	polls []time.Time
}

func (p *pollTransport) RoundTrip(r *http.Request) (*http.Response, error) { return p.next(r)(r) }

func (p *pollTransport) next(r *http.Request) outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.IsZero() {
		p.began = time.Now()
	}
	switch {
	case isTrigger(r):
		return mine(reloads.StatusQueued)
	case isList(r):
		return respond(403, "")
	}
	p.polls = append(p.polls, time.Now())
	return p.poll(path.Base(r.URL.Path), time.Since(p.began), len(p.polls)-1)
}

// mine responds with the record that is waited for.
func mine(status reloads.Status) outcome {
	return respond(201, fmt.Sprintf(`{"id":"mine","appId":"app","status":%q}`, status))
}

// invalidPolls are responses that are not the record of the reload.
var invalidPolls = map[string]outcome{
	"sign-in page":   respond(200, "<html>Sign in</html>", "Content-Type", "text/html"),
	"another record": respond(200, `{"id":"other","appId":"app","status":"SUCCEEDED"}`),
	"no record":      respond(200, `{"maintenance":true}`),
	"no body":        respond(204, ""),
	"cut record":     respond(200, `{"id":"mi`),
}

// Three invalid responses in a row that span a minute end a wait.
func TestInvalidResponsesEndWait(t *testing.T) {
	t.Parallel()
	for name, invalid := range invalidPolls {
		for waitName, wait := range waitings {
			t.Run(waitName+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					wire := &pollTransport{poll: func(_ string, after time.Duration, _ int) outcome {
						if after < 5*time.Minute {
							return mine(reloads.StatusReloading)
						}
						return invalid
					}}
					reload, err := wait(t.Context(), scriptedClient(t, wire))
					// An interval is 13.5 to 15 s.
					if took := time.Since(wire.began) - 5*time.Minute; took < time.Minute || took > 90*time.Second {
						t.Errorf("it ended %v after the first invalid response could be seen, want 1m to 1m30s", took)
					}
					if reload == nil || reload.Status != reloads.StatusReloading {
						t.Errorf("got the reload %v, want the most recent state, RELOADING", reload)
					}
					var e *reloads.Error
					if !errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("got %v, want an error about the response", err)
					}
				})
			})
		}
	}
}

// Invalid responses do not end a wait if they are fewer than three in a row, or span less than a minute.
func TestSomeInvalidResponsesDoNotEndWait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy  reloads.PollPolicy
		invalid func(after time.Duration, n int) bool
		polls   int // if the wait ends with an error
	}{
		"for 55 s":                     {reloads.PollPolicy{MaxInterval: time.Second}, func(after time.Duration, _ int) bool { return after > time.Minute && after < 115*time.Second }, 0},
		"two of three":                 {reloads.PollPolicy{}, func(_ time.Duration, n int) bool { return n%3 != 0 }, 0},
		"two, far apart":               {reloads.PollPolicy{MinInterval: 5 * time.Minute}, func(_ time.Duration, n int) bool { return n == 1 || n == 2 }, 0},
		"three, far apart":             {reloads.PollPolicy{MinInterval: 5 * time.Minute}, func(_ time.Duration, n int) bool { return n >= 1 }, 4},
		"three within a minute, first": {reloads.PollPolicy{}, func(_ time.Duration, n int) bool { return n < 3 }, 0},
	} {
		for waitName, wait := range waitings {
			t.Run(waitName+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					wire := &pollTransport{poll: func(_ string, after time.Duration, n int) outcome {
						switch {
						case c.invalid(after, n):
							return invalidPolls["sign-in page"]
						case n > 3 && after > 3*time.Minute:
							return mine(reloads.StatusSucceeded)
						}
						return mine(reloads.StatusReloading)
					}}
					reload, err := wait(t.Context(), scriptedClient(t, wire, reloads.WithPolling(c.policy)))
					if c.polls == 0 && (err != nil || reload.Status != reloads.StatusSucceeded) {
						t.Errorf("got %v, %v, want a reload that succeeded", reload, err)
					}
					if c.polls > 0 && (err == nil || len(wire.polls) != c.polls) {
						t.Errorf("got %v after %d polls, want an error after %d", err, len(wire.polls), c.polls)
					}
				})
			})
		}
	}
}

// failedPolls are failures that may pass.
var failedPolls = map[string]outcome{
	"unmatched mock":     fails(errors.New("gock: cannot match any request")),
	"500":                respond(500, ""),
	"503 for 10 s":       respond(503, "", "Retry-After", "10"),
	"connection lost":    fails(errReset),
	"connection fails":   fails(errDial),
	"host not found":     fails(&net.DNSError{Err: "no such host", Name: "tenant.example.com", IsNotFound: true}),
	"no response":        hangs,
	"invalid in part":    nil, // every third response is invalid
	"rate limit in part": nil, // every third response is a 429
}

// Polls that all fail end a wait after GiveUpAfter, but not before.
func TestGiveUpAfter(t *testing.T) {
	t.Parallel()
	for name, failed := range failedPolls {
		for _, giveUpAfter := range []time.Duration{0, 10 * time.Minute, time.Nanosecond, -1} {
			for waitName, wait := range waitings {
				t.Run(fmt.Sprintf("%s, %s, %v", waitName, name, giveUpAfter), func(t *testing.T) {
					sample(t, 12)
					synctest.Test(t, func(t *testing.T) {
						wire := &pollTransport{poll: func(_ string, after time.Duration, n int) outcome {
							switch {
							case n == 0:
								return mine(reloads.StatusReloading)
							case failed != nil:
								return failed
							case n%3 != 1:
								return failedPolls["500"]
							case name == "invalid in part":
								return invalidPolls["no record"]
							}
							return respond(429, "")
						}}
						const limit = 2 * time.Hour
						ctx, cancel := context.WithTimeout(t.Context(), limit)
						defer cancel()
						began := time.Now()
						client := scriptedClient(t, wire, noRetries, reloads.WithPolling(reloads.PollPolicy{GiveUpAfter: giveUpAfter}))
						reload, err := wait(ctx, client)
						if reload == nil || reload.Status != reloads.StatusReloading || err == nil {
							t.Errorf("got %v, %v, want RELOADING and an error", reload, err)
						}
						if giveUpAfter < 0 {
							if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != limit {
								t.Errorf("it ended after %v with %v, want only the deadline to end it", time.Since(began), err)
							}
							return
						}
						if errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "all polls failed for") {
							t.Errorf("got %v, want an error that says that all polls failed", err)
						}
						counted := len(wire.polls) - 1
						if name == "rate limit in part" {
							counted -= (counted + 2) / 3
						}
						least := giveUpAfter
						if least == 0 {
							least = time.Hour
						}
						// The first failed poll ends after its interval, and the attempt timeout if it has no response.
						if took := time.Since(wire.polls[1]); took < least || giveUpAfter != 1 && took > least+2*(75*time.Second) || counted < 5 {
							t.Errorf("it gave up after %v and %d failed polls, want %v, and at least 5", took, counted, least)
						}
						if giveUpAfter == 1 && counted != 5 {
							t.Errorf("it gave up after %d failed polls, want 5", counted)
						}
					})
				})
			}
		}
	}
}

// One poll that succeeds begins a new outage. Polls that wait for the rate limit, or are refused because of it, do not
// count.
func TestGiveUpAfterStartsAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		poll func(after time.Duration) outcome
		ends time.Duration // 0 if it succeeds
	}{
		"unmatched mock from the beginning": {func(time.Duration) outcome { return failedPolls["unmatched mock"] }, time.Hour},
		"one success after 50 minutes": {func(after time.Duration) outcome {
			if after > 50*time.Minute && after < 50*time.Minute+15*time.Second {
				return mine(reloads.StatusReloading)
			}
			return failedPolls["500"]
		}, 110 * time.Minute},
		"rate limit for two hours": {func(after time.Duration) outcome {
			if after < 2*time.Hour {
				return respond(429, "", "Retry-After", "10")
			}
			return mine(reloads.StatusSucceeded)
		}, 0},
		"rate limit, then an outage": {func(after time.Duration) outcome {
			if after < 2*time.Hour {
				return respond(429, "", "Retry-After", "10")
			}
			return failedPolls["500"]
		}, 3 * time.Hour},
	} {
		for waitName, wait := range waitings {
			t.Run(waitName+", "+name, func(t *testing.T) {
				sample(t, 3)
				synctest.Test(t, func(t *testing.T) {
					wire := &pollTransport{poll: func(_ string, after time.Duration, _ int) outcome { return c.poll(after) }}
					_, err := wait(t.Context(), scriptedClient(t, wire, noRetries))
					took := time.Since(wire.began)
					if c.ends == 0 && err != nil || c.ends > 0 && (err == nil || took < c.ends-15*time.Second || took > c.ends+time.Minute) {
						t.Errorf("got %v after %v, want an end after %v", err, took, c.ends)
					}
				})
			})
		}
	}
}

// A reload that cannot be read ends its wait, although others of the batch can, and lists succeed.
func TestGiveUpAfterInBatch(t *testing.T) {
	t.Parallel()
	for name, list := range map[string]outcome{"lists refused": respond(403, ""), "lists empty": respond(200, emptyPage)} {
		t.Run(name, func(t *testing.T) {
			if name != "lists refused" {
				skipInShortMode(t)
			}
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				wire := outcome(func(r *http.Request) (*http.Response, error) {
					status := reloads.StatusReloading
					if time.Since(began) > 3*time.Hour {
						status = reloads.StatusSucceeded
					}
					switch id := path.Base(r.URL.Path); {
					case isList(r):
						return list(r)
					case strings.HasPrefix(id, "bad"):
						return respond(500, "")(r)
					default:
						return respond(200, fmt.Sprintf(`{"id":%q,"status":%q}`, id, status))(r)
					}
				})
				ends := map[string]time.Duration{}
				rs := []*reloads.Reload{{ID: "good"}, {ID: "bad1"}, {ID: "bad2"}, {ID: "bad3"}, {ID: "bad4"}, {ID: "bad5"}}
				ctx, cancel := context.WithTimeout(t.Context(), 9*time.Hour)
				defer cancel()
				for r := range scriptedClient(t, wire, noRetries).WaitAll(ctx, rs) {
					ends[r.Reload.ID] = time.Since(began)
					if (r.Err == nil) != (r.Reload.ID == "good") {
						t.Errorf("%s: %v", r.Reload.ID, r.Err)
					}
				}
				for id, end := range ends {
					want := time.Hour
					if id == "good" {
						want = 3 * time.Hour
					}
					if end < want || end > want+time.Minute {
						t.Errorf("%s ended after %v, want %v", id, end, want)
					}
				}
				if len(ends) != len(rs) {
					t.Errorf("%d results, want %d", len(ends), len(rs))
				}
			})
		})
	}
}

// In a large batch, each reload is polled rarely. A few polls of it that fail by chance do not end its wait.
func TestGiveUpAfterIgnoresRareFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		w := &world{runFor: 9 * time.Hour, instead: func(r *http.Request) outcome {
			switch {
			case isList(r):
				return respond(403, "")
			case rand.New(rand.NewPCG(uint64(n.Add(1)), 1)).IntN(10) < 3:
				return respond(500, "")
			}
			return nil
		}}
		var apps []string
		for i := range size(300, 30) {
			apps = append(apps, fmt.Sprint("app", i))
		}
		client := scriptedClient(t, w, reloads.WithPolling(reloads.PollPolicy{MinInterval: 12 * time.Minute}))
		for r := range client.WaitAll(t.Context(), w.foreignReloads(apps)) {
			if r.Err != nil {
				t.Errorf("%s: %v", r.Request.AppID, r.Err)
			}
		}
	})
}

// A reload that is seen in a list from time to time is waited for, even if no poll of it succeeds.
func TestListedReloadIsNotGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		wire := outcome(func(r *http.Request) (*http.Response, error) {
			status := reloads.StatusReloading
			if time.Since(began) > 90*time.Minute {
				status = reloads.StatusSucceeded
			}
			if isList(r) {
				return respond(200, listText(recordText("r0", "r0", status, began)), "Date", time.Now().UTC().Format(http.TimeFormat))(r)
			}
			return respond(500, "")(r)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Hour)
		defer cancel()
		for r := range scriptedClient(t, wire, reloads.WithPolling(reloads.PollPolicy{MinInterval: time.Minute})).WaitAll(ctx, scriptedReloads("r", 8), ignoreChanges) {
			if took := time.Since(began); (r.Err == nil) != (r.Reload.ID == "r0") || r.Err == nil && took < 90*time.Minute {
				t.Errorf("%s: %v after %v", r.Reload.ID, r.Err, took)
			}
		}
	})
}

// When all polls of a batch have failed for GiveUpAfter, all its waits end together, however few can be polled at once.
func TestGiveUpAfterEndsWholeBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		wire := outcome(func(r *http.Request) (*http.Response, error) {
			switch id := path.Base(r.URL.Path); {
			case time.Since(began) > 5*time.Minute:
				return hangs(r)
			case isList(r):
				return respond(200, emptyPage)(r)
			default:
				return respond(200, recordText(id, id, reloads.StatusReloading, began))(r)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Hour)
		defer cancel()
		n := 0
		for r := range scriptedClient(t, wire).WaitAll(ctx, scriptedReloads("r", 1000)) {
			n++
			if took := time.Since(began); took < 65*time.Minute || took > 68*time.Minute || !strings.Contains(r.Err.Error(), "all polls failed for 1h") {
				t.Fatalf("%s ended after %v: %v, want 65m to 68m", r.Reload.ID, took, r.Err)
			}
		}
		if n != 1000 {
			t.Errorf("%d results, want 1000", n)
		}
	})
}

// A server that has worked may work again, so the wait continues.
func TestWaitToleratesUnusableServerAfterResponse(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{
		"unknown host":        &net.DNSError{Err: "no such host", Name: "tenant.example.com", IsNotFound: true},
		"invalid certificate": &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
		"no TLS":              tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
	} {
		for waitName, wait := range waitings {
			t.Run(waitName+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					wire := &pollTransport{poll: func(_ string, after time.Duration, n int) outcome {
						switch {
						case after > 2*time.Minute:
							return mine(reloads.StatusSucceeded)
						case n > 0:
							return fails(failure)
						}
						return mine(reloads.StatusQueued)
					}}
					if r, err := wait(t.Context(), scriptedClient(t, wire)); err != nil || r.Status != reloads.StatusSucceeded {
						t.Errorf("got %v, %v", r, err)
					}
				})
			})
		}
	}
}

// The service may write the ID of a reload in another case than the caller.
func TestWaitIgnoresCaseOfID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		client := scriptedClient(t, scripted(respond(http.StatusOK, recordText("abcdef", "app", reloads.StatusSucceeded, began))))
		reload, err := client.Wait(t.Context(), "ABCDEF")
		if took := time.Since(began); err != nil || reload.ID != "abcdef" || took > time.Second {
			t.Errorf("got %v, %v after %v", reload, err, took)
		}
	})
}

// After a 429 or 503 with Retry-After, no poll starts before that, or MaxRetryAfter, has passed: neither after the retries of a
// poll are used up, nor because of a hint, nor if the limiter cannot pause.
func TestWaitHonorsRetryAfter(t *testing.T) {
	t.Parallel()
	for after, pause := range map[string]time.Duration{"60": time.Minute, "600": 5 * time.Minute} {
		for _, status := range []int{429, 503} {
			for name, opt := range map[string]reloads.Option{
				"no retries": noRetries, "the usual limiter": defaultPolling,
				"a limiter without Pause": reloads.WithLimiters(reloads.Limiters{Read: rate.NewLimiter(10, 10)}),
			} {
				synctest.Test(t, func(t *testing.T) {
					wire := scripted(respond(status, "", "Retry-After", after))
					client := scriptedClient(t, wire, opt)
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
					defer cancel()
					go func() {
						for ctx.Err() == nil {
							client.Poll("mine")
							time.Sleep(7 * time.Second)
						}
					}()
					_, err := client.Wait(ctx, "mine")
					time.Sleep(7 * time.Second) // for the end of the hints
					gaps := wire.gaps()
					if !errors.Is(err, context.DeadlineExceeded) || len(gaps) < 4 || slices.Min(gaps) < pause || slices.Max(gaps) > 2*pause {
						t.Errorf("%d with Retry-After %s, %s: %v between the polls, %v", status, after, name, gaps, err)
					}
				})
			}
		}
	}
}

// The token source fails for a few seconds after the run has attached to a reload. The service has responded before, so the
// wait continues.
func TestFailingTokenSourceAfterAttach(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(context.Context, *reloads.Client) error{
		"Run": func(ctx context.Context, client *reloads.Client) error {
			_, err := client.Run(ctx, reloads.Request{AppID: "app"}, reloads.AttachToPending())
			return err
		},
		"RunAll": func(ctx context.Context, client *reloads.Client) (err error) {
			for r := range client.RunAll(ctx, requestsFor("app"), reloads.AttachToPending()) {
				err = r.Err
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				record := func() string {
					if time.Since(began) > time.Minute {
						return recordText("r1", "app", reloads.StatusSucceeded, began)
					}
					return recordText("r1", "app", reloads.StatusReloading, began)
				}
				s := &scriptedService{latency: 20 * time.Millisecond}
				s.trigger = func(int, string) (int, string) {
					return http.StatusTooManyRequests, testdata(t, "error_429_pending.json")
				}
				s.list = func(*http.Request) (int, string) { return http.StatusOK, listText(record()) }
				s.get = func(string) (int, string) { return http.StatusOK, record() }
				failed := 0
				client, err := reloads.NewClient("https://tenant.example.com", reloads.TokenFunc(func(context.Context) (string, error) {
					if d := time.Since(began); d > 500*time.Millisecond && d < 5*time.Second {
						failed++
						return "", errors.New("sign-in is down")
					}
					return testToken, nil
				}), reloads.WithHTTPClient(&http.Client{Transport: s}))
				if err != nil {
					t.Fatal(err)
				}
				if err := run(t.Context(), client); err != nil || failed == 0 {
					t.Errorf("got %v after %d failures of the token source", err, failed)
				}
			})
		})
	}
}

// A 404 to a poll or cancel that was sent while the reload was new does not end the wait, however late it comes.
func TestLate404OfNewReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			if isTrigger(r) {
				return respond(201, strings.ReplaceAll(queued, reloadID, "new"))(r)
			}
			if n++; n%2 == 1 {
				time.Sleep(20 * time.Second)
				return respond(http.StatusNotFound, "")(r)
			}
			return respond(200, recordText("new", "app", reloads.StatusSucceeded, time.Time{}))(r)
		}))
		r, err := client.Run(t.Context(), reloads.Request{AppID: "app"})
		if err != nil || r.Status != reloads.StatusSucceeded {
			t.Errorf("got %v, %v", r, err)
		}
	})
}
