package openapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// observed are responses of the service that the document does not have. See the comments of package reloadstest.
var observed = []string{
	"POST /api/v1/reloads 404",
	"GET /api/v1/reloads 429",
	"GET /api/v1/reloads/{reloadId} 429",
	"POST /api/v1/reloads/{reloadId}/actions/cancel 429",
}

const (
	listPath   = "GET /api/v1/reloads"
	createPath = "POST /api/v1/reloads"
	getPath    = "GET /api/v1/reloads/{reloadId}"
	cancelPath = "POST /api/v1/reloads/{reloadId}/actions/cancel"
)

// exam compares the responses of a fake tenant with the document.
type exam struct {
	*document
	tenant   *reloadstest.Tenant
	token    string
	seen     map[string]bool // members of records, values of their status, and responses with error codes
	problems []string
}

// send sends a request to the tenant, checks the response, and returns its body.
func (e *exam) send(want int, op, id, query, body string) map[string]any {
	method, path, _ := strings.Cut(op, " ")
	r := httptest.NewRequestWithContext(context.Background(), method, strings.ReplaceAll(path, "{reloadId}", id)+"?"+query, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+e.token)
	w := httptest.NewRecorder()
	e.tenant.ServeHTTP(w, r)
	name := fmt.Sprintf("%s %d", op, w.Code)
	if w.Code != want {
		e.problems = append(e.problems, fmt.Sprintf("%s: want status %d, query %s, body %s", name, want, query, body))
	}
	documented, ok := e.operations()[op].Responses[strconv.Itoa(w.Code)]
	if !ok && !slices.Contains(observed, name) {
		e.problems = append(e.problems, "the fake tenant responds to "+name+", which is not in the document")
	}
	s := documented.json()
	if !ok {
		s = *e.Components.Schemas["Errors"]
	}
	if w.Body.Len() == 0 && len(documented.Content) == 0 {
		return nil
	}
	var value map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &value); err != nil {
		e.problems = append(e.problems, name+": "+err.Error())
	}
	if !ok {
		delete(value, "traceId") // the body of the 404 was observed with it
	}
	e.problems = append(e.problems, e.check(name, value, s)...)
	if list, _ := value["errors"].([]any); len(list) == 1 {
		code, _ := list[0].(map[string]any)["code"].(string)
		e.seen[name+" "+code] = true
		if documented.Codes != nil && !slices.Contains(documented.Codes, code) {
			e.problems = append(e.problems, fmt.Sprintf("the fake tenant responds to %s with the code %s, not %s", name, code, documented.Codes))
		}
	}
	records, _ := value["data"].([]any)
	for _, record := range append(records, value) {
		record, _ := record.(map[string]any)
		if record["id"] != nil {
			for member := range record {
				e.seen[member] = true
			}
			e.seen[fmt.Sprint(record["status"])] = true
		}
	}
	return value
}

// create triggers a reload and returns its ID.
func (e *exam) create(app, members string) string {
	record := e.send(http.StatusCreated, createPath, "", "", `{"appId":"`+app+`"`+members+`}`)
	return fmt.Sprint(record["id"])
}

// checkTenant returns how the responses of the fake tenant differ from the document.
func (d *document) checkTenant() []string {
	e := &exam{document: d, seen: map[string]bool{}, token: reloadstest.DefaultToken}
	e.tenant = reloadstest.NewTenant(reloadstest.WithToken("forbidden", reloadstest.Forbidden), reloadstest.WithMetering(reloadstest.SlidingWindow, 0))
	e.tenant.AddApp("app", reloadstest.App{QueueFor: time.Minute, RunFor: time.Hour, CancelFor: time.Minute})
	e.tenant.AddApp("done", reloadstest.App{})
	e.tenant.AddApp("failing", reloadstest.App{Outcome: reloads.StatusFailed, ErrorCode: "c", ErrorMessage: "m"})
	e.tenant.AddApp("long", reloadstest.App{Outcome: reloads.StatusExceededLimit})
	e.tenant.AddApp("quota", reloadstest.App{Quota: 1})
	e.life()
	e.lists()
	e.requests()
	e.refusals()
	for member := range d.Components.Schemas["Reload"].Properties {
		if !e.seen[member] {
			e.problems = append(e.problems, "the fake tenant never sends Reload."+member)
		}
	}
	for _, status := range d.Components.Schemas["Status"].Enum {
		if !e.seen[status] {
			e.problems = append(e.problems, "the fake tenant never sends the status "+status)
		}
	}
	for name, op := range d.operations() {
		for status, r := range op.Responses {
			for _, code := range r.Codes {
				if name := fmt.Sprintf("%s %s %s", name, status, code); !e.seen[name] {
					e.problems = append(e.problems, "the fake tenant never responds to "+name)
				}
			}
		}
	}
	return e.problems
}

// life lets reloads pass through all statuses.
func (e *exam) life() {
	for _, app := range []string{"done", "failing", "long", "quota"} {
		e.send(http.StatusOK, getPath, e.create(app, ""), "", "")
	}
	id := e.create("app", `,"partial":true,"weight":2,"resourceId":"r","resourceType":"api"`)
	e.send(http.StatusNoContent, cancelPath, id, "", "")
	id = e.create("app", "")
	e.send(http.StatusTooManyRequests, createPath, "", "", `{"appId":"app"}`)
	time.Sleep(time.Minute)
	e.send(http.StatusOK, getPath, id, "", "")
	e.send(http.StatusAccepted, cancelPath, id, "", "")
	e.send(http.StatusOK, getPath, id, "", "")
	time.Sleep(time.Minute)
	e.send(http.StatusOK, getPath, id, "", "")
	e.send(http.StatusConflict, cancelPath, id, "", "")
}

// lists sends all values of the parameters of a list, and one more of each.
func (e *exam) lists() {
	for range 200 {
		e.tenant.AddReload(reloads.Reload{AppID: "done", Type: reloads.TypeHub, Status: reloads.StatusSucceeded, Log: "l"})
	}
	for _, p := range e.operations()[listPath].Parameters {
		if p.In != "query" {
			continue
		}
		for _, value := range p.Schema.Enum {
			e.send(http.StatusOK, listPath, "", url.Values{p.Name: {value}}.Encode(), "")
		}
		if p.Schema.Enum != nil || p.Schema.Type != "string" {
			e.send(http.StatusBadRequest, listPath, "", p.Name+"=x", "")
		}
		if limit := p.Schema.Maximum; limit > 0 {
			for query, n := range map[string]int{fmt.Sprint(p.Name, "=", limit): limit, "": int(p.Schema.Default.(float64))} {
				if data, _ := e.send(http.StatusOK, listPath, "", query, "")["data"].([]any); len(data) != n {
					e.problems = append(e.problems, fmt.Sprintf("a page of the fake tenant has %d records, not %d", len(data), n))
				}
			}
			e.send(http.StatusBadRequest, listPath, "", fmt.Sprint(p.Name, "=", limit+1), "")
			e.send(http.StatusBadRequest, listPath, "", fmt.Sprint(p.Name, "=", p.Schema.Minimum-1), "")
		}
	}
	page := e.send(http.StatusOK, listPath, "", "appId=done&log=true", "")
	next, _ := url.Parse(fmt.Sprint(page["links"].(map[string]any)["next"].(map[string]any)["href"]))
	e.send(http.StatusOK, listPath, "", next.RawQuery, "")
}

// requests sends requests at the limits of a trigger, and beyond.
func (e *exam) requests() {
	s := e.Components.Schemas["ReloadRequest"].Properties
	for _, value := range e.resolve(s["resourceType"]).Enum {
		e.create("done", `,"resourceType":"`+value+`"`)
	}
	variables := func(count, length int) string {
		v := map[string]string{}
		for i := range count {
			v[fmt.Sprintf("%0*d", length, i)] = strings.Repeat("x", length)
		}
		text, _ := json.Marshal(v) // cannot fail
		return `,"variables":` + string(text)
	}
	count, length, weight := s["variables"].MaxProperties, s["variables"].AdditionalProperties.MaxLength, e.resolve(s["weight"])
	e.create("done", variables(count, length))
	e.create("done", fmt.Sprint(`,"weight":`, weight.Maximum))
	for _, members := range []string{
		variables(count+1, length), variables(count, length+1), `,"resourceType":"x"`,
		fmt.Sprint(`,"weight":`, weight.Maximum+1), fmt.Sprint(`,"weight":`, weight.Minimum-1),
	} {
		e.send(http.StatusBadRequest, createPath, "", "", `{"appId":"done"`+members+`}`)
	}
}

// refusals makes the tenant refuse all operations.
func (e *exam) refusals() {
	e.send(http.StatusForbidden, createPath, "", "", `{"appId":"quota"}`)
	e.send(http.StatusNotFound, createPath, "", "", `{"appId":"unknown"}`)
	e.send(http.StatusNotFound, getPath, "unknown", "", "")
	e.send(http.StatusNotFound, cancelPath, "unknown", "", "")
	for _, op := range slices.Sorted(maps.Keys(calls)) {
		for token, status := range map[string]int{"forbidden": http.StatusForbidden, "unknown": http.StatusUnauthorized} {
			e.token = token
			e.send(status, op, "id", "", "")
		}
		e.tenant.Inject(reloadstest.Fault{Status: http.StatusInternalServerError})
		e.send(http.StatusInternalServerError, op, "id", "", "")
	}
	e.token = reloadstest.DefaultToken
	for op, status := range map[string]int{
		listPath: http.StatusOK, createPath: http.StatusBadRequest, getPath: http.StatusNotFound, cancelPath: http.StatusNotFound,
	} {
		e.tenant = reloadstest.NewTenant(
			reloadstest.WithRateLimit(reloadstest.List, 1, time.Hour),
			reloadstest.WithRateLimit(reloadstest.Trigger, 1, time.Hour),
			reloadstest.WithRateLimit(reloadstest.Cancel, 1, time.Hour),
		)
		e.send(status, op, "id", "", "")
		e.send(http.StatusTooManyRequests, op, "id", "", "")
	}
}
