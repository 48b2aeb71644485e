package reloadstest

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/reloads-go/reloads"
)

// serveTrigger handles a trigger whose token is allowed to trigger reloads.
func (t *Tenant) serveTrigger(r *http.Request, body []byte) response {
	req, reason := parseTrigger(body)
	if reason != "" {
		return badRequest("%s", reason)
	}
	a := t.apps[req.AppID]
	switch {
	case a == nil:
		return appNotFound
	case a.pending(t.now()):
		return reloadPending
	case a.quotaExceeded():
		return quotaExceeded
	}
	rec := t.trigger(req, t.now())
	return jsonResponse(http.StatusCreated, t.represent(r, rec.at(t.now())))
}

// parseTrigger parses the body of a trigger. If the body is invalid, it returns the reason. It checks the variables but
// does not return them, so that the tenant stores no variable that it could print.
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
			return req, "the value of a variable is not a string"
		}
		if utf8.RuneCountInString(name) > 256 || utf8.RuneCountInString(*value) > 256 {
			return req, "a variable is longer than 256 characters"
		}
	}
	return req, ""
}

// redactVariables replaces the values of the variables in the body of a trigger. It returns nil if the body is not a JSON
// object, because then the values cannot be located.
func redactVariables(body []byte) []byte {
	const redacted = `"REDACTED"`
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return nil
	}
	found := false
	for name, value := range fields {
		if !strings.EqualFold(name, "variables") { // encoding/json ignores the case of names, too
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
		fields[name], _ = json.Marshal(variables) // cannot fail: all values are valid JSON
	}
	if !found {
		return body
	}
	text, _ := json.Marshal(fields) // cannot fail, as above
	return text
}
