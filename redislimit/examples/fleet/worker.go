package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/redislimit"
)

// worker reloads apps of the list, one at a time, until all are done.
type worker struct {
	name   string
	queue  queue
	client *reloads.Client
	out    io.Writer
}

func (w worker) run(ctx context.Context) error {
	for {
		app, reload, wait, err := w.queue.take(ctx, w.name)
		switch {
		case err != nil:
			return err
		case app != "":
			if err := w.reload(ctx, app, reload); err != nil {
				return err
			}
		case wait == 0:
			return nil
		default: // the others have taken all that is left; one of them may die
			select {
			case <-time.After(min(wait, time.Second)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// reload reloads an app while it renews the lease, and says how that ended. An error is one of ours: the app is left to
// another worker, when the lease has ended.
func (w worker) reload(ctx context.Context, app, earlier string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		w.renew(ctx, cancel, app)
	}()
	_, err := w.await(ctx, cancel, app, earlier)
	ours := context.Cause(ctx)
	cancel(nil)
	<-renewed
	if ours == nil && errors.Is(err, redislimit.ErrUnavailable) {
		ours = err
	}
	if ours == nil {
		outcome := string(reloads.StatusSucceeded)
		if err != nil {
			outcome = err.Error()
		}
		if ours = w.queue.finish(context.WithoutCancel(ctx), w.name, app, outcome); ours == nil {
			fmt.Fprintf(w.out, "%s: %s %s\n", w.name, app, outcome)
		}
	}
	if errors.Is(ours, errLeaseLost) {
		fmt.Fprintf(w.out, "%s: %s: %v\n", w.name, app, errLeaseLost)
		return nil
	}
	return ours
}

// await triggers a reload and waits for its end, or waits for the one that a worker which died had triggered. Where that
// one died before it could note the reload, the reload is attached to while it is pending; only if it has ended by
// then, the app is reloaded again.
func (w worker) await(ctx context.Context, cancel context.CancelCauseFunc, app, earlier string) (*reloads.Reload, error) {
	if earlier != "" {
		return w.client.Wait(ctx, earlier)
	}
	noted := false
	return w.client.Run(ctx, reloads.Request{AppID: app}, reloads.AttachToPending(), reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
		if noted {
			return
		}
		noted = true
		fmt.Fprintf(w.out, "%s: %s is reload %s\n", w.name, app, r.ID)
		if err := w.queue.renew(ctx, w.name, app, r.ID); err != nil {
			cancel(err)
		}
	}))
}

// renew prolongs the lease until ctx ends; it ends ctx when the lease is lost.
func (w worker) renew(ctx context.Context, cancel context.CancelCauseFunc, app string) {
	tick := time.NewTicker(w.queue.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := w.queue.renew(ctx, w.name, app, ""); errors.Is(err, errLeaseLost) {
				cancel(err)
			}
		}
	}
}
