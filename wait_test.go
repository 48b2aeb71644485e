package reloads_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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
		for range states {
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
	for name, offset := range map[string]time.Duration{"clocks agree": 0, "tenant is ahead": 5 * time.Minute, "tenant is behind": -5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := newTenant(reloadstest.App{RunFor: 2 * time.Hour}, reloadstest.WithClockSkew(offset))
				client := tenant.NewClient(defaultPolling)
				reload, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				if _, err := client.Wait(t.Context(), reload.ID); err != nil {
					t.Fatal(err)
				}
				// An hour with intervals of 13.5 s to 15 s: the intervals do not start short.
				if n := countRequests(tenant, "get"); n < 240 || n > 270 {
					t.Errorf("%d polls for the second hour, want 240 to 270", n)
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

// A host name that has worked may work again, so the wait continues.
func TestWaitToleratesUnknownHostAfterResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		unknown := fails(&net.DNSError{Err: "no such host", Name: "tenant.example.com", IsNotFound: true})
		record := func(status reloads.Status) outcome {
			return respond(200, fmt.Sprintf(`{"id":%q,"status":%q}`, reloadID, status))
		}
		wire := scripted(record("QUEUED"), unknown, unknown, unknown, record("SUCCEEDED"))
		if r, err := scriptedClient(t, wire).Wait(t.Context(), reloadID); err != nil || r.Status != reloads.StatusSucceeded || len(wire.requests()) != 5 {
			t.Errorf("%+v, %v after %d requests", r, err, len(wire.requests()))
		}
	})
}
