package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestATokenIsKeptUntilShortlyBeforeItExpires(t *testing.T) {
	for name, c := range map[string]reloadstest.OAuthClient{
		"expires_in": {Lifetime: time.Hour}, "expires_at": {Lifetime: time.Hour, ExpiresAt: true},
	} {
		for _, user := range flows {
			synctest.Test(t, func(t *testing.T) {
				tenant, cfg := world(c)
				cfg.UserID = user
				s := source(t, cfg)
				if n := signIns(tenant); n != 0 {
					t.Errorf("%d token requests before the first call of Token", n)
				}
				var got []int
				for range 5 {
					mustToken(t, s)
					synctest.Wait() // for a renewal
					got = append(got, signIns(tenant))
					time.Sleep(27*time.Minute + 30*time.Second)
				}
				// At 0, 27.5, 55, 82.5 and 110 min. Each token is renewed 5 min before its lifetime of one hour ends.
				if diff := cmp.Diff([]int{1, 1, 2, 2, 3}, got); diff != "" {
					t.Errorf("%s, user %q: token requests (-want +got):\n%s", name, user, diff)
				}
			})
		}
	}
}

// A token with a short lifetime is renewed when a tenth of it remains.
func TestATokenWithAShortLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{Lifetime: 10 * time.Minute})
		s := source(t, cfg)
		var got []int
		for _, wait := range []time.Duration{0, 9*time.Minute - 1, 1} {
			time.Sleep(wait)
			mustToken(t, s)
			synctest.Wait() // for a renewal
			got = append(got, signIns(tenant))
		}
		if diff := cmp.Diff([]int{1, 1, 2}, got); diff != "" {
			t.Errorf("token requests (-want +got):\n%s", diff)
		}
	})
}

// A failed renewal is not an error while the current token is valid. After the token has expired, it is.
func TestARenewalThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{Lifetime: time.Hour})
		s := source(t, cfg)
		first := mustToken(t, s)
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, Status: 503, Times: 3})
		time.Sleep(56 * time.Minute)
		for range 10 { // not every call sends a request
			if token, err := s.Token(t.Context()); token != first || err != nil {
				t.Errorf("while the first token is valid: got another token or the error %v", err)
			}
			synctest.Wait()
		}
		if n := signIns(tenant); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
		time.Sleep(30 * time.Second)
		if mustToken(t, s) != first {
			t.Error("the first token was replaced")
		}
		synctest.Wait()
		if n := signIns(tenant); n != 3 {
			t.Errorf("%d token requests after 30 s, want 3", n)
		}
		time.Sleep(5 * time.Minute)
		for range 2 {
			var e *oauth.Error
			if _, err := s.Token(t.Context()); !errors.As(err, &e) || e.StatusCode != 503 {
				t.Errorf("after the first token has expired: %v", err)
			}
		}
		time.Sleep(2 * time.Second)
		if token, err := s.Token(t.Context()); err != nil || token == first {
			t.Errorf("after the faults: got the first token or the error %v", err)
		}
	})
}

// While token requests fail, a call sends one only when that is due. The other calls return the most recent error.
func TestHowOftenATokenIsRequestedWhileThatFails(t *testing.T) {
	doubling := []float64{0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5, 121.5, 151.5, 181.5, 211.5, 241.5, 271.5, 301.5}
	for _, c := range []struct {
		status     int // 0: no response
		retryAfter string
		want       []float64 // when a request is sent, in seconds
	}{
		{0, "", doubling},
		{503, "", doubling},
		{400, "60", doubling},
		{429, "soon", doubling},
		{429, "-60", doubling},
		{429, "-9223372037", doubling},
		{429, "100", []float64{0, 100, 200, 300}},
		{503, "100", []float64{0, 100, 200, 300}},
		{503, "date", []float64{0, 100, 200, 300}},
		{503, "86400", []float64{0, 300}},
		{503, "99999999999999999999", []float64{0, 300}},
		{503, "Thu, 31 Dec 2099 00:00:00 GMT", []float64{0, 300}},
	} {
		for _, user := range flows {
			synctest.Test(t, func(t *testing.T) {
				var began time.Time
				var got []float64
				failing := true
				cfg := configOf(transportFunc(func(r *http.Request) (*http.Response, error) {
					if !failing {
						return response(r, 200, "application/json", `{"access_token":"test-token","expires_in":3600}`), nil
					}
					got = append(got, time.Since(began).Seconds())
					if c.status == 0 {
						return nil, syscall.ECONNRESET
					}
					resp, server := response(r, c.status, "", ""), time.Now().UTC().Add(-8*time.Hour)
					if c.status == 503 {
						resp.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)) // an incomplete body has a header, too
					}
					resp.Header.Set("Date", server.Format(http.TimeFormat))
					resp.Header.Set("Retry-After", strings.Replace(c.retryAfter, "date", server.Add(100*time.Second).Format(http.TimeFormat), 1))
					return resp, nil
				}))
				cfg.UserID = user
				s := source(t, cfg)
				for range 2 { // a success ends the backoff
					began, got, failing = time.Now(), nil, true
					for time.Since(began) < 310*time.Second {
						var response *oauth.Error
						_, err := s.Token(t.Context())
						if isResponse := errors.As(err, &response); err == nil || isResponse != (c.status != 0) || isResponse && response.StatusCode != c.status {
							t.Errorf("%d, Retry-After %q, user %q: got the error %v", c.status, c.retryAfter, user, err)
						}
						time.Sleep(500 * time.Millisecond)
					}
					if diff := cmp.Diff(c.want, got); diff != "" {
						t.Errorf("%d, Retry-After %q, user %q: requests at (-want +got):\n%s", c.status, c.retryAfter, user, diff)
					}
					failing = false
					time.Sleep(5 * time.Minute)
					mustToken(t, s)
					time.Sleep(time.Hour) // the token has expired
				}
			})
		}
	}
}

// The Retry-After of an early renewal is honored, too. Without one, the next renewal starts 30 s later.
func TestRetryAfterOfAnEarlyRenewal(t *testing.T) {
	for retryAfter, want := range map[string]time.Duration{"": 30 * time.Second, "10": 30 * time.Second, "100": 100 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			tenant, cfg := world(reloadstest.OAuthClient{Lifetime: time.Hour})
			tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, Status: 429, Header: http.Header{"Retry-After": {retryAfter}}, Skip: 1, Times: -1})
			s := source(t, cfg)
			mustToken(t, s)
			time.Sleep(56 * time.Minute)
			for began := time.Now(); signIns(tenant) < 3; time.Sleep(time.Second) {
				mustToken(t, s)
				synctest.Wait()
				if got := time.Since(began); (signIns(tenant) == 3) != (got >= want) {
					t.Fatalf("Retry-After %q: %d token requests after %v, want the third after %v", retryAfter, signIns(tenant), got, want)
				}
			}
		})
	}
}

// Callers that joined a request without a response send another one only if that is due.
func TestManyCallersWhileRequestsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var got []time.Duration
		s := source(t, configOf(transportFunc(func(*http.Request) (*http.Response, error) {
			got = append(got, time.Since(began))
			time.Sleep(10 * time.Millisecond)
			return nil, syscall.ECONNRESET
		})))
		var callers sync.WaitGroup
		for range 10 {
			for range 100 {
				callers.Go(func() {
					if _, err := s.Token(t.Context()); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("got %v", err)
					}
				})
			}
			time.Sleep(time.Second)
		}
		callers.Wait()
		want := []time.Duration{0, 10 * time.Millisecond, 2 * time.Second, 4 * time.Second, 8 * time.Second}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("token requests (-want +got):\n%s", diff)
		}
	})
}

// A renewal that hangs does not delay callers while the current token is valid. Afterwards they wait for the renewal, up
// to the end of their contexts. The renewal ends with its own timeout.
func TestARenewalThatHangs(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{0: 30 * time.Second, 10 * time.Second: 10 * time.Second} {
		for _, user := range flows {
			synctest.Test(t, func(t *testing.T) {
				endpoint := &service{}
				cfg := configOf(endpoint)
				cfg.UserID, cfg.HTTPClient.Timeout = user, timeout
				s := source(t, cfg)
				first := mustToken(t, s)
				endpoint.hang.Store(true)
				time.Sleep(56 * time.Minute)
				began := time.Now()
				var callers sync.WaitGroup
				for range 100 {
					callers.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						defer cancel()
						if token, err := s.Token(ctx); token != first || err != nil || time.Since(began) != 0 {
							t.Errorf("while the first token is valid: got %q, %v after %v", token, err, time.Since(began))
						}
					})
				}
				callers.Wait()
				synctest.Wait()
				if n := endpoint.requests.Load(); n != 2 {
					t.Errorf("%d token requests, want 2", n)
				}
				time.Sleep(want)
				synctest.Wait()
				if n := endpoint.running.Load(); n != 0 {
					t.Errorf("the renewal runs for longer than %v", want)
				}

				time.Sleep(5 * time.Minute) // the first token has expired
				began = time.Now()
				for i := range 100 {
					callers.Go(func() {
						limit := time.Second * time.Duration(1+i%5)
						ctx, cancel := context.WithTimeout(t.Context(), limit)
						defer cancel()
						if _, err := s.Token(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != limit {
							t.Errorf("after the first token has expired: %v after %v, want an end after %v", err, time.Since(began), limit)
						}
					})
				}
				callers.Wait()
				if n := endpoint.requests.Load(); n != 3 {
					t.Errorf("%d token requests, want 3", n)
				}
				_, err := s.Token(t.Context()) // the renewal that it joins fails, and so does another one
				var late net.Error
				if !errors.As(err, &late) || !late.Timeout() || errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 2*want {
					t.Errorf("got %v after %v, want a timeout after %v", err, time.Since(began), 2*want)
				}
				if text := fmt.Sprintf("the token request took longer than %v", want); err == nil || !strings.HasSuffix(err.Error(), text) {
					t.Errorf("got %v, want %q", err, text)
				}
				var temporary interface{ Temporary() bool }
				if !errors.As(err, &temporary) || !temporary.Temporary() {
					t.Errorf("%v is not temporary", err)
				}
				endpoint.hang.Store(false)
				if token := mustToken(t, s); token == first {
					t.Error("got the expired token")
				}
			})
		}
	}
}

// The calls of a client continue with the token that is still valid while a renewal hangs.
func TestCallsWhileARenewalHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{Lifetime: time.Hour})
		tenant.AddApp("app", reloadstest.App{RunFor: 58 * time.Minute})
		client, err := reloads.NewClient(tenantURL, source(t, cfg), reloads.WithHTTPClient(cfg.HTTPClient))
		if err != nil {
			t.Fatal(err)
		}
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, Delay: time.Hour, Skip: 1, Times: -1})
		began := time.Now()
		if _, err := client.Run(t.Context(), reloads.Request{AppID: "app"}); err != nil || time.Since(began) > 59*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(30 * time.Second) // until the renewal ends
	})
}

// A caller that joined a hanging request gets the token of the next one.
func TestAHangingRequestIsFollowedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endpoint := &service{}
		endpoint.hang.Store(true)
		s := source(t, configOf(endpoint))
		began := time.Now()
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := s.Token(t.Context()); err == nil || time.Since(began) != 30*time.Second {
				t.Errorf("the caller that started the request: %v after %v", err, time.Since(began))
			}
		})
		time.Sleep(time.Second)
		endpoint.hang.Store(false)
		for range 100 {
			callers.Go(func() {
				if token, err := s.Token(t.Context()); token != "test-token-2" || err != nil || time.Since(began) != 30*time.Second {
					t.Errorf("got %q, %v after %v", token, err, time.Since(began))
				}
			})
		}
		callers.Wait()
	})
}

// If that one hangs, too, the caller gets its error.
func TestTwoRequestsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endpoint := &service{}
		endpoint.hang.Store(true)
		s := source(t, configOf(endpoint))
		began := time.Now()
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				if _, err := s.Token(t.Context()); err == nil || time.Since(began) > time.Minute {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		}
		callers.Wait()
		if n := endpoint.requests.Load(); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
	})
}

// Many callers share one request. A caller stops waiting when its context ends. The request continues, also if that
// caller has started it.
func TestOneRequestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{})
		tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, DelayAnswer: 10 * time.Second})
		s := source(t, cfg)
		began := time.Now()
		impatient, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var callers sync.WaitGroup
		callers.Go(func() { // starts the request and stops waiting
			if _, err := s.Token(impatient); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
				t.Errorf("first caller: %v after %v", err, time.Since(began))
			}
		})
		synctest.Wait()
		for i := range 100 {
			callers.Go(func() {
				ctx, limit := t.Context(), 10*time.Second
				if i%10 == 0 {
					ctx, limit = impatient, 3*time.Second
				}
				_, err := s.Token(ctx)
				if (err != nil) != (i%10 == 0) || time.Since(began) != limit {
					t.Errorf("caller %d: %v after %v", i, err, time.Since(began))
				}
			})
		}
		callers.Wait()
		if n := signIns(tenant); n != 1 {
			t.Errorf("%d token requests, want 1", n)
		}
	})
}

// A token that is revoked during a long wait is renewed once for all waiting callers.
func TestARefusedTokenDuringALongWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{})
		client, err := reloads.NewClient(tenantURL, source(t, cfg), reloads.WithHTTPClient(cfg.HTTPClient))
		if err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		for i := range 20 {
			app := fmt.Sprint("app", i)
			tenant.AddApp(app, reloadstest.App{RunFor: time.Hour})
			waiting.Go(func() {
				if _, err := client.Run(t.Context(), reloads.Request{AppID: app}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(30 * time.Minute)
		tenant.RevokeOAuthTokens()
		waiting.Wait()
		if n := signIns(tenant); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
	})
}

// Renew returns the same new token to all callers whose token was refused, also to those that come later or while an
// early renewal runs.
func TestRenew(t *testing.T) {
	for name, age := range map[string]time.Duration{"in the middle of its lifetime": 10 * time.Minute, "during an early renewal": 56 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			endpoint := &service{}
			s := source(t, configOf(transportFunc(func(r *http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return endpoint.RoundTrip(r)
			})))
			first := mustToken(t, s)
			time.Sleep(age)
			if mustToken(t, s) != first { // starts the early renewal
				t.Fatal("got another token")
			}
			synctest.Wait()
			var callers sync.WaitGroup
			for i := range 100 {
				callers.Go(func() {
					time.Sleep(time.Duration(i) * 20 * time.Millisecond)
					if token, err := s.Renew(t.Context(), first); token != "test-token-2" || err != nil {
						t.Errorf("%s: got %q, %v", name, token, err)
					}
				})
			}
			callers.Wait()
			if token := mustToken(t, s); token != "test-token-2" || endpoint.requests.Load() != 2 {
				t.Errorf("%s: got %q after %d token requests", name, token, endpoint.requests.Load())
			}
		})
	}
}

// Renew returns an error if it cannot get another token. The token that was refused to one caller is still returned to
// others, because the service may have refused it by mistake.
func TestRenewThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endpoint := &service{}
		s := source(t, configOf(endpoint))
		first := mustToken(t, s)
		endpoint.hang.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Renew(ctx, first); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
		began := time.Now()
		if token := mustToken(t, s); token != first || time.Since(began) != 0 {
			t.Errorf("got %q after %v", token, time.Since(began))
		}
		endpoint.hang.Store(false)
		if token, err := s.Renew(t.Context(), first); token != "test-token-3" || err != nil {
			t.Errorf("got %q, %v", token, err)
		}
	})
}

// A token without an expiry time is kept until the service refuses it.
func TestATokenWithoutAnExpiryTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := source(t, configOf(transportFunc(func(r *http.Request) (*http.Response, error) {
			n++
			return response(r, 200, "application/json", fmt.Sprintf(`{"access_token":"test-token-%d"}`, n)), nil
		})))
		first := mustToken(t, s)
		time.Sleep(10_000 * time.Hour)
		if token := mustToken(t, s); token != first || n != 1 {
			t.Errorf("got %q after %d token requests", token, n)
		}
		if token, err := s.Renew(t.Context(), first); token != "test-token-2" || err != nil {
			t.Errorf("got %q, %v", token, err)
		}
	})
}

// A transport of a test may end its goroutine with t.FailNow. The callers get an error.
func TestATransportThatExitsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := source(t, configOf(transportFunc(func(*http.Request) (*http.Response, error) {
			runtime.Goexit()
			return nil, nil
		})))
		failed := make(chan error)
		go func() {
			defer close(failed)
			_, err := s.Token(t.Context())
			failed <- err
		}()
		if err := <-failed; err == nil || !strings.Contains(err.Error(), "without a result") {
			t.Errorf("got %v", err)
		}
	})
}
