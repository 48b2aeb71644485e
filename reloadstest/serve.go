package reloadstest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
)

// Operation identifies an endpoint of the API. The empty string means every operation in a [Fault], and an unknown endpoint
// in a [Request].
type Operation string

// The operations.
const (
	List    Operation = "list"
	Get     Operation = "get"
	Trigger Operation = "trigger"
	Cancel  Operation = "cancel"
	Log     Operation = "log"   // the full log of a reload, an endpoint of the Apps API
	SignIn  Operation = "token" // POST /oauth/token
)

// Request is a request that the tenant received. It has no header, so that it contains no token.
type Request struct {
	Time      time.Time // when the request was received, by the clock of the process
	Operation Operation // "" if the path or the method is not part of the API
	Method    string
	Path      string // as it was sent, with escapes
	Query     string // as it was sent, without the question mark
	// Body is the body of the request. The values of reload variables are replaced by "REDACTED". It is nil if the body
	// is not a JSON object, or if the request was sent to /oauth/token and may contain a secret.
	Body []byte
	// Status is the status code of the response. It is 0 while the request is being handled, and if a [Fault] made the
	// connection fail.
	Status int
}

// route returns the operation of a request, the ID in its path, and the methods that the path supports. op is "" if the
// method is not supported; allow is "" if the path is unknown. The path may begin with any prefix.
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

// role returns the role of the token in a request. It returns false if the request has no token or an unknown one.
func (t *Tenant) role(r *http.Request) (Role, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	hash := sha256.Sum256([]byte(token))
	role, known := t.roles[hash]
	if at, issued := t.expires[hash]; issued && !time.Now().Before(at) {
		role = Expired
	}
	return role, known && strings.EqualFold(scheme, "Bearer")
}

// admit checks the token of a request and counts the request against its rate limit. If ok is false, the request must not
// be served, and refusal is the response.
func (t *Tenant) admit(r *http.Request, op Operation) (role Role, refusal response, ok bool) {
	role, known := t.role(r)
	if !known || role == Expired {
		return role, unauthorized, false
	}
	if wait := t.meters[op].take(time.Now()); wait > 0 {
		seconds := strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10)
		resp := errorResponse(http.StatusTooManyRequests, string(reloads.CodeRateLimited), "API rate limit reached.",
			"You need to wait "+seconds+" seconds until limit is lifted.")
		resp.header = http.Header{"Retry-After": {seconds}}
		return role, resp, false
	}
	return role, forbidden, role != Forbidden
}

// serve handles a request by the rules of the service. The caller must hold the lock.
func (t *Tenant) serve(r *http.Request, body []byte) response {
	op, id, allow := route(r)
	switch {
	case allow == "":
		return errorResponse(http.StatusNotFound, "HTTP-404", "Not found", "The endpoint does not exist.")
	case op == "":
		resp := errorResponse(http.StatusMethodNotAllowed, "HTTP-405", "Method not allowed", "Supported methods: "+allow+".")
		resp.header = http.Header{"Allow": {allow}}
		return resp
	}
	if op == SignIn {
		return t.serveToken(r, body)
	}
	role, refusal, ok := t.admit(r, op)
	if !ok {
		return refusal
	}
	t.applyLateTriggers()
	switch op {
	case List:
		return t.list(r, role)
	case Get:
		rec := t.byID[id]
		if rec == nil {
			return notFound
		}
		return jsonResponse(http.StatusOK, t.represent(r, rec.at(t.now())))
	case Trigger:
		return t.serveTrigger(r, body)
	case Log:
		return t.serveLog(r)
	default: // Cancel
		return t.serveCancel(id)
	}
}

func (t *Tenant) serveCancel(id string) response {
	rec := t.byID[id]
	if rec == nil {
		return notFound
	}
	status := rec.cancel(t.now())
	t.announce(rec)
	switch status {
	case "":
		return notCancelable
	case reloads.StatusCanceled:
		return response{status: http.StatusNoContent}
	default:
		return jsonResponse(http.StatusAccepted, map[string]reloads.Status{"status": status})
	}
}

// ServeHTTP implements [http.Handler]. It handles the paths of the API after any prefix, and /oauth/token. If a [Fault]
// makes the connection fail, ServeHTTP panics with [http.ErrAbortHandler], so that the server closes the connection. It
// reads at most 1 MiB of a body.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler) // the client closed the connection
	}
	resp, cut, ok := t.handle(r, body)
	if !ok {
		panic(http.ErrAbortHandler) // makes net/http close the connection
	}
	for name, values := range resp.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(resp.body)))
	if resp.status == http.StatusNoContent {
		w.Header().Del("Content-Length")
	}
	w.WriteHeader(resp.status)
	if cut >= 0 && cut < len(resp.body) {
		_, _ = w.Write(resp.body[:cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(resp.body)
}

// RoundTrip implements [http.RoundTripper]. It handles a request to any host in memory, without a network connection. It
// returns an error if the context of the request ends or if a [Fault] makes the connection fail.
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
	resp, cut, ok := t.handle(r, body)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, errConnectionLost
	}
	httpResp := &http.Response{
		Status: fmt.Sprintf("%d %s", resp.status, http.StatusText(resp.status)), StatusCode: resp.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: resp.header, ContentLength: int64(len(resp.body)), Request: r,
		Body: io.NopCloser(bytes.NewReader(resp.body)),
	}
	if cut >= 0 && cut < len(resp.body) {
		httpResp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(resp.body[:cut]), errReader{io.ErrUnexpectedEOF}))
	}
	return httpResp, nil
}

// errReader is a reader that fails.
type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
