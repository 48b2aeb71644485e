package reloads

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// Request describes the reload to trigger.
//
// Printing a Request as text or logging it shows the names of its variables, but not their values, which may be secrets. Encoding
// it as JSON, which is the body of the request, includes the values. All text must be valid UTF-8.
type Request struct {
	// AppID identifies the app to reload. It is required.
	AppID string `json:"appId"`
	// Partial asks for a partial reload.
	Partial bool `json:"partial,omitzero"`
	// Weight is the scheduling priority within the tenant, from 1 to 10; higher is sooner. 0 means the service's default, 1.
	Weight int `json:"weight,omitzero"`
	// Variables are set in the load script. At most 20 are allowed. Names and values have at most 256 Unicode
	// characters. A name must not be empty. The map must not be modified during a call.
	Variables map[string]string `json:"variables,omitempty"`
	// ResourceID identifies the resource that the reload is started for. Any text is allowed.
	ResourceID string `json:"resourceId,omitzero"`
	// ResourceType is the kind of service that starts the reload, such as [ResourceTypeAPI]. Other values are
	// sent as they are.
	ResourceType string `json:"resourceType,omitzero"`
}

// The limits on a [Request] that the service documents.
const (
	maxWeight         = 10
	maxVariables      = 20
	maxVariableLength = 256
)

// validate returns an error for the first value that the service would refuse. It never quotes the value of a variable.
func (r Request) validate() error {
	if r.AppID == "" {
		return invalid("AppID", `""`, "must not be empty")
	}
	if r.Weight < 0 || r.Weight > maxWeight {
		return invalid("Weight", fmt.Sprint(r.Weight), "must be 1 to 10, or 0 for the service's default")
	}
	if n := len(r.Variables); n > maxVariables {
		return invalid("Variables", fmt.Sprintf("%d variables", n), "at most 20 are allowed")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Variables)) {
		if name == "" {
			return invalid("Variables", `""`, "the name of a variable must not be empty")
		}
		if n := utf8.RuneCountInString(name); n > maxVariableLength {
			return invalid("Variables", fmt.Sprintf("%.32q…", name), fmt.Sprintf("the name has %d characters, at most 256 are allowed", n))
		}
		if n := utf8.RuneCountInString(r.Variables[name]); n > maxVariableLength {
			return invalid("Variables", fmt.Sprintf("%q", name), fmt.Sprintf("its value has %d characters, at most 256 are allowed", n))
		}
	}
	return nil
}

// String returns a description without the values of the variables.
func (r Request) String() string {
	s := "reload of app " + r.AppID
	if r.Partial {
		s += ", partial"
	}
	if r.Weight != 0 {
		s += fmt.Sprintf(", weight %d", r.Weight)
	}
	if len(r.Variables) > 0 {
		s += fmt.Sprintf(", variables %q", slices.Sorted(maps.Keys(r.Variables)))
	}
	if r.ResourceID != "" || r.ResourceType != "" {
		s += fmt.Sprintf(", for %s %s", r.ResourceType, r.ResourceID)
	}
	return s
}

// GoString returns [Request.String], so that %#v does not show the values of the variables either.
func (r Request) GoString() string { return "reloads.Request(" + r.String() + ")" }

// LogValue returns a group without the values of the variables.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(slog.String("app", r.AppID), slog.Bool("partial", r.Partial), slog.Int("variables", len(r.Variables)))
}

// encode returns the body of a trigger.
func (r Request) encode() ([]byte, error) {
	body, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return nil, invalid("Request", r.AppID, "contains text that is not valid UTF-8")
	}
	return body, nil
}

// Step identifies a step of a batch by its position. 0 is the first one.
type Step int

// Result is the outcome of one step of a batch.
type Result struct {
	// Step is the position in the plan or, in a result of [Client.RunAll] or [Client.WaitAll], in the slice.
	Step Step
	// Request is the request of the step. In a result of [Client.WaitAll] it contains only the app.
	Request Request
	// Reload is the most recent state of the step's most recent reload. It is nil if the step has none. It may be of an
	// earlier run than the error if that matches [ErrOutcomeUnknown].
	Reload *Reload
	// Runs is how many reloads the step triggered or attached to: more than 1 with [Rerun], 0 if it did neither. A
	// reload that had succeeded under the key of [Once] before does not count.
	Runs int
	// Err is nil if the reload SUCCEEDED, and a [*ReloadError] if it finished with another status. It matches
	// [ErrSkipped] if a predecessor did not succeed, and [ErrNotStarted] if the step had no effect because ctx had
	// ended, or would have ended before it could start. Otherwise it is an error of [Client.Run].
	Err error
}

// LogValue returns a group with the step, the request, the reload, the number of runs and the error.
func (r Result) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Int("step", int(r.Step)), slog.Any("request", r.Request), slog.Int("runs", r.Runs)}
	if r.Reload != nil {
		attrs = append(attrs, slog.Any("reload", r.Reload))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// eventQueue passes events to the loop over the results. Its length is not limited, so that a slow loop body does not
// delay polls and triggers.
type eventQueue[E any] struct {
	mu     sync.Mutex
	events []E
	ready  chan struct{} // has a value if there are events; capacity 1
}

func newEventQueue[E any]() eventQueue[E] { return eventQueue[E]{ready: make(chan struct{}, 1)} }

func (q *eventQueue[E]) push(e E) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events = append(q.events, e)
	signal(q.ready)
}

// take returns all events.
func (q *eventQueue[E]) take() []E {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer func() { q.events = nil }()
	return q.events
}

// signal makes c have a value. Its capacity is 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
