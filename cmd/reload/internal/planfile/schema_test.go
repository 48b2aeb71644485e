package planfile

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestWhatTheSchemaRefuses(t *testing.T) {
	t.Parallel()
	const (
		appWanted  = "app must be an app ID without white space or invisible characters, got "
		nameWanted = "must be a step name of 1 to 256 characters, without control characters or outer white space, got "
	)
	long := strings.Repeat("é", 257)
	for name, c := range map[string]struct{ text, want string }{
		"no steps":       {"rerun: 1\n", "1:1: the key steps is missing"},
		"empty steps":    {"steps: []\n", "1:8: steps must be a list of at least one step, got an empty list"},
		"null steps":     {"steps:\n", "1:7: steps must be a list of at least one step, got no value"},
		"steps by name":  {"steps:\n  a: {app: s3cret}\n", "2:3: steps must be a list of at least one step, got a mapping"},
		"empty list":     {"[]", "1:1: the file must be a plan, or a list of at least one app ID, got an empty list"},
		"list of steps":  {"- app: a\n", "1:3: an entry must be an app ID without white space or invisible characters, got a mapping"},
		"list of number": {"- 12\n", "1:3: an entry must be an app ID without white space or invisible characters, got 12 without quotes"},
		"unknown key": {
			"max_active: 1\nfoo: 1\nsteps: [{app: a}]\n",
			`1:1: unknown key "max_active"; did you mean "max-active"?
2:1: unknown key "foo"; the keys are after-pending, attach, cancel-on-abort, max-active, once, rerun, step-timeout, steps, timeout`,
		},
		"unknown key of a step": {
			"steps:\n- app: a\n  vPassword=s3cret:\n  wieght: 1\n",
			`3:3: step "a": unknown key "vPassword…"; the keys are after, app, name, partial, variables, weight
4:3: step "a": unknown key "wieght"; did you mean "weight"?`,
		},
		"counts": {
			"max-active: -1\nrerun: 1000001\nsteps: [{app: a}]\n",
			"1:13: max-active must be an integer from 0 to 1000000, got -1\n2:8: rerun must be an integer from 0 to 1000000, got 1000001",
		},
		"durations": {
			"timeout: 90\nstep-timeout: -5m\nsteps: [{app: a}]\n",
			"1:10: timeout must be a duration such as 90m, 1h30m or 45s, got 90\n2:15: step-timeout must be a duration such as 90m, 1h30m or 45s, got \"-5m\"",
		},
		"switches": {
			"attach: yes\ncancel-on-abort: 1\nsteps: [{app: a}]\n",
			"1:9: attach must be true or false, got \"yes\"\n2:18: cancel-on-abort must be true or false, got 1",
		},
		"once": {
			"once: \"{{time}}\"\nsteps: [{app: a}]\n",
			`1:7: once must be a key without control characters, in which {{date}} is the only {{…}}, got "{{time}}"`,
		},
		"once is a mapping": {
			"once: {{date}}\nsteps: [{app: a}]\n",
			"1:8: a key must be text; quote text that begins with { or [",
		},
		"both": {"attach: true\nafter-pending: true\nsteps: [{app: a}]\n", "2:1: attach and after-pending cannot be combined"},
		"no app": {
			"steps:\n- name: a\n- weight: 1\n- s3cret\n- app:\n",
			`2:3: step "a": the key app is missing
3:3: step 2: the key app is missing
4:3: step 3: it must be a mapping with the key app, got a scalar
5:7: step 4: ` + appWanted + "no value",
		},
		"app IDs": {
			"steps:\n- app: \"\"\n- app: a b\n- app: 12\n- app: \"a\\u200b\"\n",
			`2:8: step 1: ` + appWanted + `""
3:8: step "a b": ` + appWanted + `"a b"
4:8: step "12": ` + appWanted + `12 without quotes
5:8: step "a\u200b": ` + appWanted + `"a\u200b"`,
		},
		"names": {
			"steps:\n- {app: a, name: ''}\n- {app: b, name: ' b'}\n- {app: c, name: " + long + "}\n",
			`2:18: step "a": name ` + nameWanted + `""
3:18: step " b": name ` + nameWanted + `" b"
4:18: step "` + strings.Repeat("é", 64) + `"…: name ` + nameWanted + `257 characters`,
		},
		"after": {
			"steps:\n- {app: a, after: b}\n- {app: b, after: [a, a]}\n- {app: c, after: [1]}\n",
			`2:19: step "a": after must be a list of different step names, got a scalar
3:23: step "b": after contains "a" twice
4:20: step "c": an entry of after ` + nameWanted + `1 without quotes`,
		},
		"weight": {
			"steps:\n- {app: a, weight: 11}\n- {app: b, weight: 1.5}\n- {app: c, weight: .inf}\n- {app: d, weight: high}\n",
			`2:20: step "a": weight must be an integer from 1 to 10, or 0 for the default of the service, got 11
3:20: step "b": weight must be an integer from 1 to 10, or 0 for the default of the service, got 1.5
4:20: step "c": weight must be an integer from 1 to 10, or 0 for the default of the service, got .inf
5:20: step "d": weight must be an integer from 1 to 10, or 0 for the default of the service, got "high"`,
		},
		"a long number": {
			"steps:\n- {app: a, weight: " + strings.Repeat("7", 100) + "}\n",
			`2:20: step "a": weight must be an integer from 1 to 10, or 0 for the default of the service, got "` + strings.Repeat("7", 64) + `"…`,
		},
		"variables": {
			"steps:\n- app: a\n  variables:\n    v1: [s3cret]\n    v2: {s3cret: 1}\n    v3:\n    v4: s3cret" + long + "\n    v5: " + strings.Repeat("7", 257) + "\n    '': s3cret\n    v" + long + ": s3cret\n",
			`4:9: step "a": the variable "v1" must be text of at most 256 characters, a number, true or false, got a list
5:9: step "a": the variable "v2" must be text of at most 256 characters, a number, true or false, got a mapping
6:8: step "a": the variable "v3" must be text of at most 256 characters, a number, true or false, got no value
7:9: step "a": the variable "v4" must be text of at most 256 characters, a number, true or false, got 263 characters
8:9: step "a": the variable "v5" must be text of at most 256 characters, a number, true or false, got 257 characters
9:5: step "a": the name of a variable must have 1 to 256 characters, got 0
10:5: step "a": the name of a variable must have 1 to 256 characters, got 258`,
		},
		"missing space": {
			"steps:\n- {app: a, variables: {v:s3cret}}\n- {app: b, variables: s3cret}\n- {app: c, variables: [v=s3cret]}\n",
			`2:32: step "a": the variable "v…" must be text of at most 256 characters, a number, true or false, got no value
3:23: step "b": variables must be a mapping of at most 20 variables, got a scalar
4:23: step "c": variables must be a mapping of at most 20 variables, got a list`,
		},
		"many variables": {
			"steps: [{app: a, variables: {" + manyLines(21, "v%d: s3cret,") + "}}]",
			`1:29: step "a": variables must be a mapping of at most 20 variables, got 21`,
		},
	} {
		checkErrors(t, name, c.text, c.want)
	}
}

func TestOnlyTheFirstErrorsAreShown(t *testing.T) {
	t.Parallel()
	_, err := Parse("plan.yaml", []byte("steps:\n"+manyLines(12, "- {app: a%d, partial: 1}\n")))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 11 || lines[0] != `plan.yaml:2:22: step "a0": partial must be true or false, got 1` ||
		lines[9] != `plan.yaml:11:22: step "a9": partial must be true or false, got 1` || lines[10] != "plan.yaml: and 2 more errors" {
		t.Errorf("got %v", err)
	}
}

// A plan is refused if and only if the package reloads refuses its request before anything is sent.
func TestTheSchemaAcceptsWhatRequestAccepts(t *testing.T) {
	t.Parallel()
	variables := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[strings.Repeat("v", i+1)] = "x"
		}
		return m
	}
	reqs := []reloads.Request{{AppID: ""}, {AppID: "app", Partial: true}}
	for weight := -1; weight <= 11; weight++ {
		reqs = append(reqs, reloads.Request{AppID: "app", Weight: weight})
	}
	for _, n := range []int{0, 1, 19, 20, 21} {
		reqs = append(reqs, reloads.Request{AppID: "app", Variables: variables(n)})
	}
	for _, s := range []string{"a", "é", "😀", "\n", "0"} {
		for _, n := range []int{0, 1, 255, 256, 257} {
			text := strings.Repeat(s, n)
			reqs = append(reqs, reloads.Request{AppID: "app", Variables: map[string]string{text: "x"}},
				reloads.Request{AppID: "app", Variables: map[string]string{"v": text}})
		}
	}
	accepted := 0
	for _, req := range reqs {
		text, err := json.Marshal(map[string]any{"steps": []any{map[string]any{
			"app": req.AppID, "partial": req.Partial, "weight": req.Weight, "variables": req.Variables,
		}}})
		if req.Variables == nil {
			text = []byte(strings.Replace(string(text), `,"variables":null`, "", 1))
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse("plan.yaml", text)
		refused := refuses(t, req)
		if (err != nil) != refused {
			t.Errorf("%v: the package refuses it: %t, the schema says %v", req, refused, err)
		}
		if err == nil {
			accepted++
			if diff := cmp.Diff(req, p.Steps[0].Request); diff != "" {
				t.Errorf("%v is changed", req) // the difference may be long
			}
		}
	}
	if accepted == 0 || accepted == len(reqs) {
		t.Errorf("%d of %d are accepted", accepted, len(reqs))
	}
}

// The same for the options.
func TestTheSchemaAcceptsWhatOptionsAccept(t *testing.T) {
	t.Parallel()
	for text, opts := range map[string][]reloads.RunOption{
		"max-active: -1":                      {reloads.MaxActive(-1)},
		"max-active: 0":                       {reloads.MaxActive(0)},
		"rerun: -1":                           {reloads.Rerun(-1)},
		"rerun: 0":                            {reloads.Rerun(0)},
		"step-timeout: -1ms":                  {reloads.StepTimeout(-time.Millisecond)},
		"step-timeout: 0s":                    {reloads.StepTimeout(0)},
		"step-timeout: 999999h":               {reloads.StepTimeout(999999 * time.Hour)},
		`once: ""`:                            {reloads.Once("")},
		"attach: true":                        {reloads.AttachToPending()},
		"after-pending: true":                 {reloads.AfterPending()},
		"{attach: true, after-pending: true}": {reloads.AttachToPending(), reloads.AfterPending()},
	} {
		plan, ok := strings.CutSuffix(text, "}")
		if ok {
			plan += ", steps: [{app: app}]}"
		} else {
			plan += "\nsteps: [{app: app}]"
		}
		_, err := Parse("plan.yaml", []byte(plan))
		if refused := refuses(t, reloads.Request{AppID: "app"}, opts...); (err != nil) != refused {
			t.Errorf("%s: the package refuses it: %t, the schema says %v", text, refused, err)
		}
	}
}

// refuses reports whether the package reloads refuses a request or an option before anything is sent.
func refuses(t *testing.T, req reloads.Request, opts ...reloads.RunOption) (refused bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant()
		tenant.AddApp("app", reloadstest.App{})
		var plan reloads.Plan
		plan.Add(req)
		for r := range tenant.NewClient().RunPlan(t.Context(), &plan, opts...) {
			refused = errors.Is(r.Err, reloads.ErrBadRequest)
			if r.Err != nil && !refused || refused != (len(tenant.Requests()) == 0) {
				t.Errorf("%v: %d requests were sent, %v", req, len(tenant.Requests()), r.Err)
			}
		}
	})
	return refused
}

// Every duration that the schema accepts is one of Go.
func TestDurations(t *testing.T) {
	t.Parallel()
	const largest = "999999.999999999"
	for text, want := range map[string]time.Duration{ // -1 is refused
		"90m": 90 * time.Minute, "1h30m": 90 * time.Minute, "1h2m3s4ms": time.Hour + 2*time.Minute + 3*time.Second + 4*time.Millisecond,
		"1.5h": 90 * time.Minute, "0s": 0, "00090m": 90 * time.Minute,
		largest + "h" + largest + "m" + largest + "s" + largest + "ms": longest(t, largest),
		"": -1, "90": -1, "0": -1, "1d": -1, "-1m": -1, "+1m": -1, "1m1h": -1, "1h 30m": -1, "h": -1, "1000000h": -1, "1h1h": -1, "1h\n": -1,
	} {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse("plan.yaml", []byte("timeout: "+string(quoted)+"\nsteps: [{app: a}]"))
		switch {
		case (err != nil) != (want < 0):
			t.Errorf("%q: %v", text, err)
		case err == nil && p.Timeout != want:
			t.Errorf("%q: got %v, want %v", text, p.Timeout, want)
		}
	}
}

func longest(t *testing.T, number string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(number + "h" + number + "m" + number + "s" + number + "ms")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// No key is accepted and then ignored, and none is decoded that the schema does not have.
func TestEveryKeyIsDecoded(t *testing.T) {
	t.Parallel()
	schema := loadSchema()
	check := func(s *jsonschema.Schema, decoded any) {
		var keys []string
		for field := range reflect.TypeOf(decoded).Fields() {
			keys = append(keys, field.Tag.Get("yaml"))
		}
		slices.Sort(keys)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(s.Properties)), keys); diff != "" {
			t.Errorf("%s (-schema +decoded):\n%s", s.Location, diff)
		}
	}
	check(schema, planText{})
	check(schema.Properties["steps"].Items2020.Ref, stepText{})

	// Each key alone changes the plan.
	const steps = "steps: [{name: a, app: a}, {app: b}]"
	plain, err := Parse("plan.yaml", []byte(steps))
	if err != nil {
		t.Fatal(err)
	}
	const step = "steps: [{name: a, app: a}, {app: b, "
	for key, text := range map[string]string{
		"max-active": "{max-active: 1, " + steps + "}", "rerun": "{rerun: 1, " + steps + "}", "once": "{once: k, " + steps + "}",
		"attach": "{attach: true, " + steps + "}", "after-pending": "{after-pending: true, " + steps + "}",
		"cancel-on-abort": "{cancel-on-abort: true, " + steps + "}", "step-timeout": "{step-timeout: 1s, " + steps + "}",
		"timeout": "{timeout: 1s, " + steps + "}", "steps": "steps: [{app: a}]",
		"name": step + "name: c}]", "after": step + "after: [a]}]", "partial": step + "partial: true}]", "weight": step + "weight: 1}]",
		"variables": step + "variables: {v: x}}]", "app": "steps: [{name: a, app: c}, {app: b}]",
	} {
		p, err := Parse("plan.yaml", []byte(text))
		if err != nil || cmp.Equal(p, plain) {
			t.Errorf("%s has no effect: %v", key, err)
		}
	}
	if n := len(schema.Properties) + len(schema.Properties["steps"].Items2020.Ref.Properties); n != 15 {
		t.Errorf("the schema has %d keys, and this test 15", n)
	}
}

func TestTheSchema(t *testing.T) {
	t.Parallel()
	var text any
	if err := json.Unmarshal(schemaText, &text); err != nil {
		t.Fatal(err)
	}
	meta, err := jsonschema.NewCompiler().Compile("https://json-schema.org/draft/2020-12/schema")
	if err != nil {
		t.Fatal(err)
	}
	if err := meta.Validate(text); err != nil {
		t.Errorf("the schema is not valid: %v", err)
	}
	root := loadSchema()
	all := map[string]*jsonschema.Schema{}
	parts(all, root)
	for at, s := range all {
		if s.Types != nil && s.Title == "" {
			t.Errorf("%s has no title, which errors need", at)
		}
		for key, property := range s.Properties {
			if property.Description == "" && !strings.HasSuffix(at, "/not") {
				t.Errorf("%s: %s has no description", at, key)
			}
			if s.AdditionalProperties != false && !strings.HasSuffix(at, "/not") {
				t.Errorf("%s allows unknown keys", at)
			}
		}
	}
	if len(all) < 20 {
		t.Errorf("only %d parts of the schema were checked", len(all))
	}
}
