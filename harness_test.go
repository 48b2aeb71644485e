package reloads_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// testToken is what the tests authenticate with; it must never be seen outside of the Authorization header.
const testToken = "test-token-5f3a"

const reloadID = "5be59decca62aa00097268a4"

// sentRequest is one request as it went over the wire.
type sentRequest struct {
	Method, URI, Body string
	Header            http.Header
	At                time.Time
}

// requestLog keeps the requests that arrive, in order.
type requestLog struct {
	mu   sync.Mutex
	kept []sentRequest
}

// record returns how many requests came before.
func (tp *requestLog) record(r *http.Request) int {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.kept = append(tp.kept, sentRequest{r.Method, r.URL.RequestURI(), string(body), r.Header.Clone(), time.Now()})
	return len(tp.kept) - 1
}

func (tp *requestLog) requests() []sentRequest {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return append([]sentRequest(nil), tp.kept...)
}

// count is how many requests came with the method.
func (tp *requestLog) count(method string) (n int) {
	for _, r := range tp.requests() {
		if r.Method == method {
			n++
		}
	}
	return n
}

// gaps are the times between the requests.
func (tp *requestLog) gaps() (gaps []time.Duration) {
	all := tp.requests()
	for i := range len(all) - 1 {
		gaps = append(gaps, all[i+1].At.Sub(all[i].At))
	}
	return gaps
}

// outcome is what becomes of one attempt.
type outcome func(*http.Request) (*http.Response, error)

// respond is a response; headers are names and values in turn.
func respond(status int, body string, headers ...string) outcome {
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

// scriptedTransport is a transport without a network: attempt n gets outcome n, those beyond the last one the last. It works in
// a synctest bubble, where the waits between attempts take no time and can be measured exactly.
type scriptedTransport struct {
	requestLog
	outcomes []outcome
}

func (s *scriptedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	n := s.record(r)
	return s.outcomes[min(n, len(s.outcomes)-1)](r)
}

func scripted(outcomes ...outcome) *scriptedTransport { return &scriptedTransport{outcomes: outcomes} }

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
func gateway(t testing.TB, handler http.HandlerFunc) (url string, requests *requestLog) {
	t.Helper()
	requests = &requestLog{}
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
func serve(t testing.TB, handler http.HandlerFunc, opts ...reloads.Option) (*reloads.Client, *requestLog) {
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
	{"list", http.MethodGet, "/api/v1/reloads", respond(200, emptyPage), func(ctx context.Context, c *reloads.Client) error {
		_, err := c.List(ctx, reloads.ListOptions{})
		return err
	}},
	{"get", http.MethodGet, "/api/v1/reloads/" + reloadID, respond(200, queued), func(ctx context.Context, c *reloads.Client) error {
		_, err := c.Get(ctx, reloadID)
		return err
	}},
	{"cancel", http.MethodPost, "/api/v1/reloads/" + reloadID + "/actions/cancel", respond(204, ""), func(ctx context.Context, c *reloads.Client) error {
		_, err := c.Cancel(ctx, reloadID)
		return err
	}},
	{"trigger", http.MethodPost, "/api/v1/reloads", respond(201, queued), func(ctx context.Context, c *reloads.Client) error {
		_, err := c.Trigger(ctx, reloads.Request{AppID: "app"})
		return err
	}},
	{"log", http.MethodGet, "/api/v1/apps/app/reloads/logs/" + reloadID, respond(200, "line\r\n", "Content-Type", "text/plain"), func(ctx context.Context, c *reloads.Client) error {
		log, err := c.Log(ctx, "app", reloadID)
		if err != nil {
			return err
		}
		defer log.Close()
		_, err = io.Copy(io.Discard, log)
		return err
	}},
}

// noRetries switches retries off, where a test is about one answer.
var noRetries = reloads.WithRetry(reloads.RetryPolicy{})

// unlimited lets every request start at once: the benchmarks measure the client, not the rate.
var unlimited = reloads.Limiters{
	Read:    reloads.NewLimiter(1, 0),
	Trigger: reloads.NewLimiter(1, 0),
	Cancel:  reloads.NewLimiter(1, 0),
}

// unmetered is for tests of many triggers at once.
var unmetered = reloads.WithLimiters(unlimited)

// pageJSON is the JSON of a page with records of these ids, and the links, which are JSON.
func pageJSON(links string, ids ...string) string {
	records := make([]string, len(ids))
	for i, id := range ids {
		records[i] = fmt.Sprintf(`{"id":%q}`, id)
	}
	return `{"data":[` + strings.Join(records, ",") + `],"links":` + links + `}`
}

// servePages serves pages by their query.
func servePages(t testing.TB, pages map[string]string, opts ...reloads.Option) (*reloads.Client, *requestLog) {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, ok := pages[r.URL.RawQuery]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, text)
	}, opts...)
}

// threePages pages, with links of every form.
var threePages = map[string]string{
	"":                  pageJSON(`{"self":{"href":"/1"},"next":{"href":"https://elsewhere.example.com/api/v1/reloads?appId=a&next=2"}}`, "a", "b"),
	"appId=a&next=2":    pageJSON(`{"next":{"href":"/api/v1/reloads?next=3%3D%3D#top"},"prev":{"href":"?prev=1"}}`),
	"next=3%3D%3D":      pageJSON(`{"next":{},"prev":{"href":"//user:pw@elsewhere.example.com:1?prev=2"}}`, "c", "d"),
	"prev=2":            pageJSON(`{"next":{"href":"?next=3%3D%3D"},"prev":{"href":"ftp:?prev=1"}}`, "b2"),
	"prev=1":            pageJSON(`{"prev":{"href":""}}`, "a", "b"),
	"limit=2&prev=last": pageJSON(`{"prev":{"href":"?prev=2"}}`, "c", "d"),
}

// collect ranges to the end: the ids, the number of errors, and the last one.
func collect(seq iter.Seq2[*reloads.Reload, error]) (ids []string, errs int, last error) {
	for r, err := range seq {
		if err != nil {
			errs, last = errs+1, err
			if r != nil {
				ids = append(ids, "a reload beside an error")
			}
			continue
		}
		ids = append(ids, r.ID)
	}
	return ids, errs, last
}

func queries(requests *requestLog) (queries []string) {
	for _, r := range requests.requests() {
		_, query, _ := strings.Cut(r.URI, "?")
		queries = append(queries, query)
	}
	return queries
}

const responseHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// rawServer answers each request with what respond writes to the connection, and closes it.
func rawServer(t testing.TB, respond func(io.Writer)) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				respond(conn)
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// writeText is a response of so many bytes as there are.
func writeText(text string) func(io.Writer) {
	return func(w io.Writer) { _, _ = io.WriteString(w, text) }
}

// rawClient gives up on an attempt after some seconds and does not try again.
func rawClient(t testing.TB, url string, opts ...reloads.Option) *reloads.Client {
	t.Helper()
	client, err := reloads.NewClient(url, reloads.APIKey(testToken), append([]reloads.Option{noRetries, reloads.WithLimiters(unlimited)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// newTenant is a tenant with one app, "app", that runs by the script.
func newTenant(script reloadstest.App, opts ...reloadstest.Option) *reloadstest.Tenant {
	tenant := reloadstest.NewTenant(opts...)
	tenant.AddApp("app", script)
	return tenant
}

// defaultPolling is what a client has that is not a fake tenant's own.
var defaultPolling = reloads.WithPolling(reloads.PollPolicy{})

// countRequests is the number of requests of an operation that the tenant has seen.
func countRequests(tenant *reloadstest.Tenant, op reloadstest.Operation) (n int) {
	for _, r := range tenant.Requests() {
		if r.Operation == op {
			n++
		}
	}
	return n
}

// countRateLimited is how many requests the tenant answered with 429.
func countRateLimited(tenant *reloadstest.Tenant) (n int) {
	for _, r := range tenant.Requests() {
		if r.Status == http.StatusTooManyRequests {
			n++
		}
	}
	return n
}

// requestsFor asks for one reload of each app.
func requestsFor(apps ...string) (reqs []reloads.Request) {
	for _, app := range apps {
		reqs = append(reqs, reloads.Request{AppID: app})
	}
	return reqs
}

// logBuffer is what a client logs.
type logBuffer struct{ bytes.Buffer }

func (j *logBuffer) option(level slog.Level) reloads.Option {
	return reloads.WithLogger(slog.New(slog.NewJSONHandler(j, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
}

// lines are the log's, without their messages and errors, which are texts.
func (j *logBuffer) lines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	for dec := json.NewDecoder(&j.Buffer); dec.More(); {
		var line map[string]any
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		delete(line, "msg")
		delete(line, "error")
		lines = append(lines, line)
	}
	return lines
}

// printAll is a value as everything prints it that a program may have.
func printAll(value any) string {
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
		fmt.Fprintf(&b, verb+"\n", value)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("", "value", value)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("", "value", value)
	return b.String()
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

// checkNoSecrets checks that a text holds no token.
func checkNoSecrets(t testing.TB, what, text string, secrets ...string) {
	t.Helper()
	for _, secret := range append(secrets, testToken) {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s shows the secret %q: …%s", what, secret, text[max(0, at-60):at+len(secret)])
		}
	}
}

// Whatever the tests do to it, the client leaves nothing behind: no goroutine and no descriptor.
func TestMain(m *testing.M) {
	// The runtime's own descriptors come with the first socket.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
	}
	before := openDescriptors()
	status := m.Run()
	if left := leaks(before); left != "" && status == 0 {
		fmt.Println("FAIL: left behind:", left)
		status = 1
	}
	os.Exit(status)
}

// leaks is what still runs or is open, some seconds after the tests have ended; "" if nothing is.
func leaks(descriptorsBefore int) (left string) {
	for range 100 {
		http.DefaultClient.CloseIdleConnections()
		left = ""
		if n := openDescriptors(); n > descriptorsBefore {
			left = fmt.Sprintf("%d descriptors", n-descriptorsBefore)
		}
		for _, stack := range otherStacks() {
			if strings.Contains(stack, "reloads-go/reloads") || strings.Contains(stack, "net/http.") {
				left += "\n" + stack
			}
		}
		if left == "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return left
}

// otherStacks are those of all goroutines but this one.
func otherStacks() []string {
	buf := make([]byte, 4<<20)
	return strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:]
}

// openDescriptors is how many files and sockets the process has open; 0 where the system does not tell.
func openDescriptors() int {
	entries, _ := os.ReadDir("/dev/fd")
	return len(entries)
}

// The names that decode_test.go still uses.
var (
	answer = respond
	plays  = scripted
)
