package reloads_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/reloads-go/reloads"
)

func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints {
		wire := scripted(e.ok)
		if err := e.call(t.Context(), scriptedClient(t, wire, reloads.WithUserAgent("ignored/1"), reloads.WithUserAgent("nightly/1.4 ~"))); err != nil {
			t.Fatal(err)
		}
		want := http.Header{
			"Accept": {"application/json"}, "Authorization": {"Bearer " + testToken},
			"User-Agent": wire.requests()[0].Header["User-Agent"],
		}
		if e.name == "trigger" {
			want.Set("Content-Type", "application/json")
		}
		if e.name == "list" {
			want.Set("Cache-Control", "no-cache")
		}
		if e.name == "log" {
			want.Set("Accept", "text/plain, application/json;q=0.5")
		}
		if diff := cmp.Diff(want, wire.requests()[0].Header); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.name, diff)
		}
		if got := want.Get("User-Agent"); !strings.HasPrefix(got, "nightly/1.4 ~ reloads-go/") {
			t.Errorf("User-Agent is %q", got)
		}
	}
	wire := scripted(respond(200, emptyPage))
	if _, err := scriptedClient(t, wire).List(t.Context(), reloads.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := wire.requests()[0].Header.Get("User-Agent"); !strings.HasPrefix(got, "reloads-go/") {
		t.Errorf("User-Agent is %q", got)
	}
}

// net/http itself retries a request with GetBody after some failures of a connection, even if the service has received it.
func TestTriggerHasNoGetBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		without := func(o outcome) outcome {
			return func(r *http.Request) (*http.Response, error) {
				if r.Body == nil || r.GetBody != nil {
					t.Error("the request has no body, or GetBody")
				}
				return o(r)
			}
		}
		wire := scripted(without(respond(429, "")), without(respond(503, "", "Retry-After", "1")), without(respond(201, queued)))
		_, err := scriptedClient(t, wire).Trigger(t.Context(), reloads.Request{AppID: "app"})
		if n := wire.count(http.MethodPost); err != nil || n != 3 || wire.requests()[2].Body != `{"appId":"app"}` {
			t.Errorf("got %v after %d POSTs, want the reload after 3 with the same body", err, n)
		}
	})
}

func TestContextEndsAttempt(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			wire := scripted(hangs)
			err := e.call(ctx, scriptedClient(t, wire))
			if !errors.Is(err, context.DeadlineExceeded) || len(wire.requests()) != 1 {
				t.Errorf("%s: %d requests, %v", e.name, len(wire.requests()), err)
			}
			if got := errors.Is(err, reloads.ErrOutcomeUnknown); got != (e.name == "trigger") {
				t.Errorf("%s: ErrOutcomeUnknown is %v", e.name, got)
			}
			// Nothing is sent if the context has already ended, so the outcome is known.
			for name, opt := range map[string]reloads.Option{
				"client's limiter":         reloads.WithLimiters(reloads.Limiters{}),
				"limiter that ignores ctx": reloads.WithLimiters(reloads.Limiters{Read: &countingLimiter{}, Trigger: &countingLimiter{}, Cancel: &countingLimiter{}}),
			} {
				wire = scripted(e.ok)
				err = e.call(ctx, scriptedClient(t, wire, opt))
				if !errors.Is(err, context.DeadlineExceeded) || len(wire.requests()) != 0 || errors.Is(err, reloads.ErrOutcomeUnknown) {
					t.Errorf("%s, already ended, %s: %d requests, %v", e.name, name, len(wire.requests()), err)
				}
			}
		})
	}
}

// The end of the context ends a call at once, whatever the call is doing.
func TestContextEndsCallAtAnyStage(t *testing.T) {
	t.Parallel()
	paused := func() reloads.Limiters {
		l := reloads.NewLimiter(1, time.Minute)
		l.Pause(time.Now().Add(time.Hour))
		return reloads.Limiters{Read: l, Trigger: l, Cancel: l}
	}
	for name, c := range map[string]struct {
		first outcome
		opts  func() []reloads.Option
		after time.Duration // until the context ends
		sent  int
	}{
		"before":                  {respond(200, queued), nil, 0, 0},
		"waiting for the limiter": {respond(200, queued), func() []reloads.Option { return []reloads.Option{reloads.WithLimiters(paused())} }, time.Second, 0},
		"waiting for a response":  {hangs, nil, time.Second, 1},
		"during backoff": {fails(errDial), func() []reloads.Option {
			return []reloads.Option{reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 9, MinBackoff: time.Hour, MaxBackoff: time.Hour})}
		}, time.Second, 1},
		"during the body": {slowResponse, nil, 90 * time.Second, 1},
	} {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				because := errors.New("the user gave up")
				if c.after == 0 {
					cancel(because)
				}
				defer time.AfterFunc(c.after, func() { cancel(because) }).Stop()
				opts := []reloads.Option{reloads.WithAttemptTimeout(0)}
				if c.opts != nil {
					opts = append(opts, c.opts()...)
				}
				wire := scripted(c.first)
				began := time.Now()
				err := e.call(ctx, scriptedClient(t, wire, opts...))
				if !errors.Is(err, context.Canceled) || len(wire.requests()) != c.sent {
					t.Errorf("%s, %s: %d requests, %v", name, e.name, len(wire.requests()), err)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("%s, %s: returned after %v, want %v", name, e.name, took, c.after)
				}
				unknown := e.name == "trigger" && (name == "waiting for a response" || name == "during the body")
				if errors.Is(err, reloads.ErrOutcomeUnknown) != unknown {
					t.Errorf("%s, %s: %v", name, e.name, err)
				}
			})
		}
	}
}

// slowResponse responds with an endless body, one byte per second.
func slowResponse(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(slowBody{r.Context()}), Request: r,
	}, nil
}

type slowBody struct{ ctx context.Context }

func (d slowBody) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		return copy(p, " "), nil
	}
}

func TestEveryAttemptWaitsForItsLimiter(t *testing.T) {
	t.Parallel()
	calls := map[string][3]int{"list": {3, 0, 0}, "get": {3, 0, 0}, "log": {3, 0, 0}, "trigger": {0, 3, 0}, "cancel": {0, 0, 3}}
	for _, e := range endpoints {
		synctest.Test(t, func(t *testing.T) {
			var read, trigger, cancel countingLimiter
			with := reloads.WithLimiters(reloads.Limiters{Read: &read, Trigger: &trigger, Cancel: &cancel})
			if err := e.call(t.Context(), scriptedClient(t, scripted(fails(errDial), fails(errDial), e.ok), with)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(calls[e.name], [3]int{read.calls, trigger.calls, cancel.calls}); diff != "" {
				t.Errorf("%s: calls of read, trigger and cancel (-want +got):\n%s", e.name, diff)
			}
			// An error of the limiter ends the call: before the first attempt, and before a retry.
			for at := 1; at <= 2; at++ {
				failing := func() reloads.Limiter { return &countingLimiter{failAt: at} }
				wire := scripted(fails(errDial))
				with := reloads.WithLimiters(reloads.Limiters{Read: failing(), Trigger: failing(), Cancel: failing()})
				err := e.call(t.Context(), scriptedClient(t, wire, with))
				if !errors.Is(err, errLimiter) || errors.Is(err, errDial) != (at == 2) || len(wire.requests()) != at-1 {
					t.Errorf("%s, failing at call %d: %d requests, %v", e.name, at, len(wire.requests()), err)
				}
			}
		})
	}
}

// countingLimiter is a limiter that does not wait. It fails at call number failAt.
type countingLimiter struct{ calls, failAt int }

func (c *countingLimiter) Wait(context.Context) error {
	if c.calls++; c.calls == c.failAt {
		return errLimiter
	}
	return nil
}

var errLimiter = errors.New("the limiter failed")

// signIn is a token source with a sign-in that takes a while. If it is shared, its callers wait for the same sign-in and
// use the token until it expires. Otherwise every caller signs in.
type signIn struct {
	takes, lifetime time.Duration
	shared          bool

	lock    chan struct{} // a mutex would stop the time of a bubble
	expires time.Time
	count   int
}

// inBubble returns a new source that belongs to the bubble of the caller.
func (s signIn) inBubble() *signIn {
	s.lock = make(chan struct{}, 1)
	return &s
}

func (s *signIn) Token(context.Context) (string, error) {
	if !s.shared {
		time.Sleep(s.takes)
		return fmt.Sprint(testToken, time.Now().Add(s.lifetime).UnixNano()), nil
	}
	s.lock <- struct{}{}
	defer func() { <-s.lock }()
	if !time.Now().Before(s.expires) {
		time.Sleep(s.takes)
		s.expires = time.Now().Add(s.lifetime)
		s.count++
	}
	return fmt.Sprint(testToken, s.expires.UnixNano()), nil
}

// refuseExpired is a transport that responds with 401 to a token of signIn that has expired.
type refuseExpired struct{ *scriptedTransport }

func (s refuseExpired) RoundTrip(r *http.Request) (*http.Response, error) {
	expires, err := strconv.ParseInt(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "+testToken), 10, 64)
	if err != nil || !time.Now().Before(time.Unix(0, expires)) {
		s.record(r)
		return respond(401, "")(r)
	}
	return s.scriptedTransport.RoundTrip(r)
}

// callAll makes n calls at once. The test fails if one of them does.
func callAll(t *testing.T, n int, client *reloads.Client, e endpoint) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var calling sync.WaitGroup
	for range n {
		calling.Go(func() {
			if err := e.call(ctx, client); err != nil {
				t.Error(err)
			}
		})
	}
	calling.Wait()
}

// A slow sign-in holds back many requests. They do not start together afterwards.
func TestSlowSignInKeepsRateLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source signIn
		calls  int           // as a multiple of the limit
		pause  time.Duration // of the rate limit, after a 429
		within time.Duration // until the last request starts
	}{
		"one sign-in":             {signIn{takes: 40 * time.Second, lifetime: time.Hour, shared: true}, 2, 0, 2 * time.Minute},
		"renewed while queued":    {signIn{takes: 40 * time.Second, lifetime: time.Minute, shared: true}, 3, 0, 5 * time.Minute},
		"a sign-in for each call": {signIn{takes: 40 * time.Second, lifetime: time.Minute}, 2, 0, 3 * time.Minute},
		"the same, a long queue":  {signIn{takes: 40 * time.Second, lifetime: time.Hour}, 5, 0, 10 * time.Minute},
		"renewed after a pause":   {signIn{takes: 900 * time.Millisecond, lifetime: 65 * time.Second, shared: true}, 2, 70 * time.Second, 5 * time.Minute},
	} {
		for _, e := range endpoints {
			limit := reloads.Tier1PerMinute
			switch e.name {
			case "trigger", "cancel":
				limit = reloads.SpecialPerMinute
			case "list", "log":
				continue // like get
			}
			t.Run(name+", "+e.name, func(t *testing.T) {
				sample(t, 3)
				synctest.Test(t, func(t *testing.T) {
					source := c.source.inBubble()
					wire := scripted(e.ok)
					began := time.Now()
					limiter := reloads.NewLimiter(limit, time.Minute)
					limiter.Pause(began.Add(c.pause))
					limiters := reloads.WithLimiters(reloads.Limiters{Read: limiter, Trigger: limiter, Cancel: limiter})
					callAll(t, c.calls*limit, clientWithTokens(t, source, refuseExpired{wire}, limiters), e)
					var starts []time.Duration
					for _, r := range wire.requests() {
						starts = append(starts, r.At.Sub(began))
					}
					if n := maxInWindow(starts, time.Minute); n > limit {
						t.Errorf("%d requests started within a minute, want at most %d", n, limit)
					}
					if len(starts) == 0 {
						t.Fatal("no request was sent")
					}
					if last := starts[len(starts)-1]; last > c.within {
						t.Errorf("the last request started after %v, want at most %v", last, c.within)
					}
				})
			})
		}
	}
}

// A token can expire while its request waits for the rate limit. The request is sent with another one, without a 401. It
// waits for the rate limit only once if the source is fast.
func TestTokenThatExpiredInQueueIsReplaced(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]signIn{
		"cached":   {takes: 300 * time.Millisecond, lifetime: time.Minute, shared: true},
		"uncached": {takes: 300 * time.Millisecond, lifetime: time.Minute},
	} {
		for _, e := range endpoints {
			t.Run(name+", "+e.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					source := source.inBubble()
					const calls = 60 // a queue of ten minutes
					slots := &slotCounter{Limiter: reloads.NewLimiter(1, 10*time.Second)}
					wire := scripted(e.ok)
					began := time.Now()
					callAll(t, calls, clientWithTokens(t, source, refuseExpired{wire},
						reloads.WithLimiters(reloads.Limiters{Read: slots, Trigger: slots, Cancel: slots})), e)
					if took := time.Since(began); took < 9*time.Minute || took > 11*time.Minute {
						t.Errorf("the calls took %v, want 9m to 11m", took)
					}
					if sent := len(wire.requests()); sent != calls || slots.count.Load() != calls {
						t.Errorf("%d requests, %d waits for the rate limit, want %d of both", sent, slots.count.Load(), calls)
					}
					if source.count > 20 {
						t.Errorf("%d sign-ins in ten minutes, with tokens that are valid for a minute", source.count)
					}
				})
			})
		}
	}
}

// slotCounter counts the waits for a limiter.
type slotCounter struct {
	reloads.Limiter
	count atomic.Int32
}

func (s *slotCounter) Wait(ctx context.Context) error {
	s.count.Add(1)
	return s.Limiter.Wait(ctx)
}

// Each attempt has the cookies of the jar once, with their most recent values.
func TestRetriesDoNotPileUpCookies(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			var sent []http.Header
			client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				sent = append(sent, r.Header.Clone())
				w.Header().Add("Set-Cookie", fmt.Sprintf("sticky=node%d; Path=/", len(sent)))
				w.Header().Add("Set-Cookie", "region=eu; Path=/")
				if len(sent) <= 5 {
					w.Header().Set("Retry-After", "0")
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				r.URL.Path = strings.TrimPrefix(r.URL.Path, prefix)
				respondOK(w, r)
			}, reloads.WithHTTPClient(&http.Client{Jar: jar}), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 5, MinBackoff: time.Millisecond}))
			if err := e.call(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			for i, header := range sent {
				var want []string
				if i > 0 {
					want = []string{"region=eu", fmt.Sprintf("sticky=node%d", i)}
				}
				cookies := strings.FieldsFunc(strings.Join(header["Cookie"], ";"), func(r rune) bool { return r == ';' || r == ' ' })
				slices.Sort(cookies)
				if diff := cmp.Diff(want, cookies, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("the cookies of attempt %d (-want +got):\n%s", i+1, diff)
				}
			}
			if len(sent) != 6 {
				t.Errorf("%d attempts, want 6", len(sent))
			}
		})
	}
}

// A panic of a transport or a body is not recovered. Its stack trace does not contain the token.
func TestPanicShowsNoToken(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	panics := scripted(func(*http.Request) (*http.Response, error) { panic(boom) })
	inTheBody := scripted(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(panickingBody{boom}), Request: r}, nil
	})
	for name, wire := range map[string]*scriptedTransport{"transport": panics, "body": inTheBody} {
		for _, e := range endpoints {
			func() {
				defer func() {
					value := recover()
					if value != any(boom) {
						t.Errorf("%s, %s: recovered %v", name, e.name, value)
					}
					checkNoSecrets(t, "the trace", fmt.Sprintf("%v\n%s", value, debug.Stack()), fmt.Sprintf("%x", testToken))
				}()
				_ = e.call(t.Context(), scriptedClient(t, wire))
			}()
		}
	}
}

type panickingBody struct{ value any }

func (p panickingBody) Read([]byte) (int, error) { panic(p.value) }

func TestEveryAttemptIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		wire := scripted(
			respond(429, testdata(t, "error_429_rate.json"), "Retry-After", "13"),
			respond(503, testdata(t, "error_500.json"), "Retry-After", "2"),
			respond(200, emptyPage),
		)
		client := scriptedClient(t, wire, log.option(slog.LevelDebug))
		if _, err := client.List(t.Context(), reloads.ListOptions{AppID: "secret-app", Filter: "secret-filter"}); err != nil {
			t.Fatal(err)
		}
		checkNoSecrets(t, "the log", log.String(), "secret", "appId")
		line := func(level string, attempt, status float64, more map[string]any) map[string]any {
			l := map[string]any{"level": level, "operation": "list", "path": "/api/v1/reloads", "attempt": attempt, "status": status}
			for name, value := range more {
				l[name] = value
			}
			return l
		}
		const trace = "0000000000000000feedfacecafebeef"
		want := []map[string]any{
			line("DEBUG", 1, 429, map[string]any{"waited": 0.0, "duration": 0.0}),
			line("WARN", 1, 429, map[string]any{"pause": 13e9}),
			line("WARN", 1, 429, map[string]any{"wait": 13e9}),
			line("DEBUG", 2, 503, map[string]any{"waited": 0.0, "duration": 0.0, "trace_id": trace}),
			line("WARN", 2, 503, map[string]any{"wait": 2e9, "trace_id": trace}),
			line("DEBUG", 3, 200, map[string]any{"waited": 0.0, "duration": 0.0}),
		}
		if diff := cmp.Diff(want, log.lines(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestFailuresAreLogged(t *testing.T) {
	t.Parallel()
	var log logBuffer
	_, err := scriptedClient(t, scripted(respond(404, "")), log.option(slog.LevelDebug)).Get(t.Context(), reloadID)
	var line struct{ Error string }
	if json.Unmarshal(log.Bytes(), &line) != nil || err == nil || line.Error != err.Error() {
		t.Errorf("the log is %s, want the error %v", &log.Buffer, err)
	}
}

func TestWaitForTheRateLimitIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		limit := reloads.WithLimiters(reloads.Limiters{Read: reloads.NewLimiter(1, 10*time.Second)})
		client := scriptedClient(t, scripted(respond(200, queued)), limit, log.option(slog.LevelDebug))
		for range 2 {
			if _, err := client.Get(t.Context(), reloadID); err != nil {
				t.Fatal(err)
			}
		}
		lines := log.lines(t)
		if len(lines) != 2 || lines[0]["waited"] != 0.0 || lines[1]["waited"].(float64) < 10e9 || lines[1]["waited"].(float64) > 11e9 {
			t.Errorf("the log is %v", lines)
		}
	})
}

func TestRenewedTokenIsLogged(t *testing.T) {
	t.Parallel()
	var log logBuffer
	source := &tokenList{list: []string{testToken + "1", testToken + "2"}}
	client := clientWithTokens(t, source, scripted(respond(401, testdata(t, "error_401.json")), respond(200, queued)), log.option(slog.LevelWarn))
	if _, err := client.Get(t.Context(), reloadID); err != nil {
		t.Fatal(err)
	}
	checkNoSecrets(t, "the log", log.String())
	want := []map[string]any{{
		"level": "WARN", "operation": "get", "path": "/api/v1/reloads/" + reloadID, "attempt": 1.0, "status": 401.0,
		"trace_id": "000000000000000012d5b0c7a5f1e2d3",
	}}
	if diff := cmp.Diff(want, log.lines(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The bodies of requests and responses are never logged.
func TestBodiesAreNotLogged(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]outcome{
		"gateway page": respond(502, "<html>secret-page</html>", "Content-Type", "text/html"), "not JSON": respond(200, "secret-page"),
		"lost": fails(errReset), "success": respond(200, `{"id":"1","log":"secret-page"}`), "echo": respond(404, testToken),
	} {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				var log logBuffer
				err := e.call(t.Context(), scriptedClient(t, scripted(o), log.option(slog.LevelDebug), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 1})))
				checkNoSecrets(t, name+" of "+e.name+": the log", log.String(), "secret-page")
				if log.Len() == 0 {
					t.Errorf("%s of %s: nothing is logged; %v", name, e.name, err)
				}
			})
		}
	}
}

// A token that was fetched anew must be there within half a second of the slot of the rate limit. Otherwise the request waits for
// another slot.
func TestSlowRenewalTakesAnotherSlot(t *testing.T) {
	t.Parallel()
	for takes, want := range map[time.Duration]int32{500*time.Millisecond - 1: 1, 500 * time.Millisecond: 2} {
		synctest.Test(t, func(t *testing.T) {
			tokens := 0
			source := reloads.TokenFunc(func(context.Context) (string, error) {
				if tokens++; tokens == 2 {
					time.Sleep(takes)
				}
				return testToken, nil
			})
			limiter := reloads.NewLimiter(1000, time.Minute)
			limiter.Pause(time.Now().Add(30 * time.Second))
			slots := &slotCounter{Limiter: limiter}
			client := clientWithTokens(t, source, scripted(respond(200, queued)), reloads.WithLimiters(reloads.Limiters{Read: slots}))
			if _, err := client.Get(t.Context(), reloadID); err != nil || slots.count.Load() != want {
				t.Errorf("%v: %d slots and %v, want %d", takes, slots.count.Load(), err, want)
			}
		})
	}
}
