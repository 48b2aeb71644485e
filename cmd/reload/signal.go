package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// signalError is an error because of a signal.
type signalError struct {
	error
	signal os.Signal
}

func (e *signalError) Unwrap() error { return e.error }

// signalStatus returns the exit status for a signal.
func signalStatus(s os.Signal) int {
	if s == os.Interrupt {
		return statusInterrupted
	}
	return statusTerminated
}

// withSignals returns a context that ends at the first SIGINT, SIGTERM or SIGHUP. A second one ends the process. A
// SIGHUP that is ignored, as under nohup, remains so. The caller must call stop.
func withSignals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	stopped := make(chan struct{})
	var handling sync.WaitGroup
	handling.Go(func() {
		select {
		case s := <-signals:
			cancel(&signalError{context.Canceled, s})
		case <-stopped:
			return
		}
		select {
		case s := <-signals:
			os.Exit(signalStatus(s))
		case <-stopped:
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		handling.Wait()
		cancel(nil)
	}
}

// explain adds the signal that ended ctx to an error. Its text remains the same.
func explain(ctx context.Context, err error) error {
	var ended *signalError
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &ended) {
		return &signalError{err, ended.signal}
	}
	return err
}
