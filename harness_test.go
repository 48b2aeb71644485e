package reloads_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// testToken is the token of the tests. It must not appear outside of the Authorization header.
const testToken = "test-token-5f3a"

const reloadID = "5be59decca62aa00097268a4"

// sentRequest is one request as it was sent.
type sentRequest struct {
	Method, URI, Body string
	Header            http.Header
	At                time.Time
}

// requestLog records requests in the order of their arrival.
type requestLog struct {
	mu   sync.Mutex
	kept []sentRequest
}

// record adds a request and returns how many there were before.
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

// count returns the number of requests with the method.
func (tp *requestLog) count(method string) (n int) {
	for _, r := range tp.requests() {
		if r.Method == method {
			n++
		}
	}
	return n
}

// gaps returns the times between the requests.
func (tp *requestLog) gaps() (gaps []time.Duration) {
	all := tp.requests()
	for i := range len(all) - 1 {
		gaps = append(gaps, all[i+1].At.Sub(all[i].At))
	}
	return gaps
}

// outcome is the outcome of one attempt.
type outcome func(*http.Request) (*http.Response, error)

// RoundTrip makes an outcome a transport that records nothing.
func (o outcome) RoundTrip(r *http.Request) (*http.Response, error) { return o(r) }

// respond returns the outcome of an attempt with this response. The headers are pairs of name and value.
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

// fails returns the outcome of an attempt that fails in the transport.
func fails(err error) outcome {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// hangs is the outcome of an attempt without a response.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

var (
	errDial  = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	errDNS   = &net.DNSError{Err: "no such host", Name: "tenant.example.com"}
	errReset = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
)

// scriptedTransport is a transport without a network. Attempt n has outcome n, and all further attempts have the last
// outcome. It works in a synctest bubble, where waits between attempts take no time and can be measured exactly.
type scriptedTransport struct {
	requestLog
	outcomes []outcome
}

func (s *scriptedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	n := s.record(r)
	return s.outcomes[min(n, len(s.outcomes)-1)](r)
}

// scripted returns a transport with these outcomes.
func scripted(outcomes ...outcome) *scriptedTransport { return &scriptedTransport{outcomes: outcomes} }

// scriptedClient returns a client that uses the transport.
func scriptedClient(t testing.TB, s http.RoundTripper, opts ...reloads.Option) *reloads.Client {
	t.Helper()
	opts = append([]reloads.Option{reloads.WithHTTPClient(&http.Client{Transport: s})}, opts...)
	client, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey(testToken), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// prefix is the path of the test servers, as behind a gateway.
const prefix = "/gw"

// gateway starts a server that runs handler under the prefix and records every request. A request for another path than
// those of the API fails the test.
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

// serve returns a client of a new gateway, and the requests that it sends.
func serve(t testing.TB, handler http.HandlerFunc, opts ...reloads.Option) (*reloads.Client, *requestLog) {
	t.Helper()
	url, requests := gateway(t, handler)
	client, err := reloads.NewClient(url, reloads.APIKey(testToken), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return client, requests
}

// always returns a handler that always sends the same response.
func always(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// testdata returns the content of a file in testdata.
func testdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const emptyPage = `{"data":[],"links":{"self":{"href":"x"}}}`

// queued is a record with the required fields only.
const queued = `{"id":"` + reloadID + `","appId":"app","tenantId":"t","userId":"u","type":"external","status":"QUEUED","creationTime":"2026-11-04T03:00:00Z"}`

// endpoint is one operation of the API.
type endpoint struct {
	name        string
	method, uri string
	ok          outcome // a minimal successful response
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

// noRetries disables retries.
var noRetries = reloads.WithRetry(reloads.RetryPolicy{})

// unlimited are limiters without a limit.
var unlimited = reloads.Limiters{
	Read:    reloads.NewLimiter(1, 0),
	Trigger: reloads.NewLimiter(1, 0),
	Cancel:  reloads.NewLimiter(1, 0),
}

// unmetered disables the rate limits.
var unmetered = reloads.WithLimiters(unlimited)

// pageJSON returns the JSON of a page with records of these IDs. The links are JSON, too.
func pageJSON(links string, ids ...string) string {
	records := make([]string, len(ids))
	for i, id := range ids {
		records[i] = fmt.Sprintf(`{"id":%q}`, id)
	}
	return `{"data":[` + strings.Join(records, ",") + `],"links":` + links + `}`
}

// servePages returns a client of a server with the pages, by query.
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

// threePages is a list of three pages, with various forms of links.
var threePages = map[string]string{
	"":                  pageJSON(`{"self":{"href":"/1"},"next":{"href":"https://elsewhere.example.com/api/v1/reloads?appId=a&next=2"}}`, "a", "b"),
	"appId=a&next=2":    pageJSON(`{"next":{"href":"/api/v1/reloads?next=3%3D%3D#top"},"prev":{"href":"?prev=1"}}`),
	"next=3%3D%3D":      pageJSON(`{"next":{},"prev":{"href":"//user:pw@elsewhere.example.com:1?prev=2"}}`, "c", "d"),
	"prev=2":            pageJSON(`{"next":{"href":"?next=3%3D%3D"},"prev":{"href":"ftp:?prev=1"}}`, "b2"),
	"prev=1":            pageJSON(`{"prev":{"href":""}}`, "a", "b"),
	"limit=2&prev=last": pageJSON(`{"prev":{"href":"?prev=2"}}`, "c", "d"),
}

// collect ranges to the end. It returns the IDs, the number of errors and the last error.
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

// queries returns the queries of the requests.
func queries(requests *requestLog) (queries []string) {
	for _, r := range requests.requests() {
		_, query, _ := strings.Cut(r.URI, "?")
		queries = append(queries, query)
	}
	return queries
}

// responseHead is the beginning of a successful response of rawServer.
const responseHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// rawServer starts a server that calls respond for each request and then closes the connection.
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

// writeText returns a response of rawServer that consists of the text.
func writeText(text string) func(io.Writer) {
	return func(w io.Writer) { _, _ = io.WriteString(w, text) }
}

// rawClient returns a client of a rawServer. It does not retry.
func rawClient(t testing.TB, url string, opts ...reloads.Option) *reloads.Client {
	t.Helper()
	client, err := reloads.NewClient(url, reloads.APIKey(testToken), append([]reloads.Option{noRetries, reloads.WithLimiters(unlimited)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// newTenant returns a tenant with one app, "app", that follows the script.
func newTenant(script reloadstest.App, opts ...reloadstest.Option) *reloadstest.Tenant {
	tenant := reloadstest.NewTenant(opts...)
	tenant.AddApp("app", script)
	return tenant
}

// defaultPolling is the default of NewClient. The clients of a fake tenant poll more often.
var defaultPolling = reloads.WithPolling(reloads.PollPolicy{})

// countRequests returns the number of requests of an operation that the tenant received.
func countRequests(tenant *reloadstest.Tenant, op reloadstest.Operation) (n int) {
	for _, r := range tenant.Requests() {
		if r.Operation == op {
			n++
		}
	}
	return n
}

// countRateLimited returns the number of requests that the tenant refused with 429.
func countRateLimited(tenant *reloadstest.Tenant) (n int) {
	for _, r := range tenant.Requests() {
		if r.Status == http.StatusTooManyRequests {
			n++
		}
	}
	return n
}

// requestsFor returns one request for each app.
func requestsFor(apps ...string) (reqs []reloads.Request) {
	for _, app := range apps {
		reqs = append(reqs, reloads.Request{AppID: app})
	}
	return reqs
}

// logBuffer contains the log of a client.
type logBuffer struct{ bytes.Buffer }

func (j *logBuffer) option(level slog.Level) reloads.Option {
	return reloads.WithLogger(slog.New(slog.NewJSONHandler(j, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
}

// lines returns the lines of the log without messages and errors, which are free text.
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

// printAll returns the value as fmt and slog print it, in all ways that a program may use.
func printAll(value any) string {
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
		fmt.Fprintf(&b, verb+"\n", value)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("", "value", value)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("", "value", value)
	return b.String()
}

// asError returns the *Error in err. The test fails if there is none.
func asError(t testing.TB, err error) *reloads.Error {
	t.Helper()
	var e *reloads.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	return e
}

// refusedBeforeSending checks the error of an invalid argument: it matches ErrBadRequest, is not an *Error, and contains
// the texts.
func refusedBeforeSending(t testing.TB, err error, texts ...string) {
	t.Helper()
	var e *reloads.Error
	if !errors.Is(err, reloads.ErrBadRequest) || errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an error that matches ErrBadRequest and is not an *Error", err, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error %q does not contain %q", err, text)
		}
	}
}

// checkNoSecrets checks that a text contains neither the token nor one of the secrets.
func checkNoSecrets(t testing.TB, what, text string, secrets ...string) {
	t.Helper()
	for _, secret := range append(secrets, testToken) {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s contains the secret %q: …%s", what, secret, text[max(0, at-60):at+len(secret)])
		}
	}
}

// TestMain checks that the tests leave no goroutine and no file descriptor behind.
func TestMain(m *testing.M) {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) { // the default
		_ = p.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0))) // some tests only wait
	}
	debug.SetGCPercent(400) // the heap is small, and the tests would spend a fifth of their time on collections
	// The runtime opens descriptors of its own with the first socket.
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

// leaks describes what is still running or open a few seconds after the tests. It returns "" if there is nothing.
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

// otherStacks returns the stacks of all other goroutines.
func otherStacks() []string {
	buf := make([]byte, 4<<20)
	return strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:]
}

// openDescriptors returns the number of open files and sockets of the process, or 0 if the system does not provide it.
func openDescriptors() int {
	entries, _ := os.ReadDir("/dev/fd")
	return len(entries)
}

// scriptedService is a transport made of functions, one for each operation, for services that behave as no world does. Each
// function returns the status and the body of a response. A status of 0 means that the connection is reset.
type scriptedService struct {
	requestLog
	latency time.Duration
	trigger func(n int, app string) (int, string) // n counts the triggers from 0
	list    func(*http.Request) (int, string)
	get     func(id string) (int, string)
	cancel  func(id string) (int, string)

	serving  sync.Mutex // held while one of the functions runs
	triggers int
}

func (s *scriptedService) RoundTrip(r *http.Request) (*http.Response, error) {
	n := s.record(r)
	time.Sleep(s.latency)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	s.serving.Lock()
	defer s.serving.Unlock()
	status, body := 0, ""
	switch id := strings.TrimPrefix(r.URL.Path, "/api/v1/reloads/"); {
	case isTrigger(r):
		var req reloads.Request
		if err := json.Unmarshal([]byte(s.requests()[n].Body), &req); err != nil {
			return nil, err
		}
		status, body = s.trigger(s.triggers, req.AppID)
		s.triggers++
	case isCancel(r):
		status, body = s.cancel(strings.TrimSuffix(id, "/actions/cancel"))
	case isList(r):
		status, body = s.list(r)
	default:
		status, body = s.get(id)
	}
	if status == 0 {
		return nil, errReset
	}
	return respond(status, body, "Date", time.Now().UTC().Format(http.TimeFormat))(r)
}

// recordText returns the JSON of a record. The fields are pairs of name and value. A zero time is omitted.
func recordText(id, app string, status reloads.Status, created time.Time, fields ...any) string {
	record := map[string]any{"id": id, "appId": app, "status": status}
	if !created.IsZero() {
		record["creationTime"] = created.UTC().Format(milliseconds)
	}
	for i := 0; i < len(fields); i += 2 {
		record[fields[i].(string)] = fields[i+1] //nolint:gosec // fields are pairs
	}
	text, err := json.Marshal(record)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// listText returns the JSON of the last page of a list.
func listText(records ...string) string {
	return `{"data":[` + strings.Join(records, ",") + `],"links":{}}`
}

// listForbidden is the response to a list if the token may not list the reloads of the tenant.
func listForbidden(*http.Request) (int, string) { return http.StatusForbidden, "" }

// skipInShortMode skips a simulation that takes long even if it is small.
func skipInShortMode(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a simulation")
	}
}

// size returns the size of a simulation, which is much smaller in short mode.
func size(normal, short int) int {
	if testing.Short() {
		return short
	}
	return normal
}

// sample skips all but about one in n of the cases of a test in short mode. The choice depends on the names only.
func sample(t *testing.T, n uint32) {
	t.Helper()
	if testing.Short() && crc32.ChecksumIEEE([]byte(t.Name()))%n != 0 {
		t.Skip("one of many similar cases")
	}
}

// printed returns what an example prints in a synctest bubble. For examples that take seconds in real time.
func printed(t *testing.T, example func()) (text string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func(stdout *os.File) { os.Stdout = stdout }(os.Stdout)
	os.Stdout = w
	synctest.Test(t, func(*testing.T) { example() })
	_ = w.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	return string(b)
}
