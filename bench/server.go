package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
)

// server responds to GET requests with prepared responses. It does not allocate memory for a request, so that all
// measured allocations are those of the client. httptest.Server is not used because it takes more time and memory than
// a client.
type server struct {
	listener net.Listener
	serving  sync.WaitGroup

	record, short, long, failure []byte // complete responses
	mu                           sync.Mutex
	conns                        map[net.Conn]bool
}

const (
	recordID = "5be59decca62aa0000000000"
	failedID = "ffffffffffffffffffffffff" // gets a 404 response
	cursor   = "00000000"                 // of the next page; each page has the next number
)

func newServer() (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{listener: listener, conns: map[net.Conn]bool{}}
	s.record = response("200 OK", recordJSON(0, shortLog(0)))
	s.short = response("200 OK", pageJSON(shortLog))
	s.long = response("200 OK", pageJSON(func(i int) string { return strings.Repeat(shortLog(i), 100) }))
	s.failure = response("404 Not Found", `{"errors":[{"code":"RELOADS-004","title":"Not found","detail":"no such reload"}],"traceId":"00000000000000009a8b7c6d5e4f3a2b"}`)
	s.serving.Go(s.accept)
	return s, nil
}

func (s *server) url() string { return "http://" + s.listener.Addr().String() }

func (s *server) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

func (s *server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		s.serving.Go(func() { s.serve(conn) })
	}
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	page := bytes.Clone(s.short) // the cursor in it is changed for each request of the connection
	at := bytes.LastIndex(page, []byte(cursor))
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		out := s.record
		switch {
		case bytes.Contains(line, []byte(failedID)):
			out = s.failure
		case bytes.Contains(line, []byte("log=true")):
			out = s.long
		case bytes.Contains(line, []byte("/reloads?")):
			out = page
			copy(page[at:], cursor)
			if _, next, ok := bytes.Cut(line, []byte("next=")); ok {
				copy(page[at:], next[:len(cursor)])
			}
			increment(page[at : at+len(cursor)])
		}
		for len(line) > 2 { // skip the rest of the header
			if line, err = in.ReadSlice('\n'); err != nil {
				return
			}
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// increment increments a decimal number.
func increment(digits []byte) {
	for i := len(digits) - 1; i >= 0; i-- {
		if digits[i]++; digits[i] <= '9' {
			return
		}
		digits[i] = '0'
	}
}

// response returns a complete HTTP response.
func response(status, body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nDate: Wed, 04 Nov 2026 03:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s",
		status, len(body), body)
}

func shortLog(i int) string {
	return fmt.Sprintf(`ReloadID: 5be59decca62aa%010x\nReload finished successfully\nIn total %d rows read from sources.\nIn total %d rows stored.\n`, i, i*1000, i*900)
}

// recordJSON returns a record in the format of the service.
func recordJSON(i int, log string) string {
	return fmt.Sprintf(`{"id":"5be59decca62aa%010x","log":"%s",`+
		`"type":"chronos","appId":"116dbfae-7fb9-4983-8e23-5ccd8c508722","links":{"self":{"href":"https://your-tenant.us.qlikcloud.com/api/v1/reloads/5be59decca62aa%010x"}},`+
		`"status":"SUCCEEDED","userId":"FyPG6xWp6prDU6BXQ3g7LY9gWR_YRkkx","endTime":"2020-11-03T17:00:11.865Z","partial":false,"tenantId":"efSCcpNYuayTysONkUcE3F80zYQ_LV9w",`+
		`"startTime":"2020-11-03T17:00:06.351Z","engineTime":"2020-11-03T17:00:07.048Z","creationTime":"2020-11-03T17:00:00.164Z","weight":1}`, i, log, i)
}

func pageJSON(log func(int) string) string {
	records := make([]string, 100)
	for i := range records {
		records[i] = recordJSON(i, log(i))
	}
	return `{"data":[` + strings.Join(records, ",") + `],"links":{"self":{"href":"https://your-tenant.us.qlikcloud.com/api/v1/reloads?limit=100"},` +
		`"next":{"href":"https://your-tenant.us.qlikcloud.com/api/v1/reloads?limit=100&next=` + cursor + `"}}}`
}
