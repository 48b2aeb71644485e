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

// worker reloads the apps of a list, one at a time, until all apps are done.
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
		default: // the other workers have the remaining apps, but one of them may die
			select {
			case <-time.After(min(wait, time.Second)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// reload reloads an app, renews its lease meanwhile, and stores the outcome. A failed reload is an outcome, not an
// error. If reload returns an error, the outcome is not stored, and another worker takes the app when the lease has
// expired.
func (w worker) reload(ctx context.Context, app, earlier string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		w.renew(ctx, cancel, app)
	}()
	_, err := w.await(ctx, cancel, app, earlier)
	workerErr := context.Cause(ctx)
	cancel(nil)
	<-renewed
	if workerErr == nil && errors.Is(err, redislimit.ErrUnavailable) {
		workerErr = err
	}
	if workerErr == nil {
		outcome := string(reloads.StatusSucceeded)
		if err != nil {
			outcome = err.Error()
		}
		if workerErr = w.queue.finish(context.WithoutCancel(ctx), w.name, app, outcome); workerErr == nil {
			fmt.Fprintf(w.out, "%s: %s %s\n", w.name, app, outcome)
		}
	}
	if errors.Is(workerErr, errLeaseLost) {
		fmt.Fprintf(w.out, "%s: %s: %v\n", w.name, app, errLeaseLost)
		return nil
	}
	return workerErr
}

// await triggers a reload and waits for its end. If an earlier worker died after it had stored a reload, await waits
// for that reload instead. If the earlier worker died before it could store the reload, await attaches to the reload if
// it is still pending. If that reload has already finished, the app is reloaded again.
func (w worker) await(ctx context.Context, cancel context.CancelCauseFunc, app, earlier string) (*reloads.Reload, error) {
	if earlier != "" {
		return w.client.Wait(ctx, earlier)
	}
	stored := false
	return w.client.Run(ctx, reloads.Request{AppID: app}, reloads.AttachToPending(), reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
		if stored {
			return
		}
		stored = true
		fmt.Fprintf(w.out, "%s: %s is reload %s\n", w.name, app, r.ID)
		if err := w.queue.renew(ctx, w.name, app, r.ID); err != nil {
			cancel(err)
		}
	}))
}

// renew extends the lease until ctx ends. It cancels ctx if the lease is lost.
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
