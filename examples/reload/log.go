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
)

func newLog(a *app) *cobra.Command {
	var follow, raw bool
	var tail int
	cmd := &cobra.Command{
		Use:   "log ID",
		Short: "Show the full log of a reload",
		Long: `Show the full log of a reload. The service may have it only when the reload is over: --follow waits for it, shows what
is new of it until the reload has ended, and ends with status 1 if the reload did not succeed.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&follow, "follow", "f", false, "go on until the reload has ended")
	flags.IntVar(&tail, "tail", -1, "only the last `N` lines")
	flags.BoolVar(&raw, "raw", false, "as the service sends it, with CRLF")
	cmd.RunE = a.run(func(ctx context.Context, client *reloads.Client, args []string) error {
		if flags.Changed("tail") && tail < 0 {
			return usagef("--tail must not be negative")
		}
		w := bufio.NewWriter(a.stdout)
		l := &logReader{client: client, tail: tail, write: func(line string) {
			switch {
			case raw:
			case a.stdoutTerminal:
				line = clean(strings.TrimRight(line, "\r\n")) + "\n"
			default:
				line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r") + "\n"
			}
			_, _ = w.WriteString(line) // Flush has its error
		}, flush: w.Flush}
		if follow {
			return l.follow(ctx, args[0])
		}
		r, err := client.Get(ctx, args[0])
		if err != nil {
			return err
		}
		return l.read(ctx, r, true)
	})
	return cmd
}

// logReader writes the lines of a log, each once.
type logReader struct {
	client *reloads.Client
	tail   int // only the last lines of the first reading; -1 is all
	write  func(line string)
	flush  func() error
	done   int64 // so many bytes are written, or left out
}

// read writes what is new of the log. A last line without an end waits for the next reading, unless there is none.
func (l *logReader) read(ctx context.Context, r *reloads.Reload, last bool) error {
	log, err := l.client.Log(ctx, r.AppID, r.ID)
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := io.CopyN(io.Discard, log, l.done); err != nil && err != io.EOF {
		return err
	}
	lines := bufio.NewReader(log)
	var kept []string // of the tail
	for {
		line, err := lines.ReadString('\n')
		if err == nil || err == io.EOF && last && line != "" {
			l.done += int64(len(line))
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

// The steps of following, and how long a log may come after the end of its reload.
const (
	minStep  = 200 * time.Millisecond
	maxStep  = 10 * time.Second
	logGrace = 10 * time.Second
)

// follow reads until the reload has ended, and its log is complete.
func (l *logReader) follow(ctx context.Context, id string) error {
	began := time.Now()
	var ended time.Time // seen
	for {
		r, err := l.client.Get(ctx, id)
		if err != nil {
			return err
		}
		if r.Ended() && ended.IsZero() {
			ended = time.Now()
		}
		err = l.read(ctx, r, r.Ended())
		switch {
		case err == nil && r.Ended():
			return r.Err()
		case err != nil && !errors.Is(err, reloads.ErrNotFound), r.Ended() && time.Since(ended) > logGrace:
			return err
		}
		step := min(max(time.Since(began)/10, minStep), maxStep)
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
