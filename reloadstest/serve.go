package reloadstest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

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
	Log     Operation = "log"   // the full log, of the Apps API
	SignIn  Operation = "token" // /oauth/token
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
	return jsonAnswer(status, map[string]any{
		"errors": []map[string]string{{"code": code, "title": title, "detail": detail}},
	})
}

func badRequest(format string, args ...any) answer {
	return refuse(http.StatusBadRequest, "HTTP-400", "Bad request", fmt.Sprintf(format, args...))
}

var (
	unauthorized = refuse(http.StatusUnauthorized, string(reloads.CodeUnauthorized), "Unauthorized",
		"The token is invalid or not provided.")
	notFound = refuse(http.StatusNotFound, "HTTP-404", "Not found",
		"The specified reload record could not be found.")
	notAllowed = refuse(http.StatusForbidden, string(reloads.CodeForbidden), "Forbidden",
		"The token does not allow it.")
	overQuota = refuse(http.StatusForbidden, string(reloads.CodeQuotaExceeded), "Forbidden",
		"The reload frequency quota has been met.")
	notActive = refuse(http.StatusConflict, "HTTP-409", "Conflict",
		"The reload is not in a cancellable state.")
	pending = refuse(http.StatusTooManyRequests, string(reloads.CodeReloadPending), "Too many requests",
		"A pending reload request already exists for this app.")
)

// route tells the operation of a request, and the id in its path. The API is found behind any prefix. allow names the
// methods that the path has, "" if there is no such path.
func route(r *http.Request) (op Operation, id, allow string) {
	if isTokenPath(r) {
		return map[string]Operation{http.MethodPost: SignIn}[r.Method], "", http.MethodPost
	}
	if _, id, ok := logPath(r); ok {
		return map[string]Operation{http.MethodGet: Log}[r.Method], id, http.MethodGet
	}
	_, path, found := strings.Cut(r.URL.EscapedPath()+"/", "/api/v1/reloads/")
	segments := strings.Split(strings.TrimSuffix(path, "/"), "/")
	id, err := url.PathUnescape(segments[0])
	var ops map[string]Operation
	switch {
	case found && path == "":
		ops = map[string]Operation{http.MethodGet: List, http.MethodPost: Trigger}
	case err != nil || id == "":
	case len(segments) == 1:
		ops = map[string]Operation{http.MethodGet: Get}
	case len(segments) == 3 && segments[1] == "actions" && segments[2] == "cancel":
		ops = map[string]Operation{http.MethodPost: Cancel}
	}
	return ops[r.Method], id, strings.Join(slices.Sorted(maps.Keys(ops)), ", ")
}

// role is what the token of a request allows; false if there is none, or none that is known.
func (t *Tenant) role(r *http.Request) (Role, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	hash := sha256.Sum256([]byte(token))
	role, known := t.roles[hash]
	if at, issued := t.expires[hash]; issued && !time.Now().Before(at) {
		role = Expired
	}
	return role, known && strings.EqualFold(scheme, "Bearer")
}

// admit counts a request against the limit of its tier. If it may not be served, ok is false, and refusal the answer.
func (t *Tenant) admit(r *http.Request, op Operation) (role Role, refusal answer, ok bool) {
	role, known := t.role(r)
	if !known || role == Expired {
		return role, unauthorized, false
	}
	if wait := t.meters[op].take(time.Now()); wait > 0 {
		seconds := strconv.Itoa(int((wait + time.Second - 1) / time.Second))
		a := refuse(http.StatusTooManyRequests, string(reloads.CodeRateLimited), "API rate limit reached.",
			"You need to wait "+seconds+" seconds until limit is lifted.")
		a.header = http.Header{"Retry-After": {seconds}}
		return role, a, false
	}
	return role, notAllowed, role != Forbidden
}

// serve answers a request by the rules of the service. The lock is held.
func (t *Tenant) serve(r *http.Request, body []byte) answer {
	op, id, allow := route(r)
	switch {
	case allow == "":
		return refuse(http.StatusNotFound, "HTTP-404", "Not found", "There is no such endpoint.")
	case op == "":
		a := refuse(http.StatusMethodNotAllowed, "HTTP-405", "Method not allowed", "The endpoint has "+allow+" only.")
		a.header = http.Header{"Allow": {allow}}
		return a
	}
	if op == SignIn {
		return t.serveToken(r, body)
	}
	role, refusal, ok := t.admit(r, op)
	if !ok {
		return refusal
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
	case Log:
		return t.serveLog(r)
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
		panic(http.ErrAbortHandler) // there is nobody left to answer
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
