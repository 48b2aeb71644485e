package reloadstest

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// Fault is something that goes wrong with a request. The zero Fault does nothing to one request. Faults may be
// combined: a delayed answer may be cut off, too.
type Fault struct {
	// Operation is the one that is hit. "" is any.
	Operation Operation
	// Match says of each request of the operation whether it is hit; nil hits all. It must not use the tenant.
	Match func(*http.Request) bool
	// Skip is how many requests that would be hit are spared first.
	Skip int
	// Times is how many requests are hit after that. 0 means one, a negative number all.
	Times int

	// Delay is how long nothing happens after the request was received. It has no effect if its sender gives up
	// in this time.
	Delay time.Duration
	// LoseBefore loses the connection before the request takes effect.
	LoseBefore bool
	// EffectAfter, of a trigger, makes the request take effect so long after it was received, whether or not its
	// sender is still there. The connection is lost then.
	EffectAfter time.Duration
	// Status answers with this status, and Header and Body, instead of doing anything. An empty Body is the API's
	// error body if the status is no 2xx.
	Status int
	Header http.Header
	Body   string
	// DelayAnswer is how long the answer takes after the request took effect.
	DelayAnswer time.Duration
	// LoseAfter loses the connection after the request took effect.
	LoseAfter bool
	// CutBody cuts the body of the answer off after so many bytes, and then loses the connection. 0 does not; -1
	// cuts all of it.
	CutBody int

	hits int
}

// Inject adds faults. A request is hit by the first that fits and is not used up.
func (t *Tenant) Inject(faults ...Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range faults {
		t.faults = append(t.faults, &f)
	}
}

// fault is the one that hits the request; the zero Fault if none does.
func (t *Tenant) fault(r *http.Request, op Operation) Fault {
	for i, f := range t.faults {
		if f.Operation != "" && f.Operation != op || f.Match != nil && !f.Match(r) {
			continue
		}
		f.hits++
		if f.hits <= f.Skip {
			continue
		}
		if f.Times >= 0 && f.hits-f.Skip >= max(1, f.Times) { // used up
			t.faults = append(t.faults[:i:i], t.faults[i+1:]...)
		}
		return *f
	}
	return Fault{}
}

// errLost is what a connection that was lost looks like to the one who sent the request.
var errLost = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}

// handle records a request and answers it, by the rules or by a fault: cut is where the body is cut off, -1 if it
// is not; ok is false if the connection is lost.
func (t *Tenant) handle(r *http.Request, body []byte) (a answer, cut int, ok bool) {
	fault, index := t.receive(r, body)
	if !pause(r.Context(), fault.Delay) || fault.LoseBefore {
		return answer{}, -1, false
	}
	if fault.EffectAfter > 0 {
		t.mu.Lock()
		t.delayTrigger(r, body, fault.EffectAfter)
		t.mu.Unlock()
		pause(r.Context(), fault.EffectAfter)
		return answer{}, -1, false
	}
	t.mu.Lock()
	switch {
	case fault.Status == 0:
		a = t.serve(r, body)
	case fault.Body == "" && fault.Status >= 300:
		a = refuse(fault.Status, "HTTP-"+strconv.Itoa(fault.Status), http.StatusText(fault.Status), "injected")
	default:
		a = answer{status: fault.Status, body: []byte(fault.Body)}
	}
	header := http.Header{"Content-Type": {"application/json"}, "Date": {t.now().Format(http.TimeFormat)}}
	for _, h := range []http.Header{a.header, fault.Header} {
		for name, values := range h {
			header[http.CanonicalHeaderKey(name)] = values
		}
	}
	a.header = header
	t.mu.Unlock()

	if !pause(r.Context(), fault.DelayAnswer) || fault.LoseAfter {
		return answer{}, -1, false
	}
	t.mu.Lock()
	t.requests[index].Status = a.status
	t.mu.Unlock()
	switch {
	case fault.CutBody < 0:
		return a, 0, true
	case fault.CutBody > 0:
		return a, fault.CutBody, true
	}
	return a, -1, true
}

// receive records a request. It returns the fault that hits it, and where it is recorded.
func (t *Tenant) receive(r *http.Request, body []byte) (Fault, int) {
	op, _, _ := route(r)
	t.mu.Lock()
	defer t.mu.Unlock() // even if a Match ends the test
	fault := t.fault(r, op)
	if isTokenPath(r) {
		body = nil // it has the secret
	}
	t.requests = append(t.requests, Request{
		Time: time.Now(), Operation: op, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
		Body: redactVariables(body),
	})
	return fault, len(t.requests) - 1
}

// pause waits for d and reports whether the sender of the request is still there.
func pause(ctx context.Context, d time.Duration) bool {
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
