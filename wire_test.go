package reloads_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
)

// testToken is what the tests authenticate with; it must never be seen outside of the Authorization header.
const testToken = "test-token-5f3a"

const reloadID = "5be59decca62aa00097268a4"

// sent is one request as it went over the wire.
type sent struct {
	Method, URI, Body string
	Header            http.Header
	At                time.Time
}

// tape keeps the requests that arrive, in order.
type tape struct {
	mu   sync.Mutex
	kept []sent
}

// record returns how many requests came before.
func (tp *tape) record(r *http.Request) int {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.kept = append(tp.kept, sent{r.Method, r.URL.RequestURI(), string(body), r.Header.Clone(), time.Now()})
	return len(tp.kept) - 1
}

func (tp *tape) requests() []sent {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return append([]sent(nil), tp.kept...)
}

// count is how many requests came with the method.
func (tp *tape) count(method string) (n int) {
	for _, r := range tp.requests() {
		if r.Method == method {
			n++
		}
	}
	return n
}

// gaps are the times between the requests.
func (tp *tape) gaps() (gaps []time.Duration) {
	all := tp.requests()
	for i := range len(all) - 1 {
		gaps = append(gaps, all[i+1].At.Sub(all[i].At))
	}
	return gaps
}

// outcome is what becomes of one attempt.
type outcome func(*http.Request) (*http.Response, error)

// answer is a response; headers are names and values in turn.
func answer(status int, body string, headers ...string) outcome {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{
			StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
		}, nil
	}
}

// fails is an attempt that the transport gives up on.
func fails(err error) outcome {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// hangs is an attempt that nobody answers.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

var (
	errDial  = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	errDNS   = &net.DNSError{Err: "no such host", Name: "tenant.example.com"}
	errReset = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
)

// script is a transport without a network: attempt n gets outcome n, those beyond the last one the last. It works in
// a synctest bubble, where the waits between attempts take no time and can be measured exactly.
type script struct {
	tape
	outcomes []outcome
}

func plays(outcomes ...outcome) *script { return &script{outcomes: outcomes} }

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	n := s.record(r)
	return s.outcomes[min(n, len(s.outcomes)-1)](r)
}

// scriptedClient is a client that talks to the script.
func scriptedClient(t testing.TB, s http.RoundTripper, opts ...reloads.Option) *reloads.Client {
	t.Helper()
	opts = append([]reloads.Option{reloads.WithHTTPClient(&http.Client{Transport: s})}, opts...)
	client, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey(testToken), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// prefix is the path of the gateway that the test servers are behind.
const prefix = "/gw"

// gateway serves handler on a real socket under the prefix, and keeps every request. What arrives beside the API's
// paths fails the test.
func gateway(t testing.TB, handler http.HandlerFunc) (url string, requests *tape) {
	t.Helper()
	requests = &tape{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.record(r)
		if path := r.URL.Path; !strings.HasPrefix(path, prefix+"/api/v1/reloads") && !strings.HasPrefix(path, prefix+"/api/v1/apps/") {
			t.Errorf("a request for %s, want one below %s/api/v1/reloads or apps", path, prefix)
		}
		w.Header().Set("Content-Type", "application/json")
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL + prefix, requests
}

// serve is a gateway and its client.
func serve(t testing.TB, handler http.HandlerFunc, opts ...reloads.Option) (*reloads.Client, *tape) {
	t.Helper()
	url, requests := gateway(t, handler)
	client, err := reloads.NewClient(url, reloads.APIKey(testToken), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return client, requests
}

// always answers every request alike.
func always(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// testdata is a body as the service sends it.
func testdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const emptyPage = `{"data":[],"links":{"self":{"href":"x"}}}`

// queued is the least that a record of the API has.
const queued = `{"id":"` + reloadID + `","appId":"app","tenantId":"t","userId":"u","type":"external","status":"QUEUED","creationTime":"2026-11-04T03:00:00Z"}`

// endpoint is one of the operations.
type endpoint struct {
	name        string
	method, uri string
	ok          outcome // the least that is a success
	call        func(context.Context, *reloads.Client) error
}

var endpoints = []endpoint{
	{"list", http.MethodGet, "/api/v1/reloads", answer(200, emptyPage), func(ctx context.Context, c *reloads.Client) error {
		_, err := c.List(ctx, reloads.ListOptions{})
		return err
	}},
	{"get", http.MethodGet, "/api/v1/reloads/" + reloadID, answer(200, queued), func(ctx context.Context, c *reloads.Client) error {
		_, err := c.Get(ctx, reloadID)
		return err
	}},
	{"cancel", http.MethodPost, "/api/v1/reloads/" + reloadID + "/actions/cancel", answer(204, ""), func(ctx context.Context, c *reloads.Client) error {
		_, err := c.Cancel(ctx, reloadID)
		return err
	}},
	{"trigger", http.MethodPost, "/api/v1/reloads", answer(201, queued), func(ctx context.Context, c *reloads.Client) error {
		_, err := c.Trigger(ctx, reloads.Request{AppID: "app"})
		return err
	}},
	{"log", http.MethodGet, "/api/v1/apps/app/reloads/logs/" + reloadID, answer(200, "line\r\n", "Content-Type", "text/plain"), func(ctx context.Context, c *reloads.Client) error {
		log, err := c.Log(ctx, "app", reloadID)
		if err != nil {
			return err
		}
		defer log.Close()
		_, err = io.Copy(io.Discard, log)
		return err
	}},
}

// asError is the *Error in err; the test fails if there is none.
func asError(t testing.TB, err error) *reloads.Error {
	t.Helper()
	var e *reloads.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	return e
}

// refusedBeforeSending checks an argument's error: its class, that it is no answer, and its text.
func refusedBeforeSending(t testing.TB, err error, texts ...string) {
	t.Helper()
	var e *reloads.Error
	if !errors.Is(err, reloads.ErrBadRequest) || errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an ErrBadRequest that is no *Error", err, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error %q does not say %q", err, text)
		}
	}
}

// silent checks that a text holds no token.
func silent(t testing.TB, what, text string, secrets ...string) {
	t.Helper()
	for _, secret := range append(secrets, testToken) {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s shows the secret %q: …%s", what, secret, text[max(0, at-60):at+len(secret)])
		}
	}
}
