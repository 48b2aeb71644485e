package reloads_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// streams is an answer whose body is not known before it is read.
func streams(body io.Reader) outcome {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"text/plain"}}
		return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(body), ContentLength: -1, Request: r}, nil
	}
}

// A line is there before the service has sent the next one, and is what it sent.
func TestALogIsStreamed(t *testing.T) {
	t.Parallel()
	first := make(chan struct{}) // closed when the first line was read
	client, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "one\r\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-first:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "two\r\n")
	})
	log, err := client.Log(t.Context(), "an/app", "a reload")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	line := make([]byte, 5)
	if _, err := io.ReadFull(log, line); err != nil || string(line) != "one\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	close(first)
	if rest, err := io.ReadAll(log); err != nil || string(rest) != "two\r\n" {
		t.Errorf("got %q, %v", rest, err)
	}
	if r := requests.requests()[0]; r.Method != "GET" || r.URI != prefix+"/api/v1/apps/an%2Fapp/reloads/logs/a%20reload" {
		t.Errorf("sent %s %s", r.Method, r.URI)
	}
}

func TestALogIsNotHeldInMemory(t *testing.T) {
	const size = 65 << 20 // more than is read of any other body
	chunk := strings.NewReader(strings.Repeat("a line of a long log\r\n", 1000))
	client := scriptedClient(t, plays(streams(io.LimitReader(repeated{chunk}, size))))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	log, err := client.Log(t.Context(), "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, log)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; n != size || err != nil || allocated > 8<<20 {
		t.Errorf("%d bytes, %v, and %d allocated", n, err, allocated)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// repeated is its reader again and again.
type repeated struct{ *strings.Reader }

func (e repeated) Read(p []byte) (int, error) {
	if e.Len() == 0 {
		_, _ = e.Seek(0, io.SeekStart)
	}
	return e.Reader.Read(p)
}

func TestTheContextEndsALog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		log, err := scriptedClient(t, plays(func(r *http.Request) (*http.Response, error) {
			return streams(stuck{r.Context()})(r)
		})).Log(ctx, "app", reloadID)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if _, err := io.ReadAll(log); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
	})
}

func TestClosingALogEarlyFreesTheConnection(t *testing.T) {
	t.Parallel()
	freed := make(chan struct{})
	client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(freed)
		w.Header().Set("Content-Type", "text/plain")
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("line\r\n", 1000)); err != nil {
				return
			}
		}
	})
	log, err := client.Log(t.Context(), "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(log, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	<-freed // the test's own time limit ends it otherwise
}

func TestALogThatBreaksOffIsNotComplete(t *testing.T) {
	t.Parallel()
	client, requests := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half of i")
	})
	log, err := client.Log(t.Context(), "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	b, err := io.ReadAll(log)
	if string(b) != "half of i" || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "GET "+prefix+"/api/v1/apps/app/reloads/logs/"+reloadID+": reading the log: ") {
		t.Errorf("got %q, %v", b, err)
	}
	if n := len(requests.requests()); n != 1 {
		t.Errorf("%d requests, want one: what was read cannot be taken back", n)
	}
}

func TestAnErrorOfReadingALogHasNoToken(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken: " + testToken)
	body := io.MultiReader(strings.NewReader("line"), readerFunc(func([]byte) (int, error) { return 0, broken }))
	log, err := scriptedClient(t, plays(streams(body))).Log(t.Context(), "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	silent(t, "the log", printed(log))
	_, err = io.ReadAll(log)
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	silent(t, "the error", err.Error())
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A log cannot be told from other text, but the page of a gateway can.
func TestAnHTMLPageIsNoLog(t *testing.T) {
	t.Parallel()
	client := scriptedClient(t, plays(answer(200, "<html>Sign in", "Content-Type", "text/html; charset=utf-8")))
	_, err := client.Log(t.Context(), "app", reloadID)
	if e := asError(t, err); e.StatusCode != 200 || e.Err == nil || e.Body != "<html>Sign in" {
		t.Errorf("got %v", err)
	}
	empty, err := scriptedClient(t, plays(answer(204, ""))).Log(t.Context(), "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if b, err := io.ReadAll(empty); err != nil || !bytes.Equal(b, nil) {
		t.Errorf("without content: %q, %v", b, err)
	}
}

func TestTheIDsOfALogAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ app, reload, argument string }{
		{"", "r", "appID"}, {"..", "r", "appID"}, {"a", "", "reloadID"}, {"a", ".", "reloadID"},
	} {
		wire := plays(streams(strings.NewReader("")))
		_, err := scriptedClient(t, wire).Log(t.Context(), c.app, c.reload)
		refusedBeforeSending(t, err, c.argument)
		if n := len(wire.requests()); n != 0 {
			t.Errorf("%q, %q: %d requests", c.app, c.reload, n)
		}
	}
}
