package reloads_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
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
		"queued":  {reloadstest.App{QueueFor: time.Hour}, nil, []reloads.RunOption{reloads.CancelOnAbort()}, reloads.StatusCanceled, nil, reloads.StatusCanceled},
		"running": {reloadstest.App{RunFor: time.Hour, CancelFor: time.Minute}, nil, []reloads.RunOption{reloads.CancelOnAbort()}, reloads.StatusCanceling, nil, reloads.StatusCanceling},
		"finished before the cancel": {reloadstest.App{RunFor: 61 * time.Second}, []reloadstest.Fault{{Operation: reloadstest.Cancel, Delay: 5 * time.Second}},
			[]reloads.RunOption{reloads.CancelOnAbort()}, reloads.StatusSucceeded, reloads.ErrNotCancelable, reloads.StatusSucceeded},
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
				if !errors.Is(err, context.Canceled) || c.also != nil && !errors.Is(err, c.also) {
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

// A reload that cannot be pending any more, because it was created too long ago, is not attached to.
func TestAttachToPendingIgnoresReloadsWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := newTenant(reloadstest.App{RunFor: time.Minute}, reloadstest.WithListLag(3*time.Second))
		tenant.AddReload(reloads.Reload{AppID: "app", CreationTime: time.Now().Add(-10 * time.Hour)})
		pending, _ := tenant.Trigger("app", reloads.Reload{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		reload, err := tenant.NewClient().Run(ctx, reloads.Request{AppID: "app"}, reloads.AttachToPending())
		if err != nil || reload.ID != pending.ID {
			t.Errorf("got %+v, %v, want the reload %s", reload, err, pending.ID)
		}
	})
}
