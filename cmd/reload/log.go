package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
)

func newLog(a *app) *cobra.Command {
	var follow, raw bool
	var tail int
	cmd := &cobra.Command{
		Use:   "log ID",
		Short: "Show the full log of a reload",
		Long: `Show the full log of a reload. The service may provide it only after the reload has finished.
With --follow, the command waits for the log and shows new lines until the reload finishes. The
exit status is then 1 if the reload did not succeed.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeReloads(1, ""),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&follow, "follow", "f", false, "wait for new lines until the reload finishes")
	flags.IntVar(&tail, "tail", -1, "show only the last `N` lines")
	_ = cmd.RegisterFlagCompletionFunc("tail", cobra.NoFileCompletions) // fails only for an unknown flag
	flags.BoolVar(&raw, "raw", false, "write the log as the service sends it, with CRLF")
	cmd.RunE = a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
		switch {
		case flags.Changed("tail") && tail < 0:
			return usagef("--tail must not be negative")
		case a.json || a.quiet:
			return usagef("a log is text; use neither --json nor --quiet")
		}
		w := bufio.NewWriter(a.stdout)
		l := &logReader{client: client, tail: tail, write: func(line string) {
			switch {
			case raw:
			case a.stdoutTerminal:
				line = show.Text(strings.TrimRight(line, "\r\n")) + "\n"
			default:
				line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r") + "\n"
			}
			_, _ = w.WriteString(line) // Flush returns its error
		}, flush: w.Flush}
		if follow {
			return l.follow(ctx, args[0])
		}
		return l.show(ctx, args[0])
	})
	return cmd
}

// logReader writes the lines of a log, each once.
type logReader struct {
	client *reloads.Client
	tail   int // the first read writes only this many lines; -1 means all lines
	write  func(line string)
	flush  func() error
	offset int64 // the number of bytes that were written or skipped
}

// show writes the log as it is now.
func (l *logReader) show(ctx context.Context, id string) error {
	r, err := l.client.Get(ctx, id)
	if err != nil {
		return err
	}
	err = l.read(ctx, r, true)
	switch {
	case !errors.Is(err, reloads.ErrNotFound):
		return err
	case r.Ended():
		return withHint(err, "the reload is %s, but the service does not have its log (yet)", r.Status)
	}
	return withHint(err, "the reload is %s; to wait for its log, add --follow", r.Status)
}

// read gets the log and writes the lines after offset. If last is false, an incomplete last line is left for the next read.
func (l *logReader) read(ctx context.Context, r *reloads.Reload, last bool) error {
	log, err := l.client.Log(ctx, r.AppID, r.ID)
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := io.CopyN(io.Discard, log, l.offset); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	lines := bufio.NewReader(log)
	var kept []string // the last lines, at most tail
	for {
		line, err := lines.ReadString('\n')
		if err == nil || err == io.EOF && last && line != "" {
			l.offset += int64(len(line))
			if l.tail < 0 {
				l.write(line)
			} else if kept = append(kept, line); len(kept) > l.tail {
				kept = kept[1:]
			}
		}
		if err == nil {
			continue
		}
		for _, line := range kept {
			l.write(line)
		}
		if flushErr := l.flush(); flushErr != nil {
			return flushErr
		}
		if err == io.EOF {
			l.tail = -1
			return nil
		}
		return err
	}
}

const (
	minInterval = 200 * time.Millisecond // between two polls of follow
	maxInterval = 10 * time.Second
	logGrace    = 10 * time.Second // how long follow waits for the log after the reload has finished
)

// follow polls the reload and writes new lines of its log until the reload has finished and its log is complete.
func (l *logReader) follow(ctx context.Context, id string) error {
	began := time.Now()
	var finished time.Time // when the terminal status was seen
	for {
		r, err := l.client.Get(ctx, id)
		if err != nil {
			return err
		}
		if r.Ended() && finished.IsZero() {
			finished = time.Now()
		}
		err = l.read(ctx, r, r.Ended())
		switch {
		case err == nil && r.Ended():
			return r.Err()
		case err != nil && !errors.Is(err, reloads.ErrNotFound), r.Ended() && time.Since(finished) > logGrace:
			return err
		}
		interval := min(max(time.Since(began)/10, minInterval), maxInterval)
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
