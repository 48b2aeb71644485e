package reloads_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
)

// Every status of every operation is a success or an error that tells the status, and comes to an end.
func TestEveryStatusOfEveryOperation(t *testing.T) {
	t.Parallel()
	for status := 100; status <= 599; status++ {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				ok, body := answerOf(e)
				wire := plays(answer(status, body))
				began := time.Now()
				err := e.call(t.Context(), scriptedClient(t, wire))
				switch {
				case status >= 200 && status <= 299 && (status == ok || e.name != "cancel"):
					if err != nil {
						t.Errorf("%s, %d: %v", e.name, status, err)
					}
				case err == nil && status >= 200 && status <= 299: // a cancel says more by its status than by its body
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

// answerOf is the endpoint's success: its status and body.
func answerOf(e endpoint) (status int, body string) {
	resp, _ := e.ok(nil)
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// Answers over a socket that no server should give: each is an error in bounded time, or the record.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	chunked := head + "Transfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"no content type":             {"HTTP/1.1 200 OK\r\n\r\n" + queued, true},
		"another content type":        {"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + queued, true},
		"until the connection closes": {head + "\r\n" + queued, true},
		"HTTP/1.0":                    {"HTTP/1.0 200 OK\r\n\r\n" + queued, true},
		"early hints before":          {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + head + "\r\n" + queued, true},
		"continue, again and again":   {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000) + head + "\r\n" + queued, true},
		"switching protocols":         {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false},
		"nothing":                     {"", false},
		"half a status line":          {"HTTP/1.1 20", false},
		"no HTTP":                     {"SSH-2.0-OpenSSH\r\n", false},
		"a status that is none":       {"HTTP/1.1 999999 Ok\r\n\r\n", false},
		"headers without end":         {head + strings.Repeat("X-Filler: "+strings.Repeat("x", 1000)+"\r\n", 12<<10), false},
		"less than announced":         {head + "Content-Length: 1000\r\n\r\n" + queued, false},
		"a negative length":           {head + "Content-Length: -1\r\n\r\n" + queued, false},
		"two lengths":                 {head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + queued, false},
		"chunks that break off":       {chunked + "5\r\n{\"id\"\r\n", false},
		"a chunk of no size":          {chunked + "x\r\n", false},
		"a body that is not gzip":     {head + "Content-Encoding: gzip\r\n\r\n" + queued, false},
		"a body in an unknown coding": {head + "Content-Encoding: br\r\n\r\n\x0b\x02\x80", false},
		"10,000 levels":               {head + "\r\n" + strings.Repeat(`{"x":`, 10_000) + "1" + strings.Repeat("}", 10_000), false},
		"10,000 levels of a link":     {head + "\r\n" + `{"id":"1","links":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}", false},
		"204 with a body":             {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", false},
		"invalid UTF-8":               {head + "\r\n{\"id\":\"1\",\"log\":\"\xff\xfe\"}", true},
		"duplicate names":             {head + "\r\n" + `{"id":"1","id":"` + reloadID + `"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := rawClient(t, rawServer(t, writes(c.text)))
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

// Of a body without end, or a small one that inflates to a large one, only so much is read as the limit allows.
func TestBodiesWithoutEnd(t *testing.T) { // not in parallel: what is allocated is counted
	const limit = 4 << 20
	bomb := bytes.Repeat(gzipped(t, 16<<20), 64) // 1 GiB: a gzip stream may have members
	if len(bomb) > 2<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	zeros := make([]byte, 64<<10)
	pour := func(w io.Writer) { // until the client has enough
		for {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	}
	for name, respond := range map[string]func(io.Writer){
		"answer without end": func(w io.Writer) { writes(head + "\r\n")(w); pour(w) },
		"error without end":  func(w io.Writer) { writes("HTTP/1.1 404 Not Found\r\n\r\n")(w); pour(w) },
		"gzip bomb":          func(w io.Writer) { writes(head + "Content-Encoding: gzip\r\n\r\n")(w); _, _ = w.Write(bomb) },
		"gzip bomb as an error": func(w io.Writer) {
			writes("HTTP/1.1 502 Bad Gateway\r\nContent-Encoding: gzip\r\n\r\n")(w)
			_, _ = w.Write(bomb)
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := rawClient(t, rawServer(t, respond), reloads.WithBodyLimits(reloads.BodyLimits{Answer: limit, Error: limit}))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := client.Get(t.Context(), reloadID)
			runtime.ReadMemStats(&after)
			if asError(t, err); !errors.Is(err, reloads.ErrBodyTooLong) || !strings.Contains(err.Error(), "at most 4194304 bytes are read") {
				t.Errorf("%v", err)
			}
			// The buffer doubles until it holds the limit, and the race detector doubles that.
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 48<<20 {
				t.Errorf("%d MiB were allocated for a limit of %d MiB", grown>>20, limit>>20)
			}
		})
	}
}

// gzipped is so many zeros.
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

// The limits are exact, and a limit of the largest number is none.
func TestBodyLimits(t *testing.T) {
	t.Parallel()
	const most = 1<<63 - 1
	for _, c := range []struct {
		limits reloads.BodyLimits
		ok     bool
	}{
		{reloads.BodyLimits{}, true},
		{reloads.BodyLimits{Answer: int64(len(queued)), Error: 1}, true},
		{reloads.BodyLimits{Answer: int64(len(queued)) - 1}, false},
		{reloads.BodyLimits{Answer: most}, true},
	} {
		_, err := scriptedClient(t, plays(answer(200, queued)), reloads.WithBodyLimits(c.limits)).Get(t.Context(), reloadID)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, reloads.ErrBodyTooLong) {
			t.Errorf("%+v: %v", c.limits, err)
		}
	}
	body := testdata(t, "error_404.json")
	for limit, fits := range map[int64]bool{int64(len(body)): true, int64(len(body)) - 1: false, 1: false} {
		wire := plays(answer(404, body))
		_, err := scriptedClient(t, wire, reloads.WithBodyLimits(reloads.BodyLimits{Error: limit})).Get(t.Context(), reloadID)
		if !errors.Is(err, reloads.ErrNotFound) || errors.Is(err, reloads.ErrBodyTooLong) == fits {
			t.Errorf("an error of %d bytes with a limit of %d: %v", len(body), limit, err)
		}
		if n := len(wire.requests()); n != 1 {
			t.Errorf("sent %d times", n)
		}
	}
}

// An error that lists thousands of errors has them all, and a text of a few.
func TestAnErrorBodyOfTenThousandErrors(t *testing.T) {
	t.Parallel()
	body := `{"errors":[` + strings.Repeat(`{"code":"A","title":"B"},`, 9999) + `{"code":"RELOADS-012"}]}`
	_, err := scriptedClient(t, plays(answer(404, body))).Get(t.Context(), reloadID)
	if e := asError(t, err); len(e.Details) != 10_000 || !errors.Is(err, reloads.Code012) || len(err.Error()) > 1000 {
		t.Errorf("%d details, and a text of %d bytes", len(e.Details), len(err.Error()))
	}
}

// The answers of a cancel are told by their status: a body that is none, or none where there is one, changes nothing.
func TestCancelsWithoutTheirBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   reloads.Status
	}{
		{202, "", reloads.StatusCanceling},
		{202, "<html>", reloads.StatusCanceling},
		{204, "{}", reloads.StatusCanceled},
		{204, "", reloads.StatusCanceled},
	} {
		if got, err := scriptedClient(t, plays(answer(c.status, c.body))).Cancel(t.Context(), reloadID); got != c.want || err != nil {
			t.Errorf("%d %q: %q, %v", c.status, c.body, got, err)
		}
	}
}

// What a server asks to wait for is bounded, whatever it writes.
func TestHostileRetryAfter(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"-5", "1.5", "1e9", "99999999999999999999", "315360000", "Mon, 01 Jan 1990 00:00:00 GMT", "Tue, 01 Jan 2036 00:00:00 GMT",
		"Thu, 31 Dec 9999 23:59:59 GMT", "soon", "0", " ", "١٣", strings.Repeat("9", 100_000),
	} {
		for _, status := range []int{429, 503} {
			for _, e := range endpoints {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
					defer cancel()
					wire := plays(answer(status, `{"errors":[{"code":"HTTP-429"}]}`, "Retry-After", value))
					began := time.Now()
					err := e.call(ctx, scriptedClient(t, wire))
					if err == nil || ctx.Err() != nil {
						t.Errorf("%s, %d, %.40q: %v", e.name, status, value, err)
					}
					if took := time.Since(began); took > 30*time.Minute {
						t.Errorf("%s, %d, %.40q: took %v", e.name, status, value, took)
					}
				})
			}
		}
	}
}

// A connection that the server closed between two calls is not noticed: the next call takes another.
func TestAConnectionThatTheServerClosed(t *testing.T) {
	t.Parallel()
	response := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(queued), queued)
	client := rawClient(t, rawServer(t, writes(response)), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 3}))
	for i := range 20 {
		if _, err := client.Get(t.Context(), reloadID); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}
