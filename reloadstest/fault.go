package reloadstest

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// Fault is a failure that the tenant causes for selected requests; see [Tenant.Inject]. Operation, Match, Skip and Times
// select the requests. The other fields describe the failure and can be combined: for example, a response can be delayed
// and also truncated. The zero Fault applies to the next request and changes nothing.
type Fault struct {
	// Operation restricts the fault to one operation. "" means every request, including unknown endpoints.
	Operation Operation
	// Match restricts the fault to the requests for which it returns true. nil means every request. Match must not call
	// methods of the tenant. The body of the request has been read already.
	Match func(*http.Request) bool
	// Skip is the number of matching requests that are not affected first.
	Skip int
	// Times is the number of requests that are affected after that. 0 means one request, a negative number means all.
	Times int

	// Delay is the time between receiving the request and handling it. If the client cancels the request during this
	// time, the request has no effect.
	Delay time.Duration
	// LoseBefore closes the connection before the request takes effect.
	LoseBefore bool
	// EffectAfter makes a trigger take effect this long after it was received (plus Delay), whether or not the client is
	// still waiting. The connection is closed at the same time, so the client never gets a response. A request of another
	// operation has no effect. 0 disables this.
	EffectAfter time.Duration
	// Status, if it is not 0, is the status code of a response that is sent instead of handling the request. Such a request
	// has no effect and does not count against the rate limits.
	Status int
	// Header is added to the response. It replaces headers of the same name. It also applies if Status is 0.
	Header http.Header
	// Body, if it is not "", is the body of the response. If Status is 0, the request takes effect, and only the body of
	// its response is replaced. "" means the usual body if Status is 0, an error body of the API if Status is 300 or more,
	// and no body otherwise. A response with status 204 or 304 never has a body.
	Body string
	// DelayAnswer is the time between handling the request and sending the response. If the client cancels the request
	// during this time, the request has taken effect nevertheless.
	DelayAnswer time.Duration
	// LoseAfter closes the connection instead of sending the response, after the request took effect.
	LoseAfter bool
	// CutBody closes the connection after this many bytes of the response body. 0 sends the whole body; a negative number
	// sends none of it.
	CutBody int

	hits int // matching requests so far
}

// Inject adds faults. Each request is affected by at most one fault: the first one that selects it. A fault is removed
// after it has affected as many requests as its Times says.
func (t *Tenant) Inject(faults ...Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range faults {
		t.faults = append(t.faults, &f)
	}
}

// fault returns the fault that affects the request, or the zero Fault if there is none.
func (t *Tenant) fault(r *http.Request, op Operation) Fault {
	for i, f := range t.faults {
		if f.Operation != "" && f.Operation != op || f.Match != nil && !f.Match(r) {
			continue
		}
		f.hits++
		if f.hits <= f.Skip {
			continue
		}
		if f.Times >= 0 && f.hits-f.Skip >= max(1, f.Times) { // this is the last request that it affects
			t.faults = append(t.faults[:i:i], t.faults[i+1:]...)
		}
		return *f
	}
	return Fault{}
}

// errConnectionLost is the error that net/http returns for a connection that the server closed.
var errConnectionLost = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}

// handle records a request, applies its fault and returns the response. cut is the number of bytes after which the body is
// truncated, or -1 if it is sent as a whole. If ok is false, the connection must be closed without a response.
func (t *Tenant) handle(r *http.Request, body []byte) (resp response, cut int, ok bool) {
	fault, index := t.receive(r, body)
	if !sleep(r.Context(), fault.Delay) || fault.LoseBefore {
		return response{}, -1, false
	}
	if fault.EffectAfter > 0 {
		t.mu.Lock()
		t.scheduleTrigger(r, body, fault.EffectAfter)
		t.mu.Unlock()
		sleep(r.Context(), fault.EffectAfter)
		return response{}, -1, false
	}
	t.mu.Lock()
	resp = t.respond(r, body, &fault)
	t.mu.Unlock()
	if !sleep(r.Context(), fault.DelayAnswer) || fault.LoseAfter {
		return response{}, -1, false
	}
	t.mu.Lock()
	t.requests[index].Status = resp.status
	t.mu.Unlock()
	switch {
	case fault.CutBody < 0:
		return resp, 0, true
	case fault.CutBody > 0:
		return resp, fault.CutBody, true
	}
	return resp, -1, true
}

// respond returns the response to a request, as the fault changes it. The caller must hold the lock.
func (t *Tenant) respond(r *http.Request, body []byte, fault *Fault) response {
	resp := response{status: fault.Status}
	switch {
	case fault.Status == 0:
		resp = t.serve(r, body)
	case fault.Status >= 300:
		resp = errorResponse(fault.Status, "HTTP-"+strconv.Itoa(fault.Status), http.StatusText(fault.Status), "injected")
	}
	if fault.Body != "" {
		resp.body = []byte(fault.Body)
	}
	if resp.status == http.StatusNoContent || resp.status == http.StatusNotModified {
		resp.body = nil
	}
	header := http.Header{"Content-Type": {"application/json"}, "Date": {t.clock().Format(http.TimeFormat)}}
	for _, h := range []http.Header{resp.header, fault.Header} {
		for name, values := range h {
			header[http.CanonicalHeaderKey(name)] = values
		}
	}
	resp.header = header
	return resp
}

// receive records a request. It returns the fault that affects the request, and the index of the record in t.requests.
func (t *Tenant) receive(r *http.Request, body []byte) (Fault, int) {
	op, _, _ := route(r)
	t.mu.Lock()
	defer t.mu.Unlock() // also if Match panics or calls t.FailNow
	fault := t.fault(r, op)
	if isTokenPath(r) {
		body = nil // it contains the client secret
	}
	t.requests = append(t.requests, Request{
		Time: time.Now(), Operation: op, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
		Body: redactVariables(body),
	})
	return fault, len(t.requests) - 1
}

// sleep waits for d. It returns false as soon as ctx ends, which is when the client gave up.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
