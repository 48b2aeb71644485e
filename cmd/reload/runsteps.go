package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
	"github.com/reloads-go/reloads/cmd/reload/internal/planfile"
	"github.com/reloads-go/reloads/reloadstest"
)

// steps returns the steps of a plan for the record of the batch.
func steps(p *planfile.Plan) []batch.Step {
	var all []batch.Step
	for _, s := range p.Steps {
		all = append(all, batch.Step{Name: s.Name, App: s.Request.AppID, After: s.After})
	}
	return all
}

// compile returns the plan and the options of the client for a plan in a file. stepOf has the position of
// each step by the identity of its request.
func compile(p *planfile.Plan) (plan *reloads.Plan, opts []reloads.RunOption, stepOf map[uintptr]int) {
	plan, stepOf = &reloads.Plan{}, map[uintptr]int{}
	for i, s := range p.Steps {
		var after []reloads.Step
		for _, predecessor := range s.After {
			after = append(after, reloads.Step(predecessor))
		}
		req := s.Request
		req.Variables = map[string]string{} // a map of its own, also if it is empty: see identity
		maps.Copy(req.Variables, s.Request.Variables)
		stepOf[identity(req)] = i
		plan.Add(req, after...)
	}
	opts = []reloads.RunOption{reloads.MaxActive(p.MaxActive), reloads.Rerun(p.Rerun), reloads.StepTimeout(p.StepTimeout)}
	if p.Once != "" {
		opts = append(opts, reloads.Once(p.Once))
	}
	if p.Attach {
		opts = append(opts, reloads.AttachToPending())
	}
	if p.AfterPending {
		opts = append(opts, reloads.AfterPending())
	}
	if p.CancelOnAbort {
		opts = append(opts, reloads.CancelOnAbort())
	}
	return plan, opts, stepOf
}

// identity returns what differs between two requests of a plan, even if they are equal: the address of the map of the
// variables. The client passes the request of the plan with each change, but not its step.
func identity(req reloads.Request) uintptr { return reflect.ValueOf(req.Variables).Pointer() }

// newFakeTenantOf returns a fake tenant with the apps of a plan. Their reloads take a second or two. They fail if the app
// ID contains fail.
func newFakeTenantOf(p *planfile.Plan) *reloadstest.Tenant {
	tenant := reloadstest.NewTenant()
	for i, s := range p.Steps {
		app := reloadstest.App{
			QueueFor: 300 * time.Millisecond, RunFor: time.Second + time.Duration(i%5)*200*time.Millisecond,
			FullLog: fakeLog("Finished successfully"),
		}
		if strings.Contains(s.Request.AppID, "fail") {
			app.Outcome, app.ErrorCode = reloads.StatusFailed, "EngineConnectionError"
			app.Log, app.FullLog = "Error: the data source did not respond\n", fakeLog("Error: the data source did not respond")
		}
		tenant.AddApp(s.Request.AppID, app)
	}
	return tenant
}

// clock measures how far the clock of this machine is ahead of the one of the service, from the Date headers of its
// responses. The times of reloads are those of the service.
type clock struct {
	mu       sync.Mutex
	measured bool
	ahead    time.Duration // at most, because a Date has whole seconds and a response takes time
}

func (c *clock) observe(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err != nil {
			return resp, err
		}
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			if ahead := time.Since(date); !c.measured || ahead < c.ahead {
				c.ahead, c.measured = ahead, true
			}
		}
		return resp, nil
	})
}

// offset returns what to add to a time of the service. A difference of less than 2 s cannot be measured and counts as none.
func (c *clock) offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead.Abs() < 2*time.Second {
		return 0
	}
	return c.ahead
}

const (
	logTime  = 10 * time.Second // for the logs of all failed reloads
	logCalls = 8                // at once
	logLines = 10
	logLine  = 500 // bytes
)

// addLogs adds the last lines of the log of each failed reload. A log that cannot be read is replaced by the last lines
// of the record, or by the reason. After a signal, all are, because the command should end soon.
func addLogs(ctx context.Context, client *reloads.Client, b *batch.Batch) {
	ctx, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	var reading sync.WaitGroup
	slots := make(chan struct{}, logCalls)
	for i := range b.Steps {
		s := &b.Steps[i]
		if s.State != batch.Failed {
			continue
		}
		slots <- struct{}{}
		reading.Go(func() {
			defer func() { <-slots }()
			var err error
			if s.Log, err = lastLines(ctx, client, s.Reload()); err != nil {
				if s.Log = s.Reload().Summary().LastLines; s.Log == nil {
					s.Log = []string{fmt.Sprintf("The log cannot be read: %v", err)}
				}
			}
		})
	}
	reading.Wait()
}

// lastLines returns the last lines of the full log of a reload.
func lastLines(ctx context.Context, client *reloads.Client, r *reloads.Reload) (lines []string, err error) {
	log, err := client.Log(ctx, r.AppID, r.ID)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	in := bufio.NewReaderSize(log, logLine)
	for continued := false; ; {
		line, more, err := in.ReadLine()
		if errors.Is(err, io.EOF) {
			return lines, nil
		} else if err != nil {
			return nil, err
		}
		if !continued { // only the beginning of a long line counts
			if lines = append(lines, string(line)); len(lines) > logLines {
				lines = lines[1:]
			}
		}
		continued = more
	}
}
