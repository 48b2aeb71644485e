package reloads_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/reloads-go/reloads"
)

// compareErrors compares the exported fields of an *Error.
var compareErrors = cmp.Options{cmpopts.IgnoreUnexported(reloads.Error{}), cmpopts.EquateErrors()}

// An error response without an error body of the API is an *Error with the beginning of the body.
func TestErrorResponsesWithOtherBodies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 1000)
	for name, c := range map[string]struct{ body, shows string }{
		"HTML":                {testdata(t, "gateway_502.html"), testdata(t, "gateway_502.html")},
		"empty":               {testdata(t, "empty"), ""},
		"cut off":             {testdata(t, "error_cut_off.json"), testdata(t, "error_cut_off.json")},
		"null":                {"null", "null"},
		"array":               {"[]", "[]"},
		"no errors":           {`{"errors":[],"traceId":"1"}`, `{"errors":[],"traceId":"1"}`},
		"errors of a type":    {`{"errors":"x"}`, `{"errors":"x"}`},
		"error of a type":     {`{"errors":["x"]}`, `{"errors":["x"]}`},
		"text after the JSON": {`{"errors":[{}]} x`, `{"errors":[{}]} x`},
		"512 bytes":           {strings.Repeat("x", 512), strings.Repeat("x", 512)},
		"513 bytes":           {strings.Repeat("x", 513), strings.Repeat("x", 512)},
		"long, whole runes":   {"x" + long, "x" + long[:510]},
		"not UTF-8":           {"a\xffb", "a\uFFFDb"},
	} {
		t.Run(name, func(t *testing.T) {
			client := scriptedClient(t, scripted(respond(http.StatusNotFound, c.body, "Content-Type", "text/html")))
			_, err := client.Get(t.Context(), reloadID)
			want := reloads.Error{
				StatusCode: 404, Method: "GET", Path: "/api/v1/reloads/" + reloadID, Attempts: 1, ContentType: "text/html", Body: c.shows,
			}
			if diff := cmp.Diff(want, *asError(t, err), compareErrors); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !errors.Is(err, reloads.ErrNotFound) {
				t.Errorf("%v does not match ErrNotFound", err)
			}
		})
	}
}

// A 2xx response with an unexpected body is an error.
func TestInvalidResponses(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"<html>maintenance</html>", "", "null", "[]", `"x"`, "{}", `{"da`, `{"data":null}`, `{"data":{}}`, `{"data":[{}]}`, `{"data":[1]}`,
		`{"data":[{"id":""}]}`, `{"id":""}`, `{"links":{}}`, `{"data":[]} x`, `{"id":"1"} x`, `{"errors":[{"code":"RELOADS-001"}],"traceId":"1"}`,
		`{"data":[],"links":1}`, `{"data":[{"id":"1"}`,
	} {
		for _, e := range endpoints {
			if e.name == "cancel" {
				continue // the status of a cancel is enough
			}
			wire := scripted(respond(http.StatusOK, body, "Content-Type", "text/html"))
			var err error
			synctest.Test(t, func(t *testing.T) { err = e.call(t.Context(), scriptedClient(t, wire)) })
			got := asError(t, err)
			want := reloads.Error{
				StatusCode: 200, Method: e.method, Path: e.uri, Attempts: 1, ContentType: "text/html", Body: body, Err: got.Err,
			}
			if diff := cmp.Diff(want, *got, compareErrors); diff != "" || got.Err == nil {
				t.Errorf("%s %q, %v (-want +got):\n%s", e.name, body, got.Err, diff)
			}
			if n := wire.count(e.method); n != 1 { // the reload of a trigger is also listed
				t.Errorf("%s %q: sent %d times, want once", e.name, body, n)
			}
			if errors.Is(err, reloads.ErrOutcomeUnknown) != (e.name == "trigger") {
				t.Errorf("%s %q: %v", e.name, body, err)
			}
		}
	}
}

// The text of an error is short, however long the record is that it quotes. Batches remember the texts.
func TestErrorOfALongInvalidRecord(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	_, err := scriptedClient(t, scripted(respond(200, listText(recordText(long, "app", "", time.Time{}, "creationTime", long))))).List(t.Context(), reloads.ListOptions{})
	if e := asError(t, err); len(err.Error()) > 2000 || !strings.HasPrefix(e.Err.Error(), "record 0 (id") {
		t.Errorf("a text of %d bytes: %.100v", len(err.Error()), e.Err)
	}
}

// Every call ends with a success or with an error that has the status.
func TestAllStatusCodes(t *testing.T) {
	t.Parallel()
	for status := 100; status <= 599; status += size(1, 9) {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				ok, body := successOf(e)
				wire := scripted(respond(status, body))
				began := time.Now()
				err := e.call(t.Context(), scriptedClient(t, wire))
				switch {
				case status >= 200 && status <= 299 && (status == ok || e.name != "cancel"):
					if err != nil {
						t.Errorf("%s, %d: %v", e.name, status, err)
					}
				case err == nil && status >= 200 && status <= 299: // a cancel, whose status is enough
				case asError(t, err).StatusCode != status && !errors.Is(err, reloads.ErrOutcomeUnknown):
					t.Errorf("%s, %d: %v", e.name, status, err)
				}
				if n := wire.count(e.method); n > 12 {
					t.Errorf("%s, %d: sent %d times", e.name, status, n)
				}
				if took := time.Since(began); took > 10*time.Minute {
					t.Errorf("%s, %d: took %v", e.name, status, took)
				}
			})
		}
	}
}

// successOf returns the status and the body of the endpoint's successful response.
func successOf(e endpoint) (status int, body string) {
	resp, _ := e.ok(nil) //nolint:bodyclose // in memory
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// Each unusual response of a raw server results in an error or in the record.
// The body of every response is closed, so that its attempt ends, and not read afterwards. An attempt without a response ends, too.
func TestBodiesAreClosed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 302, 404, 500, 0} { // 0: there is no response
		var body *closable
		readLate := false
		var ctx context.Context
		client := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			body, ctx = &closable{Reader: strings.NewReader(queued), closed: status == 0, readLate: &readLate}, r.Context()
			if status == 0 {
				return nil, errReset
			}
			resp, err := respond(status, "")(r)
			resp.Body = body
			return resp, err
		}), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 1, MinBackoff: 1, MaxBackoff: 1}))
		if _, _ = client.Get(t.Context(), reloadID); !body.closed || readLate || ctx.Err() == nil {
			t.Errorf("%d: body closed: %t, read afterwards: %t; the context of the attempt ended with: %v", status, body.closed, readLate, ctx.Err())
		}
	}
}

type closable struct {
	io.Reader
	closed   bool
	readLate *bool // it was read after it was closed
}

func (c *closable) Read(p []byte) (int, error) {
	*c.readLate = *c.readLate || c.closed
	return c.Reader.Read(p)
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

// The error of a list that is not JSON says so.
func TestErrorOfAListThatIsNotJSON(t *testing.T) {
	t.Parallel()
	for body, text := range map[string]string{"<html>": "invalid", "{}": "the page has no data", `{"data":null}`: "the page has no data"} {
		_, err := scriptedClient(t, scripted(respond(200, body))).List(t.Context(), reloads.ListOptions{})
		if err == nil || !strings.Contains(err.Error(), text) || body == "<html>" && strings.Contains(err.Error(), "no data") {
			t.Errorf("%s: got %v, want %q", body, err, text)
		}
	}
}

func TestMalformedHTTPResponses(t *testing.T) {
	t.Parallel()
	chunked := responseHead + "Transfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"no content type":             {"HTTP/1.1 200 OK\r\n\r\n" + queued, true},
		"another content type":        {"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + queued, true},
		"body ends with connection":   {responseHead + "\r\n" + queued, true},
		"HTTP/1.0":                    {"HTTP/1.0 200 OK\r\n\r\n" + queued, true},
		"early hints before":          {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + responseHead + "\r\n" + queued, true},
		"many 100 responses":          {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000) + responseHead + "\r\n" + queued, true},
		"switching protocols":         {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false},
		"empty":                       {"", false},
		"half a status line":          {"HTTP/1.1 20", false},
		"not HTTP":                    {"SSH-2.0-OpenSSH\r\n", false},
		"an invalid status":           {"HTTP/1.1 999999 Ok\r\n\r\n", false},
		"endless headers":             {responseHead + strings.Repeat("X-Filler: "+strings.Repeat("x", 1000)+"\r\n", 12<<10), false},
		"shorter than its length":     {responseHead + "Content-Length: 1000\r\n\r\n" + queued, false},
		"a negative length":           {responseHead + "Content-Length: -1\r\n\r\n" + queued, false},
		"two lengths":                 {responseHead + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + queued, false},
		"truncated chunks":            {chunked + "5\r\n{\"id\"\r\n", false},
		"an invalid chunk size":       {chunked + "x\r\n", false},
		"a body that is not gzip":     {responseHead + "Content-Encoding: gzip\r\n\r\n" + queued, false},
		"a body in an unknown coding": {responseHead + "Content-Encoding: br\r\n\r\n\x0b\x02\x80", false},
		"10,000 levels":               {responseHead + "\r\n" + strings.Repeat(`{"x":`, 10_000) + "1" + strings.Repeat("}", 10_000), false},
		"10,000 levels of a link":     {responseHead + "\r\n" + `{"id":"1","links":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}", false},
		"204 with a body":             {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", false},
		"invalid UTF-8":               {responseHead + "\r\n{\"id\":\"" + reloadID + "\",\"log\":\"\xff\xfe\"}", true},
		"duplicate names":             {responseHead + "\r\n" + `{"id":"1","id":"` + reloadID + `"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := rawClient(t, rawServer(t, writeText(c.text)))
			r, err := client.Get(t.Context(), reloadID)
			if (err == nil) != c.ok || c.ok && r.ID == "" {
				t.Errorf("%+v, %v", r, err)
			}
			if err != nil && len(err.Error()) > 4096 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestDefaultBodyLimits(t *testing.T) {
	t.Parallel()
	skipInShortMode(t)
	for name, length := range map[string]int64{"with Content-Length": 65 << 20, "streamed": -1} {
		t.Run(name, func(t *testing.T) {
			wire := scripted(respondSpaces(http.StatusOK, 65<<20, length))
			_, err := scriptedClient(t, wire).Get(t.Context(), reloadID)
			if e := asError(t, err); e.StatusCode != 200 || e.Err == nil || !strings.Contains(e.Err.Error(), "too long") {
				t.Errorf("a body of 65 MiB: %v", err)
			}
			if n := len(wire.requests()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			// Only the beginning of an error is read.
			_, err = scriptedClient(t, scripted(respondSpaces(http.StatusNotFound, 3<<20, min(length, 3<<20)))).Get(t.Context(), reloadID)
			if e := asError(t, err); e.StatusCode != 404 || e.Body != strings.Repeat(" ", 512) {
				t.Errorf("an error of 3 MiB: %d with %d bytes of its body, want 512", e.StatusCode, len(e.Body))
			}
		})
	}
}

// respondSpaces responds with a body of n spaces that are not held in memory.
func respondSpaces(status, n int64, length int64) outcome {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: int(status), Header: http.Header{}, ContentLength: length,
			Body: io.NopCloser(io.LimitReader(spaceReader{}, n)), Request: r,
		}, nil
	}
}

var spaces = bytes.Repeat([]byte{' '}, 64<<10)

type spaceReader struct{}

func (spaceReader) Read(p []byte) (int, error) { return copy(p, spaces), nil }

// The limits are exact: 64 MiB of a 2xx, 1 MiB of any other response.
func TestBodyLimits(t *testing.T) {
	t.Parallel()
	padded := func(status int, body string, n int64) outcome {
		return func(r *http.Request) (*http.Response, error) {
			resp, err := respondSpaces(int64(status), n-int64(len(body)), n)(r)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(body), resp.Body))
			return resp, err
		}
	}
	for _, over := range []int64{0, 1} {
		if over == 1 || !testing.Short() {
			_, err := scriptedClient(t, padded(200, queued, 64<<20+over)).Get(t.Context(), reloadID)
			if (err == nil) != (over == 0) || err != nil && !errors.Is(err, reloads.ErrBodyTooLong) {
				t.Errorf("a record of 64 MiB and %d bytes: %v", over, err)
			}
		}
		wire := scripted(padded(404, testdata(t, "error_404.json"), 1<<20+over))
		_, err := scriptedClient(t, wire).Get(t.Context(), reloadID)
		if !errors.Is(err, reloads.ErrNotFound) || errors.Is(err, reloads.ErrBodyTooLong) != (over == 1) {
			t.Errorf("an error of 1 MiB and %d bytes: %v", over, err)
		}
		if n := len(wire.requests()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	}
}

// Of an endless body, or a small one that inflates to a large one, only as much is read as the limit allows.
func TestEndlessBodies(t *testing.T) { // not in parallel: what is allocated is counted
	bomb := bytes.Repeat(gzipped(t, 16<<20), 64) // 1 GiB: a gzip stream may have members
	if len(bomb) > 2<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	zeros := make([]byte, 64<<10)
	pour := func(w io.Writer) { // until the client closes the connection
		for {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		respond func(io.Writer)
		limit   uint64
	}{
		"endless response": {func(w io.Writer) { writeText(responseHead + "\r\n")(w); pour(w) }, 64 << 20},
		"endless error":    {func(w io.Writer) { writeText("HTTP/1.1 404 Not Found\r\n\r\n")(w); pour(w) }, 1 << 20},
		"gzip bomb": {func(w io.Writer) {
			writeText(responseHead + "Content-Encoding: gzip\r\n\r\n")(w)
			_, _ = w.Write(bomb)
		}, 64 << 20},
		"gzip bomb as an error": {func(w io.Writer) {
			writeText("HTTP/1.1 502 Bad Gateway\r\nContent-Encoding: gzip\r\n\r\n")(w)
			_, _ = w.Write(bomb)
		}, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			if c.limit > 1<<20 {
				skipInShortMode(t)
			}
			client := rawClient(t, rawServer(t, c.respond))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := client.Get(t.Context(), reloadID)
			runtime.ReadMemStats(&after)
			if _ = asError(t, err); !errors.Is(err, reloads.ErrBodyTooLong) || !strings.Contains(err.Error(), fmt.Sprintf("the limit is %d bytes", c.limit)) {
				t.Errorf("%v", err)
			}
			// The buffer doubles until it holds the limit, and the race detector doubles that.
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 12*c.limit {
				t.Errorf("%d MiB were allocated for a limit of %d MiB", grown>>20, c.limit>>20)
			}
		})
	}
}

// gzipped returns n zeros, compressed.
func gzipped(t testing.TB, n int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, io.LimitReader(zeroReader{}, n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// An error is returned even if its body cannot be read: there is none after a 101, and the other one is truncated.
func TestErrorResponsesWithUnreadableBodies(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"switching protocols": http.StatusSwitchingProtocols, "refusal": http.StatusBadRequest} {
		body := io.Reader(&truncatedBody{text: "beginning"})
		if status == http.StatusSwitchingProtocols {
			body = nil // reading it would panic
		}
		client := scriptedClient(t, scripted(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1, Request: r}, nil
		}))
		_, err := client.Get(t.Context(), reloadID)
		if e := asError(t, err); e.StatusCode != status || (body != nil && e.Body != "beginning") {
			t.Errorf("%s: %#v", name, e)
		}
	}
}

// truncatedBody is a body that ends with a lost connection.
type truncatedBody struct{ text string }

func (b *truncatedBody) Read(p []byte) (int, error) {
	if b.text == "" {
		return 0, errReset
	}
	n := copy(p, b.text)
	b.text = b.text[n:]
	return n, nil
}

// The error page of a gateway can contain the headers of the request.
func TestEchoedTokenIsRedacted(t *testing.T) {
	t.Parallel()
	long := "test-token-" + strings.Repeat("0123456789", 30) // as long as a real token
	for name, o := range map[string]outcome{
		"body":           respond(404, "<p>Authorization: Bearer "+long+"</p>"),
		"at the cut-off": respond(404, strings.Repeat("x", 400)+long),
		"twice":          respond(404, long+strings.Repeat("x", 450)+long),
		"detail":         respond(404, `{"errors":[{"code":"`+long+`","title":"`+long+`","detail":"x`+long+`"}],"traceId":"`+long+`"}`),
		"content type":   respond(404, "x", "Content-Type", "text/"+long),
		"2xx":            respond(200, long),
		"2xx, in JSON":   respond(200, `{"id":"1","endTime":"`+long+`"}`),
		"the transport":  fails(errors.New("malformed response: " + long)),
		"server failure": respond(500, `{"errors":[{"code":"`+long+`"}]}`),
	} {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				err := e.call(t.Context(), clientWithTokens(t, reloads.APIKey(long), scripted(o), noRetries))
				if err == nil {
					return // a cancel does not need a body
				}
				text := printAll(err) + fmt.Sprintf("%+v", err)
				var response *reloads.Error
				if errors.As(err, &response) {
					text += printAll(*response)
				}
				checkNoSecrets(t, name+" "+e.name, text, long[:30], fmt.Sprintf("%x", long[:30]))
				if !strings.Contains(text, "REDACTED") {
					t.Errorf("%s, %s: nothing is redacted in %v", name, e.name, err)
				}
			})
		}
	}
}

// The error of net/http quotes a response that is not HTTP.
func TestTokenInMalformedResponseIsRedacted(t *testing.T) {
	t.Parallel()
	client := rawClient(t, rawServer(t, writeText("Bearer "+testToken+"\r\n\r\n")))
	_, err := client.Get(t.Context(), reloadID)
	if err == nil {
		t.Fatal("no error")
	}
	checkNoSecrets(t, "the error", err.Error())
}

// A token is also redacted where it is encoded, and where the body was cut off within it.
func TestEncodedAndTruncatedTokensAreRedacted(t *testing.T) {
	t.Parallel()
	const token = "test+token/5f3a-c2VjcmV0LXRva2Vu=="
	texts := map[string]outcome{}
	for name, encode := range map[string]*strings.Replacer{
		"JSON, slashes":  strings.NewReplacer("/", `\/`),
		"JSON":           strings.NewReplacer("+", `\u002b`, "/", `\/`, "=", `\u003d`),
		"HTML":           strings.NewReplacer("+", "&#43;", "/", "&#x2F;", "=", "&#61;"),
		"URL":            strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D"),
		"URL, lowercase": strings.NewReplacer("+", "%2b", "=", "%3d"),
	} {
		encoded := encode.Replace(token)
		texts[name] = respond(403, "<p>Bearer "+encoded+"</p>")
		texts[name+", quoted"] = respond(403, `{"errors":[{"title":"Bearer `+strings.ReplaceAll(encoded, `\`, `\\`)+` is invalid"}]}`)
	}
	for _, n := range []int{8, 20, len(token) - 1} {
		texts[fmt.Sprint("the first ", n, " bytes")] = func(r *http.Request) (*http.Response, error) {
			resp, err := respond(502, "", "Content-Type", "text/html")(r)
			resp.Body, resp.ContentLength = io.NopCloser(&truncatedBody{text: "<p>Bearer " + token[:n]}), 1000
			return resp, err
		}
	}
	for name, o := range texts {
		_, err := clientWithTokens(t, reloads.APIKey(token), scripted(o), noRetries, unmetered).Get(t.Context(), reloadID)
		text := printAll(err) + printAll(*asError(t, err))
		checkNoSecrets(t, name, text, "c2VjcmV0LXRva2Vu", "token", fmt.Sprintf("%x", "token"))
		if !strings.Contains(text, "Bearer REDACTED") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// No error in a chain shows the token, and an error is classified as if nothing were redacted: a trigger that was not sent is
// retried at once, and one that may have been sent is reconciled.
func TestRedactionOfErrorChains(t *testing.T) {
	t.Parallel()
	quoting := fmt.Errorf("%w of Authorization: Bearer %s", errReset, testToken)
	for name, c := range map[string]struct {
		outcome outcome
		is      error
		methods string // of the requests of a trigger, if its second POST succeeds
	}{
		"not sent": {fails(&net.OpError{Op: "dial", Net: "tcp", Err: quoting}), errReset, "POST POST"},
		"sent": {func(r *http.Request) (*http.Response, error) {
			if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
				trace.GotConn(httptrace.GotConnInfo{})
			}
			return nil, fmt.Errorf("%w: %w", quoting, x509.UnknownAuthorityError{}) // without a connection, this would be final
		}, errReset, "POST GET GET GET GET GET GET POST"},
		"invalid record": {respond(200, `{"id":"1","creationTime":"Bearer `+testToken+`"}`), nil, "POST GET GET GET GET GET GET"},
		"invalid JSON": { // the text of its error leaves out the middle of the name
			respond(200, `{"`+strings.Repeat("x", 60)+"Bearer "+testToken+strings.Repeat("y", 60)+`":}`), nil, "POST GET GET GET GET GET GET",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, err := scriptedClient(t, scripted(c.outcome), noRetries).Get(t.Context(), reloadID)
			if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), "Bearer REDACTED") {
				t.Errorf("%s: got %v", name, err)
			}
			for chain := []error{err}; len(chain) > 0; chain = chain[1:] {
				checkNoSecrets(t, fmt.Sprintf("%s: %T", name, chain[0]), printAll(chain[0]))
				switch e := chain[0].(type) { //nolint:errorlint // unwraps step by step
				case interface{ Unwrap() error }:
					if inner := e.Unwrap(); inner != nil {
						chain = append(chain, inner)
					}
				case interface{ Unwrap() []error }:
					chain = append(chain, e.Unwrap()...)
				}
			}
			wire := scripted(c.outcome, func(r *http.Request) (*http.Response, error) {
				if isList(r) {
					return respond(200, emptyPage)(r)
				}
				return respond(201, queued)(r)
			})
			_, err = scriptedClient(t, wire).Trigger(t.Context(), reloads.Request{AppID: "app"})
			var methods []string
			for _, r := range wire.requests() {
				methods = append(methods, r.Method)
			}
			if got := strings.Join(methods, " "); got != c.methods || err != nil && !errors.Is(err, reloads.ErrOutcomeUnknown) {
				t.Errorf("%s: a trigger sent %s, want %s; %v", name, got, c.methods, err)
			}
		})
	}
}

// classesOf returns the errors that err matches, of those that this package and its tests define.
func classesOf(err error) (classes []string) {
	known := append([]error{reloads.ErrBodyTooLong, reloads.ErrOutcomeUnknown, errReset}, errorClasses...)
	for _, code := range []reloads.Code{reloads.CodeForbidden, reloads.CodeAppNotFound, reloads.CodeReloadPending, reloads.CodeQuotaExceeded, reloads.CodeUnauthorized, reloads.CodeRateLimited} {
		known = append(known, code)
	}
	for _, class := range known {
		if errors.Is(err, class) {
			classes = append(classes, class.Error())
		}
	}
	return classes
}

// A token of a few bytes can be part of any text, so it is not redacted. Otherwise codes and paths would be mangled.
func TestShortTokenIsNotRedacted(t *testing.T) {
	t.Parallel()
	tokens := map[string]bool{"api/v1": true, "/gw/api": true, "refused": true, "Too": true, "html": true}
	for _, text := range []string{"RELOADS-007", "reloads/", "HTTP-429"} {
		for length := 3; length <= 7; length += size(1, 3) {
			for i := range len(text) - length + 1 {
				tokens[text[i:i+length]] = true
			}
		}
	}
	for name, o := range map[string]outcome{
		"pending":          respond(429, testdata(t, "error_429_pending.json")),
		"rate limit":       respond(429, testdata(t, "error_429_rate.json"), "Retry-After", "301"),
		"quota":            respond(403, testdata(t, "error_403_quota.json")),
		"HTML":             respond(404, testdata(t, "gateway_502.html"), "Content-Type", "text/html"),
		"no connection":    fails(errDial),
		"invalid response": respond(200, "<html>RELOADS-007"),
	} {
		for _, e := range endpoints {
			call := func(token string) (err error) {
				synctest.Test(t, func(t *testing.T) {
					client, newErr := reloads.NewClient("https://tenant.example.com/gw", reloads.APIKey(token), noRetries, reloads.WithHTTPClient(&http.Client{Transport: scripted(o)}))
					if newErr != nil {
						t.Fatal(newErr)
					}
					err = e.call(t.Context(), client)
				})
				return err
			}
			want := call(testToken)
			for token := range tokens {
				err := call(token)
				if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(err)); diff != "" {
					t.Errorf("%s, %s, token %q: the text (-want +got):\n%s", name, e.name, token, diff)
				}
				if diff := cmp.Diff(classesOf(want), classesOf(err)); diff != "" {
					t.Errorf("%s, %s, token %q: the classes (-want +got):\n%s", name, e.name, token, diff)
				}
			}
		}
	}
}

// An error has the same classes whatever is redacted in its texts.
func TestRedactionKeepsClasses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		outcome outcome
		tokens  []string
	}{
		"pending":    {respond(429, testdata(t, "error_429_pending.json")), []string{"RELOADS-", "RELOADS-007", "ELOADS-00", "requests"}},
		"quota":      {respond(403, testdata(t, "error_403_quota.json")), []string{"RELOADS-", "RELOADS-013", "ELOADS-01", "Forbidden"}},
		"forbidden":  {respond(403, testdata(t, "error_403_forbidden.json")), []string{"RELOADS-", "RELOADS-003", "LOADS-003", "Forbidden"}},
		"not found":  {respond(404, testdata(t, "error_404.json")), []string{"RELOADS-", "RELOADS-004", "9a8b7c6d5e4f3a2b"}},
		"rate limit": {respond(429, testdata(t, "error_429_rate.json"), "Retry-After", "301"), []string{"HTTP-429", "reached."}},
		"401":        {respond(401, testdata(t, "error_401.json")), []string{"HTTP-401", "Unauthorized"}},
		"too long":   {respondSpaces(200, 65<<20, 65<<20), []string{"67108864"}},
		"lost":       {fails(errReset), []string{"connection"}},
	} {
		for _, e := range endpoints {
			if name == "too long" && (e.name != "get" || testing.Short()) {
				continue // a large body takes time
			}
			call := func(token string) (err error) {
				synctest.Test(t, func(t *testing.T) {
					err = e.call(t.Context(), clientWithTokens(t, reloads.APIKey(token), scripted(c.outcome), noRetries))
				})
				return err
			}
			want := classesOf(call(testToken))
			if len(want) == 0 {
				t.Fatalf("%s, %s: the error has no class", name, e.name)
			}
			for _, token := range c.tokens {
				if diff := cmp.Diff(want, classesOf(call(token))); diff != "" {
					t.Errorf("%s, %s, token %q: (-want +got):\n%s", name, e.name, token, diff)
				}
			}
		}
	}
}

// A token of eight bytes is long enough to be redacted. It does not appear in part where a text is cut off either.
func TestTokenIsRedactedAtCutOff(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"s3cr3t-8", "s3cr3t-" + strings.Repeat("0123456789", 10)} {
		for before := 400; before <= 520; before += size(1, 7) {
			for name, o := range map[string]outcome{
				"HTML":        respond(404, "<p>"+strings.Repeat("x", before)+token+strings.Repeat("y", 600), "Content-Type", "text/html"),
				"a long code": respond(404, `{"errors":[{"code":"`+strings.Repeat("x", before)+token+`"}]}`),
				"details":     respond(404, `{"errors":[{"title":"`+strings.Repeat("x", before)+token+`","detail":"`+token+`"}]}`),
				"a 2xx":       respond(200, strings.Repeat("é", before/2)+token),
				"not UTF-8":   respond(404, strings.Repeat("\xff", before/3)+token),
			} {
				_, err := clientWithTokens(t, reloads.APIKey(token), scripted(o), noRetries, unmetered).Get(t.Context(), reloadID)
				e := asError(t, err)
				checkNoSecrets(t, fmt.Sprint(name, ", ", before), printAll(err)+printAll(*e), token[:6])
				if len(e.Body) > 512 {
					t.Errorf("%s, %d: %d bytes of the body", name, before, len(e.Body))
				}
			}
		}
	}
}
