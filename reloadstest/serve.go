package reloadstest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reloads-go/reloads"
)

// Operation is an endpoint of the API.
type Operation string

// The operations. "" in a [Fault] is any of them, in a [Request] none.
const (
	List    Operation = "list"
	Get     Operation = "get"
	Trigger Operation = "trigger"
	Cancel  Operation = "cancel"
)

// Request is a request that was received. It has no header, so no token.
type Request struct {
	Time         time.Time // when it was received, by the clock of the process
	Operation    Operation // "" if the path or method is none of the API's
	Method, Path string    // the path as it was sent, escaped
	Query        string
	Body         []byte // with the values of variables replaced by "REDACTED"
	Status       int    // of the answer; 0 if the connection was lost
}

// answer is what is sent back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func jsonAnswer(status int, v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		return refuse(http.StatusInternalServerError, "HTTP-500", "Internal server error", err.Error())
	}
	return answer{status: status, body: body}
}

// refuse is an answer with the API's error body.
func refuse(status int, code, title, detail string) answer {
	return jsonAnswer(status, map[string]any{"errors": []map[string]string{{"code": code, "title": title, "detail": detail}}})
}

func badRequest(format string, args ...any) answer {
	return refuse(http.StatusBadRequest, "HTTP-400", "Bad request", fmt.Sprintf(format, args...))
}

var (
	unauthorized = refuse(http.StatusUnauthorized, string(reloads.CodeUnauthorized), "Unauthorized", "The token is invalid or not provided.")
	notFound     = refuse(http.StatusNotFound, "HTTP-404", "Not found", "The specified reload record could not be found.")
	notAllowed   = refuse(http.StatusForbidden, string(reloads.CodeForbidden), "Forbidden", "The token does not allow it.")
	overQuota    = refuse(http.StatusForbidden, string(reloads.CodeQuotaExceeded), "Forbidden", "The reload frequency quota has been met.")
	notActive    = refuse(http.StatusConflict, "HTTP-409", "Conflict", "The reload is not in a cancellable state.")
	pending      = refuse(http.StatusTooManyRequests, string(reloads.CodeReloadPending), "Too many requests", "A pending reload request already exists for this app.")
)

// route tells the operation of a request, and the id in its path. The API is found behind any prefix.
func route(r *http.Request) (op Operation, id string) {
	_, path, found := strings.Cut(r.URL.EscapedPath(), "/api/v1/reloads")
	id, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	id, err := url.PathUnescape(id)
	switch {
	case !found || err != nil || path != "" && !strings.HasPrefix(path, "/"):
	case path == "" && r.Method == http.MethodGet:
		return List, ""
	case path == "" && r.Method == http.MethodPost:
		return Trigger, ""
	case id != "" && rest == "" && r.Method == http.MethodGet:
		return Get, id
	case id != "" && rest == "actions/cancel" && r.Method == http.MethodPost:
		return Cancel, id
	}
	return "", ""
}

// serve answers a request by the rules of the service. The lock is held.
func (t *Tenant) serve(r *http.Request, op Operation, id string, body []byte) answer {
	role, known := t.roles[sha256.Sum256([]byte(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))]
	switch {
	case op == "":
		return refuse(http.StatusNotFound, "HTTP-404", "Not found", "There is no such endpoint.")
	case !known || role == Expired:
		return unauthorized
	}
	if wait := t.meters[op].take(time.Now()); wait > 0 {
		seconds := strconv.Itoa(int((wait + time.Second - 1) / time.Second))
		a := refuse(http.StatusTooManyRequests, string(reloads.CodeRateLimited), "API rate limit reached.",
			"You need to wait "+seconds+" seconds until limit is lifted.")
		a.header = http.Header{"Retry-After": {seconds}}
		return a
	}
	if role == Forbidden {
		return notAllowed
	}
	t.settle()
	switch op {
	case List:
		return t.list(r, role)
	case Get:
		rec := t.byID[id]
		if rec == nil {
			return notFound
		}
		return jsonAnswer(http.StatusOK, t.linked(r, rec.at(t.now())))
	case Trigger:
		return t.serveTrigger(r, body)
	}
	rec := t.byID[id]
	if rec == nil {
		return notFound
	}
	switch status := rec.cancel(t.now()); status {
	case "":
		return notActive
	case reloads.StatusCanceled:
		return answer{status: http.StatusNoContent}
	default:
		return jsonAnswer(http.StatusAccepted, map[string]reloads.Status{"status": status})
	}
}

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

// parseTrigger reads the body of a trigger, or tells why it is refused.
func parseTrigger(body []byte) (req reloads.Request, reason string) {
	var fields struct {
		AppID        *string           `json:"appId"`
		Partial      bool              `json:"partial"`
		Weight       *int              `json:"weight"`
		Variables    map[string]string `json:"variables"`
		ResourceID   string            `json:"resourceId"`
		ResourceType *string           `json:"resourceType"`
	}
	if err := json.Unmarshal(body, &fields); err != nil {
		return req, "the body is not a reload request: " + err.Error()
	}
	req = reloads.Request{Partial: fields.Partial, Variables: fields.Variables, ResourceID: fields.ResourceID}
	if fields.AppID == nil || *fields.AppID == "" {
		return req, "appId is required"
	}
	req.AppID = *fields.AppID
	if fields.Weight != nil {
		if req.Weight = *fields.Weight; req.Weight < 1 || req.Weight > 10 {
			return req, "weight must be 1 to 10"
		}
	}
	if fields.ResourceType != nil {
		switch req.ResourceType = *fields.ResourceType; req.ResourceType {
		case reloads.ResourceTypeAPI, reloads.ResourceTypeReloadTasks, reloads.ResourceTypeTasks, reloads.ResourceTypeAutomate:
		default:
			return req, "resourceType is not one of api, reload-tasks, tasks, automate"
		}
	}
	if len(req.Variables) > 20 {
		return req, "there are more than 20 variables"
	}
	for name, value := range req.Variables {
		if utf8.RuneCountInString(name) > 256 || utf8.RuneCountInString(value) > 256 {
			return req, "a variable is longer than 256 characters"
		}
	}
	return req, ""
}

// linked is a record with its link.
func (t *Tenant) linked(r *http.Request, rec reloads.Reload) reloads.Reload {
	rec.Links.Self.Href = t.base(r) + "/" + rec.ID
	return rec
}

// base is the address of the list, as links have it.
func (t *Tenant) base(r *http.Request) string {
	prefix, _, _ := strings.Cut(r.URL.EscapedPath(), "/api/v1/reloads")
	path := prefix + "/api/v1/reloads"
	if t.relativeLinks {
		return path
	}
	scheme := "https://"
	if r.TLS == nil && r.URL.Scheme != "https" {
		scheme = "http://"
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	return scheme + host + path
}

// ServeHTTP answers as the tenant does, and misbehaves as the faults say.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	a, cut, ok := t.handle(r, body)
	if !ok {
		panic(http.ErrAbortHandler) // how net/http is told to drop the connection
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.status == http.StatusNoContent {
		w.Header().Del("Content-Length")
	}
	w.WriteHeader(a.status)
	if cut >= 0 && cut < len(a.body) {
		_, _ = w.Write(a.body[:cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body)
}

// RoundTrip answers a request to any host, in memory.
func (t *Tenant) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	a, cut, ok := t.handle(r, body)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, errLost
	}
	resp := &http.Response{
		Status: fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, ContentLength: int64(len(a.body)), Request: r,
		Body: io.NopCloser(bytes.NewReader(a.body)),
	}
	if cut >= 0 && cut < len(a.body) {
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(a.body[:cut]), errReader{io.ErrUnexpectedEOF}))
	}
	return resp, nil
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// redactVariables takes the values of variables out of the body of a trigger.
func redactVariables(body []byte) []byte {
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return nil // it might hold anything
	}
	variables, ok := fields["variables"].(map[string]any)
	if !ok {
		return body
	}
	for name := range variables {
		variables[name] = "REDACTED"
	}
	redacted, _ := json.Marshal(fields) // it has just been decoded
	return redacted
}
