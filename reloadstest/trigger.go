package reloadstest

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/reloads-go/reloads"
)

func (t *Tenant) serveTrigger(r *http.Request, body []byte) answer {
	req, reason := parseTrigger(body)
	if reason != "" {
		return badRequest("%s", reason)
	}
	a := t.apps[req.AppID]
	switch {
	case a == nil: // what the service says of an app that does not exist is not known
		return notAllowed
	case a.pending(t.now()):
		return pending
	case a.overQuota():
		return overQuota
	}
	rec := t.trigger(req, t.now())
	return jsonAnswer(http.StatusCreated, t.linked(r, rec.at(t.now())))
}

// parseTrigger reads the body of a trigger, or tells why it is refused. It checks the variables but does not return
// them: a tenant that keeps none cannot print any.
func parseTrigger(body []byte) (req reloads.Request, reason string) {
	var fields struct {
		AppID        string             `json:"appId"`
		Partial      bool               `json:"partial"`
		Weight       *int               `json:"weight"`
		Variables    map[string]*string `json:"variables"`
		ResourceID   string             `json:"resourceId"`
		ResourceType *string            `json:"resourceType"`
	}
	if err := json.Unmarshal(body, &fields); err != nil {
		return req, "the body is not a reload request: " + err.Error()
	}
	req = reloads.Request{AppID: fields.AppID, Partial: fields.Partial, ResourceID: fields.ResourceID}
	if req.AppID == "" {
		return req, "appId is required"
	}
	if fields.Weight != nil {
		if req.Weight = *fields.Weight; req.Weight < 1 || req.Weight > 10 {
			return req, "weight must be 1 to 10"
		}
	}
	if fields.ResourceType != nil {
		switch req.ResourceType = *fields.ResourceType; req.ResourceType {
		case reloads.ResourceTypeAPI, reloads.ResourceTypeReloadTasks, reloads.ResourceTypeTasks,
			reloads.ResourceTypeAutomate:
		default:
			return req, "resourceType is not one of api, reload-tasks, tasks, automate"
		}
	}
	if len(fields.Variables) > 20 {
		return req, "there are more than 20 variables"
	}
	for name, value := range fields.Variables {
		if value == nil {
			return req, "a variable is not a text"
		}
		if utf8.RuneCountInString(name) > 256 || utf8.RuneCountInString(*value) > 256 {
			return req, "a variable is longer than 256 characters"
		}
	}
	return req, ""
}

// redactVariables takes the values of variables out of the body of a trigger, however they are spelled. A body that is
// no JSON object might have them anywhere, and is left out.
func redactVariables(body []byte) []byte {
	const redacted = `"REDACTED"`
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return nil
	}
	found := false
	for name, value := range fields {
		if !strings.EqualFold(name, "variables") {
			continue
		}
		found = true
		var variables map[string]json.RawMessage
		if json.Unmarshal(value, &variables) != nil {
			fields[name] = json.RawMessage(redacted)
			continue
		}
		for variable := range variables {
			variables[variable] = json.RawMessage(redacted)
		}
		fields[name], _ = json.Marshal(variables) // all of it is JSON
	}
	if !found {
		return body
	}
	text, _ := json.Marshal(fields) // as above
	return text
}
