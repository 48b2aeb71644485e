package reloads_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/reloads-go/reloads"
)

// errorWithoutHidden compares what users see of an *Error.
var errorWithoutHidden = cmp.Options{cmpopts.IgnoreUnexported(reloads.Error{}), cmpopts.EquateErrors()}

// One row for each answer that the service documents.
func TestEveryDocumentedAnswer(t *testing.T) {
	t.Parallel()
	type row struct {
		endpoint string
		status   int
		file     string
		header   []string
		class    error
		want     reloads.Error // besides what the row says anyway
	}
	detail := func(code reloads.Code, title, text string) []reloads.ErrorDetail {
		return []reloads.ErrorDetail{{Code: code, Title: title, Detail: text}}
	}
	forbidden := detail(reloads.CodeForbidden, "Forbidden", "the token does not allow it")
	var rows []row
	for _, name := range []string{"list", "get", "cancel", "trigger"} {
		rows = append(
			rows,
			row{name, 400, "error_400.json", nil, reloads.ErrBadRequest, reloads.Error{
				Details: detail(reloads.Code001, "Bad request", "the filter cannot be read"), TraceID: "0000000000000000b7d1f3a2c4e59687",
			}},
			row{name, 401, "error_401.json", nil, reloads.ErrUnauthorized, reloads.Error{
				Details: detail(reloads.CodeUnauthorized, "Unauthorized", ""), TraceID: "000000000000000012d5b0c7a5f1e2d3",
			}},
			row{name, 403, "error_403_forbidden.json", nil, reloads.ErrForbidden, reloads.Error{Details: forbidden}},
			row{name, 429, "error_429_rate.json", []string{"Retry-After", "13"}, reloads.ErrRateLimited, reloads.Error{
				Details:    detail(reloads.CodeRateLimited, "API rate limit reached.", "You need to wait 13 seconds until limit is lifted."),
				RetryAfter: 13 * time.Second,
			}},
			row{name, 500, "error_500.json", nil, reloads.ErrServer, reloads.Error{
				Details: detail("HTTP-500", "Internal server error", ""), TraceID: "0000000000000000feedfacecafebeef",
			}},
		)
	}
	for _, name := range []string{"get", "cancel"} {
		rows = append(rows, row{name, 404, "error_404.json", nil, reloads.ErrNotFound, reloads.Error{
			Details: detail(reloads.Code004, "Not found", "no such reload"), TraceID: "00000000000000009a8b7c6d5e4f3a2b",
		}})
	}
	rows = append(
		rows,
		row{"cancel", 409, "error_409.json", nil, reloads.ErrNotCancelable, reloads.Error{
			Details: detail(reloads.Code005, "Conflict", "the reload is not in a cancellable state"),
		}},
		row{"trigger", 403, "error_403_quota.json", nil, reloads.ErrQuotaExceeded, reloads.Error{
			Details: detail(reloads.CodeQuotaExceeded, "Forbidden", "the reload frequency quota has been met"),
		}},
		row{"trigger", 429, "error_429_pending.json", nil, reloads.ErrReloadPending, reloads.Error{
			Details: detail(reloads.CodeReloadPending, "Too many requests", "a pending reload request already exists for this app"),
		}},
	)
	for _, row := range rows {
		t.Run(fmt.Sprint(row.endpoint, " ", row.file), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, e := range endpoints {
					if e.name != row.endpoint {
						continue
					}
					err := e.call(t.Context(), scriptedClient(t, plays(answer(row.status, testdata(t, row.file), row.header...)), none))
					want := row.want
					want.StatusCode, want.Method, want.Path, want.Attempts = row.status, e.method, e.uri, 1
					want.ContentType = "application/json"
					if diff := cmp.Diff(want, *asError(t, err), errorWithoutHidden); diff != "" {
						t.Errorf("the error (-want +got):\n%s", diff)
					}
					for _, class := range classes {
						if got := errors.Is(err, class); got != (class == row.class) {
							t.Errorf("errors.Is(err, %v) is %v", class, got)
						}
					}
					if !errors.Is(err, row.want.Details[0].Code) || errors.Is(err, reloads.Code012) {
						t.Errorf("the error does not match its code %q, or another", row.want.Details[0].Code)
					}
					// The trigger of a server error may have taken effect.
					if got, want := errors.Is(err, reloads.ErrOutcomeUnknown), e.name == "trigger" && row.status == 500; got != want {
						t.Errorf("ErrOutcomeUnknown: %v, want %v", got, want)
					}
				}
			})
		})
	}
	for _, e := range endpoints {
		if err := e.call(t.Context(), scriptedClient(t, plays(e.ok), none)); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
	}
}

// What is no error body in the service's own form is still an *Error, and shows how it began.
func TestErrorsWithoutTheAPIsBody(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 1000)
	for name, c := range map[string]struct{ body, shows string }{
		"HTML":              {testdata(t, "gateway_502.html"), testdata(t, "gateway_502.html")},
		"empty":             {testdata(t, "empty"), ""},
		"cut off":           {testdata(t, "error_cut_off.json"), testdata(t, "error_cut_off.json")},
		"null":              {"null", "null"},
		"array":             {"[]", "[]"},
		"no errors":         {`{"errors":[],"traceId":"1"}`, `{"errors":[],"traceId":"1"}`},
		"errors of a type":  {`{"errors":"x"}`, `{"errors":"x"}`},
		"error of a type":   {`{"errors":["x"]}`, `{"errors":["x"]}`},
		"more after it":     {`{"errors":[{}]} x`, `{"errors":[{}]} x`},
		"512 bytes":         {strings.Repeat("x", 512), strings.Repeat("x", 512)},
		"513 bytes":         {strings.Repeat("x", 513), strings.Repeat("x", 512)},
		"long, whole runes": {"x" + long, "x" + long[:510]},
		"not UTF-8":         {"a\xffb", "a\uFFFDb"},
	} {
		t.Run(name, func(t *testing.T) {
			client := scriptedClient(t, plays(answer(http.StatusNotFound, c.body, "Content-Type", "text/html")))
			_, err := client.Get(t.Context(), reloadID)
			want := reloads.Error{
				StatusCode: 404, Method: "GET", Path: "/api/v1/reloads/" + reloadID, Attempts: 1, ContentType: "text/html", Body: c.shows,
			}
			if diff := cmp.Diff(want, *asError(t, err), errorWithoutHidden); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !errors.Is(err, reloads.ErrNotFound) {
				t.Errorf("%v is no ErrNotFound", err)
			}
		})
	}
}

// A 2xx with something else in it than the API promises must not pass for an answer.
func TestSuccessWithoutTheAPIsBody(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"<html>maintenance</html>", "", "null", "[]", `"x"`, "{}", `{"da`, `{"data":null}`, `{"data":{}}`, `{"data":[{}]}`, `{"data":[1]}`,
		`{"data":[{"id":""}]}`, `{"id":""}`, `{"links":{}}`, `{"data":[]} x`, `{"id":"1"} x`, `{"errors":[{"code":"RELOADS-001"}],"traceId":"1"}`,
		`{"data":[],"links":1}`, `{"data":[{"id":"1"}`,
	} {
		for _, e := range endpoints {
			if e.name == "cancel" {
				continue // its status says it all
			}
			wire := plays(answer(http.StatusOK, body, "Content-Type", "text/html"))
			var err error
			synctest.Test(t, func(t *testing.T) { err = e.call(t.Context(), scriptedClient(t, wire)) })
			got := asError(t, err)
			want := reloads.Error{
				StatusCode: 200, Method: e.method, Path: e.uri, Attempts: 1, ContentType: "text/html", Body: body, Err: got.Err,
			}
			if diff := cmp.Diff(want, *got, errorWithoutHidden); diff != "" || got.Err == nil {
				t.Errorf("%s %q, %v (-want +got):\n%s", e.name, body, got.Err, diff)
			}
			if n := wire.count(e.method); n != 1 { // a trigger is also looked for
				t.Errorf("%s %q: sent %d times, want once", e.name, body, n)
			}
			if errors.Is(err, reloads.ErrOutcomeUnknown) != (e.name == "trigger") {
				t.Errorf("%s %q: %v", e.name, body, err)
			}
		}
	}
}

func TestErrorBodiesInEverySpelling(t *testing.T) {
	t.Parallel()
	type details = []reloads.ErrorDetail
	for _, c := range []struct {
		body  string
		want  details
		trace string
	}{
		{testdata(t, "error_details.json"), details{{"HTTP-123", "short error message", "detailed error message"}}, ""},
		{`{"errors":[{"code":"A","title":"B","detail":"C","details":"D"}]}`, details{{"A", "B", "C"}}, ""},
		{`{"Errors":[{"Code":"A","Title":"B","Detail":"C"}],"traceid":"T"}`, details{{"A", "B", "C"}}, "T"},
		{`{"errors":[{"code":"A","traceId":"inner"}],"traceId":"outer"}`, details{{"A", "", ""}}, "outer"},
		{`{"errors":[{"code":"A"},{"code":"B","traceId":"inner"}]}`, details{{"A", "", ""}, {"B", "", ""}}, "inner"},
		{`{"errors":[{"code":42,"title":null,"detail":{"a":[1]}}],"traceId":7}`, details{{"42", "", `{"a":[1]}`}}, "7"},
		{`{"errors":[{"code":"A","code":"B"}],"errors":[{"code":"C"}]}`, details{{"C", "", ""}}, ""},
		{"{\"errors\":[{\"title\":\"a\xffb\"}]}", details{{"", "a\uFFFDb", ""}}, ""},
		{`{"errors":[{}]}`, details{{}}, ""},
		{`{"errors":[{"code":"A","meta":{"x":1},"status":"404","source":[]}],"x":1}`, details{{"A", "", ""}}, ""},
	} {
		_, err := scriptedClient(t, plays(answer(http.StatusBadRequest, c.body))).Get(t.Context(), reloadID)
		e := asError(t, err)
		if diff := cmp.Diff(c.want, e.Details); diff != "" || e.TraceID != c.trace || e.Body != "" {
			t.Errorf("%s: trace %q, body %q (-want +got):\n%s", c.body, e.TraceID, e.Body, diff)
		}
	}
}

// endless is a body of n bytes that needs no memory.
func endless(status, n int64, length int64) outcome {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: int(status), Header: http.Header{}, ContentLength: length,
			Body: io.NopCloser(io.LimitReader(spaces{}, n)), Request: r,
		}, nil
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil }

func TestBodiesThatAreTooLong(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int64{"announced": 65 << 20, "streamed": -1} {
		t.Run(name, func(t *testing.T) {
			wire := plays(endless(http.StatusOK, 65<<20, length))
			_, err := scriptedClient(t, wire).Get(t.Context(), reloadID)
			if e := asError(t, err); e.StatusCode != 200 || e.Err == nil || !strings.Contains(e.Err.Error(), "too long") {
				t.Errorf("a body of 65 MiB: %v", err)
			}
			if n := len(wire.requests()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			// Of an error only the beginning is needed.
			_, err = scriptedClient(t, plays(endless(http.StatusNotFound, 3<<20, min(length, 3<<20)))).Get(t.Context(), reloadID)
			if e := asError(t, err); e.StatusCode != 404 || e.Body != strings.Repeat(" ", 512) {
				t.Errorf("an error of 3 MiB: %d with %d bytes of its body, want 512", e.StatusCode, len(e.Body))
			}
		})
	}
}

// Two answers of which nobody is to wait for the body: one without end, and one that breaks off.
func TestErrorsNeedNoWholeBody(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"switching protocols": http.StatusSwitchingProtocols, "refusal": http.StatusBadRequest} {
		body := io.Reader(&brokenBody{text: "beginning"})
		if status == http.StatusSwitchingProtocols {
			body = nil // reading it would panic
		}
		client := scriptedClient(t, plays(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1, Request: r}, nil
		}))
		_, err := client.Get(t.Context(), reloadID)
		if e := asError(t, err); e.StatusCode != status || (body != nil && e.Body != "beginning") {
			t.Errorf("%s: %#v", name, e)
		}
	}
}

// brokenBody ends with a lost connection.
type brokenBody struct{ text string }

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.text == "" {
		return 0, errReset
	}
	n := copy(p, b.text)
	b.text = b.text[n:]
	return n, nil
}
