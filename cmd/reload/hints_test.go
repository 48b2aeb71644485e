package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestHintAfterAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	cmd := newCreate(&app{})
	if err := cmd.Flags().Set("appId", "sales"); err != nil {
		t.Fatal(err)
	}
	err := fmt.Errorf("%w: %w", reloads.ErrOutcomeUnknown, &reloads.Error{StatusCode: http.StatusBadGateway})
	if hint := nextStep(cmd, err); !strings.HasSuffix(hint, "see whether the reload exists: reload ls --appId sales") {
		t.Errorf("%q", hint)
	}
	if hint := nextStep(cmd, fmt.Errorf("%w: %w", reloads.ErrOutcomeUnknown, io.ErrUnexpectedEOF)); !strings.HasSuffix(hint, "reload ls --appId sales") {
		t.Errorf("without a response: %q", hint)
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	_, user := serve(t, reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User)))
	_, forbidden := serve(t, reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.Forbidden)))
	_, expired := serve(t, reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.Expired)))
	broken := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	broken.AddApp("sales", reloadstest.App{})
	broken.Inject(reloadstest.Fault{Times: -1, Status: http.StatusInternalServerError})
	_, down := serve(t, broken)
	limited := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	limited.Inject(reloadstest.Fault{Times: -1, Status: http.StatusTooManyRequests})
	_, busy := serve(t, limited)
	hidden := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	hidden.AddApp("sales", reloadstest.App{RunFor: time.Hour})
	hidden.Trigger("sales", reloads.Reload{})
	hidden.Inject(reloadstest.Fault{Operation: reloadstest.List, Times: -1, Status: http.StatusForbidden})
	_, unlisted := serve(t, hidden)
	logless := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	logless.AddReload(reloads.Reload{ID: "1", AppID: "sales", Status: reloads.StatusCanceled})
	logless.Inject(reloadstest.Fault{Operation: reloadstest.Log, Times: -1, Status: http.StatusNotFound})
	_, noLog := serve(t, logless)
	for name, c := range map[string]struct {
		env  []string
		args []string
		hint string
	}{
		"pending":           {nil, []string{"--fake", "create", "--appId", "forecast"}, "add --wait --attach, or run: reload wait " + fakeLong},
		"pending, waiting":  {nil, []string{"--fake", "create", "--appId", "forecast", "--wait"}, "add --wait --attach, or run: reload wait " + fakeLong},
		"pending, unlisted": {unlisted, []string{"create", "--appId", "sales"}, "or run: reload wait ID"},
		"rate limit":        {busy, []string{"ls", "--appId", "sales", "--retry", "0"}, "the tenant limits the requests of a user; try again later"},
		"quota":             {nil, []string{"--fake", "create", "--appId", "often"}, "try again later"},
		"unknown app":       {nil, []string{"--fake", "create", "--appId", "nothing"}, "check the ID of the app"},
		"unknown reload":    {nil, []string{"--fake", "get", "nothing"}, "reload ls --appId APP_ID"},
		"finished":          {nil, []string{"--fake", "cancel", fakeFailed}, "reload get " + fakeFailed},
		"log of an active":  {nil, []string{"--fake", "log", fakeLong}, "the reload is RELOADING; to wait for its log, add --follow"},
		"log of a finished": {noLog, []string{"log", "1"}, "the reload is CANCELED, but the service does not have its log"},
		"failed":            {nil, []string{"--fake", "wait", fakeFailed}, "reload log " + fakeFailed},
		"still running":     {nil, []string{"--fake", "create", "--appId", "yearly", "--wait", "--timeout", "2s"}, "the reload goes on; to wait for it, run: reload wait 5be59decca62aa000000000e"},
		"key":               {expired, []string{"get", "x"}, "check the API key"},
		"list of a tenant":  {user, []string{"ls"}, "add --appId"},
		"forbidden list":    {forbidden, []string{"ls"}, "add --appId"},
		"forbidden":         {forbidden, []string{"ls", "--appId", "sales"}, "a user who may do this"},
		"filter":            {nil, []string{"--fake", "ls", "--filter", "status eq FAILED"}, "check the filter"},
		"failing service":   {down, []string{"ls", "--retry", "0"}, "try again later"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, c.env, c.args...)
			_, hint, _ := strings.Cut(r.stderr, "\nhint: ")
			if r.status == statusOK || !strings.Contains(hint, c.hint) || strings.Count(hint, "\n") != 1 {
				t.Errorf("%+v, want a hint with %q", r, c.hint)
			}
		})
	}
}
