package faulttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// A soakWorker makes calls of all kinds, one after the other, and checks each against the tenant.
type soakWorker struct {
	*soakTest
	t      *testing.T
	tenant *reloadstest.Tenant
	faulty bool
	name   string
	apps   int
	made   []trigger
}

// A trigger is the result of a call that triggered the first reload of an app.
type trigger struct {
	app    string
	reload *reloads.Reload
	err    error
}

// work makes calls until ctx ends, which also ends the last call.
func (w *soakWorker) work(ctx context.Context) {
	calls := slices.Concat( // the number of repetitions is the share of a call; batches take the longest
		slices.Repeat([]func(context.Context) error{w.get}, 12), slices.Repeat([]func(context.Context) error{w.list}, 6),
		slices.Repeat([]func(context.Context) error{w.all, w.cancel, w.missing}, 3),
		[]func(context.Context) error{w.trigger, w.runAll},
	)
	for n := 0; ctx.Err() == nil; n++ {
		if n%100 == 0 {
			w.sample()
		}
		err := calls[w.rand(len(calls))](ctx)
		w.calls.Add(1)
		if err == nil {
			continue
		}
		w.failed.Add(1)
		switch {
		case errors.Is(err, errWrong):
			w.t.Error(err)
		case ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		case !w.faulty:
			w.t.Errorf("an error in a round without faults: %v", err)
		case !explained(err) && !errors.Is(err, context.DeadlineExceeded): // the deadline of shortContext
			w.t.Errorf("an error that no fault explains: %v", err)
		}
	}
}

// app adds a new app to the tenant, which only this worker uses.
func (w *soakWorker) app(script reloadstest.App) string {
	w.apps++
	id := fmt.Sprint(w.name, "-", w.apps)
	w.tenant.AddApp(id, script)
	return id
}

// shortContext returns the context of a trigger. In rounds with faults, it usually ends after 500 ms, so that most
// triggers do not spend half a minute on the search for their reload.
func (w *soakWorker) shortContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if !w.faulty || w.rand(10) == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, 500*time.Millisecond)
}

// checkTriggers compares the results of the triggers with the reloads of the tenant. No trigger made two reloads, a
// successful trigger made the reload that it returned, and a failed trigger whose outcome is known made none.
func (w *soakWorker) checkTriggers() {
	byApp := map[string][]string{}
	for _, r := range w.tenant.Reloads() {
		byApp[r.AppID] = append(byApp[r.AppID], r.ID)
	}
	for _, made := range w.made {
		ids := byApp[made.app]
		ok := len(ids) == 0
		switch {
		case made.reload != nil:
			ok = slices.Equal(ids, []string{made.reload.ID})
		case errors.Is(made.err, reloads.ErrOutcomeUnknown):
			ok = len(ids) <= 1
		}
		if !ok {
			w.t.Errorf("the tenant has the reloads %v of the app, the call returned %v, %v", ids, made.reload, made.err)
		}
	}
}

func historyID(i int) string { return fmt.Sprintf("history%03d", i) }

func (w *soakWorker) list(ctx context.Context) error {
	page, err := w.client.List(ctx, reloads.ListOptions{AppID: "history", PageSize: 7})
	if err == nil && (len(page.Reloads) != 7 || page.Reloads[6].ID != historyID(6) || page.Next == "") {
		return fmt.Errorf("%w: the page is %+v", errWrong, page)
	}
	return err
}

func (w *soakWorker) get(ctx context.Context) error {
	id := historyID(w.rand(soakHistory))
	r, err := w.client.Get(ctx, id)
	if err == nil && (r.ID != id || r.AppID != "history") {
		return fmt.Errorf("%w: got %s instead of %s", errWrong, r.ID, id)
	}
	return err
}

// all ranges over the history. It must yield the reloads in order, and all of them unless it yields an error.
func (w *soakWorker) all(ctx context.Context) error {
	n := 0
	for r, err := range w.client.All(ctx, reloads.ListOptions{AppID: "history", PageSize: 50}) {
		if err != nil {
			return err
		}
		if r.ID != historyID(n) {
			return fmt.Errorf("%w: record %d is %s", errWrong, n, r.ID)
		}
		n++
	}
	if n != soakHistory {
		return fmt.Errorf("%w: the list ended after %d records without an error", errWrong, n)
	}
	return nil
}

func (w *soakWorker) missing(ctx context.Context) error {
	_, err := w.client.Get(ctx, "missing")
	if err == nil {
		return fmt.Errorf("%w: got a reload that does not exist", errWrong)
	}
	if errors.Is(err, reloads.ErrNotFound) {
		return nil
	}
	return err
}

// trigger triggers a reload of a new app.
func (w *soakWorker) trigger(ctx context.Context) error {
	ctx, cancel := w.shortContext(ctx)
	defer cancel()
	app := w.app(reloadstest.App{RunFor: time.Hour})
	r, err := w.client.Trigger(ctx, reloads.Request{AppID: app})
	w.made = append(w.made, trigger{app, r, err})
	return err
}

// cancel cancels a reload that was not triggered by the client.
func (w *soakWorker) cancel(ctx context.Context) error {
	running, _ := w.tenant.Trigger(w.app(reloadstest.App{RunFor: time.Hour}), reloads.Reload{})
	status, err := w.client.Cancel(ctx, running.ID)
	if err == nil && status != reloads.StatusCanceling && status != reloads.StatusCanceled {
		return fmt.Errorf("%w: the canceled reload has the status %q", errWrong, status)
	}
	return err
}

// runAll runs a small batch.
func (w *soakWorker) runAll(ctx context.Context) error {
	var reqs []reloads.Request
	for range 3 {
		reqs = append(reqs, reloads.Request{AppID: w.app(reloadstest.App{RunFor: 5 * time.Millisecond})})
	}
	ctx, cancel := w.shortContext(ctx)
	defer cancel()
	var errs []error
	n := 0
	for result := range w.client.RunAll(ctx, reqs) {
		n++
		w.made = append(w.made, trigger{result.Request.AppID, result.Reload, result.Err})
		errs = append(errs, result.Err)
		if result.Err == nil && result.Reload.Status != reloads.StatusSucceeded {
			errs = append(errs, fmt.Errorf("%w: the reload has the status %s", errWrong, result.Reload.Status))
		}
	}
	if n != len(reqs) {
		errs = append(errs, fmt.Errorf("%w: got %d results, want %d", errWrong, n, len(reqs)))
	}
	return errors.Join(errs...)
}
