package reloads_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/reloads-go/reloads"
)

// variables returns n variables.
func variables(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprintf("v%02d", i)] = "x"
	}
	return m
}

func TestInvalidRequestsAreNotSent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 257)
	for name, c := range map[string]struct {
		req      reloads.Request
		contains []string
	}{
		"no app":             {reloads.Request{}, []string{"AppID", `""`}},
		"weight below":       {reloads.Request{AppID: "app", Weight: -1}, []string{"Weight", "-1", "1 to 10"}},
		"weight above":       {reloads.Request{AppID: "app", Weight: 11}, []string{"Weight", "11", "1 to 10"}},
		"too many variables": {reloads.Request{AppID: "app", Variables: variables(21)}, []string{"Variables", "21", "at most 20"}},
		"unnamed variable":   {reloads.Request{AppID: "app", Variables: map[string]string{"": "secret-value"}}, []string{"Variables", `""`}},
		"long name":          {reloads.Request{AppID: "app", Variables: map[string]string{long: "secret-value"}}, []string{"Variables", "éé", "257", "256"}},
		"long value":         {reloads.Request{AppID: "app", Variables: map[string]string{"vKey": "secret-value" + long}}, []string{"Variables", "vKey", "269", "256"}},
		"invalid value":      {reloads.Request{AppID: "app", Variables: map[string]string{"vKey": "secret-value\xff"}}, []string{"UTF-8"}},
		"invalid app":        {reloads.Request{AppID: "app\xff"}, []string{"UTF-8"}},
	} {
		t.Run(name, func(t *testing.T) {
			wire := scripted(respond(http.StatusCreated, queued))
			_, err := scriptedClient(t, wire).Trigger(t.Context(), c.req)
			refusedBeforeSending(t, err, c.contains...)
			checkNoSecrets(t, "the error", err.Error(), "secret-value", long)
			if n := len(wire.requests()); n != 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

// The limits count characters, not bytes.
func TestRequestsAtTheLimitsAreSent(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("é", 256)
	for name, req := range map[string]reloads.Request{
		"weight 1":        {AppID: "app", Weight: 1},
		"weight 10":       {AppID: "app", Weight: 10},
		"20 variables":    {AppID: "app", Variables: variables(20)},
		"256 characters":  {AppID: "app", Variables: map[string]string{longest: longest}},
		"an empty value":  {AppID: "app", Variables: map[string]string{"v": ""}},
		"other resources": {AppID: "app", ResourceType: "spaceship"},
	} {
		wire := scripted(respond(http.StatusCreated, queued))
		if _, err := scriptedClient(t, wire).Trigger(t.Context(), req); err != nil || len(wire.requests()) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Users put passwords in variables.
func TestVariablesAreNotPrinted(t *testing.T) {
	t.Parallel()
	req := reloads.Request{
		AppID: "app", Partial: true, Weight: 3, Variables: map[string]string{"vPassword": "secret-value"},
		ResourceID: "nightly-42", ResourceType: "api",
	}
	type job struct {
		Name    string
		Request reloads.Request
		Pointer *reloads.Request
	}
	plan := new(reloads.Plan)
	plan.Add(req)
	values := map[string]any{
		"value": req, "pointer": &req, "struct": job{"nightly", req, &req}, "slice": []reloads.Request{req},
		"map": map[string]reloads.Request{"a": req}, "plan": *plan, "pointer to a plan": plan,
	}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			text := fmt.Sprintf(verb, value)
			checkNoSecrets(t, name+" with "+verb, text, "secret-value", fmt.Sprintf("%x", "secret-value"))
			if name == "value" && verb != "%x" && !strings.Contains(text, "vPassword") {
				t.Errorf("%s does not show the variable's name: %s", verb, text)
			}
		}
	}
	var b bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(handler).Info("trigger", "request", req, "pointer", &req, "plan", plan, slog.Group("g", "request", req))
	}
	checkNoSecrets(t, "slog", b.String(), "secret-value")
	if !strings.Contains(b.String(), "request.app=app request.partial=true request.variables=1") {
		t.Errorf("slog: %s", b.String())
	}
	want := `reload of app app, partial, weight 3, variables ["vPassword"], for api nightly-42`
	if got := req.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for want, r := range map[string]reloads.Request{
		"reload of app app":               {AppID: "app"},
		"reload of app app, for  nightly": {AppID: "app", ResourceID: "nightly"},
		"reload of app app, for api ":     {AppID: "app", ResourceType: "api"},
	} {
		if got := fmt.Sprintf("%v", r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
