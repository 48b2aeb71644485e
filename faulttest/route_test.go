package faulttest

import (
	"context"
	"crypto/tls"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"testing"
)

// A route is the transport of a client. It dials the nth connection to the nth address, and further connections to the
// last address. It also counts the attempts, because net/http can dial more often than that.
//
// The timeout of an attempt applies to connections with a fault only. Without a fault, an attempt may take any time.
// Otherwise the tests would depend on how fast the machine is.
type route struct {
	addresses []string
	faulty    atomic.Int64 // the number of connections with a fault, which are dialed first
	transport http.Transport
	dials     atomic.Int64
	attempts  atomic.Int64
	onAttempt func(n int64) // nil, or called before the nth attempt
}

// newRoute returns a route whose connections have a fault, except those to the last address.
func newRoute(t *testing.T, addresses ...string) *route {
	r := &route{addresses: addresses}
	r.faulty.Store(int64(len(addresses) - 1))
	r.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		n := r.dials.Add(1)
		return r.dial(ctx, network, r.addresses[min(int(n), len(r.addresses))-1], func() bool { return n <= r.faulty.Load() })
	}
	t.Cleanup(r.transport.CloseIdleConnections)
	return r
}

// newFaultyRoute returns a route whose connections all have a fault.
func newFaultyRoute(t *testing.T, address string) *route {
	r := newRoute(t, address)
	r.faulty.Store(math.MaxInt64)
	return r
}

// dial dials a connection. faulty reports whether it has a fault.
func (r *route) dial(ctx context.Context, network, address string, faulty func() bool) (net.Conn, error) {
	if a, ok := ctx.Value(attemptKey{}).(*routeAttempt); ok {
		a.patient.Store(!faulty())
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return routeConn{conn, faulty}, nil
}

// routeConn is a connection of a route.
type routeConn struct {
	net.Conn
	faulty func() bool
}

// RoundTrip sends an attempt. While the connection has no fault, the timeout of the attempt does not end it, but the end
// of the caller's context does.
func (r *route) RoundTrip(req *http.Request) (*http.Response, error) {
	if n := r.attempts.Add(1); r.onAttempt != nil {
		r.onAttempt(n)
	}
	a := &routeAttempt{}
	ctx := context.WithValue(context.WithoutCancel(req.Context()), attemptKey{}, a)
	ctx, a.cancel = context.WithCancelCause(ctx)
	a.stop = context.AfterFunc(req.Context(), func() {
		if cause := context.Cause(req.Context()); !a.patient.Load() || !late(cause) {
			a.cancel(cause)
		}
	})
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		conn := info.Conn
		if encrypted, ok := conn.(*tls.Conn); ok {
			conn = encrypted.NetConn()
		}
		if conn, ok := conn.(routeConn); ok {
			a.patient.Store(!conn.faulty())
		}
	}})
	resp, err := r.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		a.end()
		return nil, err
	}
	resp.Body = routeBody{resp.Body, a}
	return resp, nil
}

// routeAttempt is one attempt.
type routeAttempt struct {
	patient atomic.Bool // its connection has no fault
	cancel  context.CancelCauseFunc
	stop    func() bool
}

type attemptKey struct{}

func (a *routeAttempt) end() {
	a.stop()
	a.cancel(nil)
}

// routeBody is the body of a response. It ends the attempt when it is closed.
type routeBody struct {
	io.ReadCloser
	attempt *routeAttempt
}

func (b routeBody) Close() error {
	defer b.attempt.end()
	return b.ReadCloser.Close()
}
