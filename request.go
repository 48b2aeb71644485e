package reloads

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// Request asks for a reload of an app.
//
// The names of its variables print and log, their values do not: people put secrets in them. Its JSON, which is the body of
// the request, has them.
type Request struct {
	// AppID names the app to reload. Required.
	AppID string `json:"appId"`
	// Partial asks for a partial reload.
	Partial bool `json:"partial,omitzero"`
	// Weight is 1 to 10; within a tenant a higher weight is scheduled sooner. 0 leaves it to the service, which
	// takes 1.
	Weight int `json:"weight,omitzero"`
	// Variables are set in the load script: at most 20, names and values of at most 256 characters each.
	Variables map[string]string `json:"variables,omitempty"`
	// ResourceID names the resource that the reload is started for; any text of the caller's own.
	ResourceID string `json:"resourceId,omitzero"`
	// ResourceType is the kind of service that starts it, such as [ResourceTypeAPI]. Other values are sent as
	// they are.
	ResourceType string `json:"resourceType,omitzero"`
}

// The limits on a [Request] that the service documents.
const (
	maxWeight         = 10
	maxVariables      = 20
	maxVariableLength = 256
)

// validate says which value of the request the service would refuse, without ever quoting a variable's value.
func (r Request) validate() error {
	if r.AppID == "" {
		return invalid("AppID", `""`, "must name the app to reload")
	}
	if r.Weight < 0 || r.Weight > maxWeight {
		return invalid("Weight", fmt.Sprint(r.Weight), "must be 1 to 10, or 0 for the service's default")
	}
	if n := len(r.Variables); n > maxVariables {
		return invalid("Variables", fmt.Sprintf("%d variables", n), "there may be at most 20")
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

// String describes the request without the values of its variables.
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

// GoString is [Request.String], so that %#v shows no variable either.
func (r Request) GoString() string { return "reloads.Request(" + r.String() + ")" }

// LogValue logs the request as a group, without the values of its variables.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(slog.String("app", r.AppID), slog.Bool("partial", r.Partial), slog.Int("variables", len(r.Variables)))
}

// encode is the body of a trigger.
func (r Request) encode() ([]byte, error) {
	body, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return nil, invalid("Request", r.AppID, "it has text that is not valid UTF-8")
	}
	return body, nil
}
