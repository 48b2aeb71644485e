package faulttest

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// TestTriggerOnResetStream resets the HTTP/2 stream of a trigger that took effect. After some of these codes, net/http
// would retry the request by itself. The client finds the reload instead.
func TestTriggerOnResetStream(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	certificate, _ := trusted.sign(t, leaf("tenant.test"))
	for name, code := range map[string]uint32{"PROTOCOL_ERROR": 1, "INTERNAL_ERROR": 2, "REFUSED_STREAM": 7, "CANCEL": 8} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r, _ := newTLSWorld(t, certificate, trusted)
			config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
			resets := serveRaw(t, func(c *net.TCPConn) {
				conn := tls.Server(c, config)
				defer conn.Close()
				if err := resetStream(conn, code, func() { w.tenant.Trigger("app", reloads.Reload{}) }); err != nil {
					t.Error(err)
				}
			})
			r.addresses = []string{resets, w.address}
			if reload, err := newClientOf(t, "https://tenant.test", r).Trigger(t.Context(), reloads.Request{AppID: "app"}); err != nil || w.own("app") != 1 {
				t.Errorf("got %v, %v with %d reloads, want the only one", reload, err, w.own("app"))
			}
			for _, request := range w.tenant.Requests() {
				if request.Operation == reloadstest.Trigger {
					t.Error("the trigger was sent again")
				}
			}
		})
	}
}

// resetStream is the server of an HTTP/2 connection. When it has received a request with a body, it calls received, resets
// the stream, and accepts no further one.
func resetStream(conn net.Conn, code uint32, received func()) error {
	const data, rstStream, settings, goAway = 0, 3, 4, 7 // types of frames
	preface := make([]byte, 24)
	if _, err := io.ReadFull(conn, preface); err != nil {
		return fmt.Errorf("reading the preface: %w", err)
	}
	_, _ = conn.Write(frame(settings, 0))
	for {
		header := make([]byte, 9)
		if _, err := io.ReadFull(conn, header); err != nil {
			return nil // the client closed the connection
		}
		length := int64(header[0])<<16 | int64(header[1])<<8 | int64(header[2])
		if _, err := io.CopyN(io.Discard, conn, length); err != nil {
			return err
		}
		if stream := binary.BigEndian.Uint32(header[5:]); header[3] == data && header[4]&1 != 0 { // the end of the body
			received()
			if _, err := conn.Write(append(frame(rstStream, stream, code), frame(goAway, 0, stream, 0)...)); err != nil {
				return err
			}
		}
	}
}

// frame returns an HTTP/2 frame whose payload consists of numbers.
func frame(kind byte, stream uint32, payload ...uint32) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, 0, byte(4 * len(payload)), kind, 0}, stream)
	for _, n := range payload {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}
