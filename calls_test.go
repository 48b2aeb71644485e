package reloads_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

func TestGet(t *testing.T) {
	t.Parallel()
	for file, want := range records {
		t.Run(file, func(t *testing.T) {
			client, requests := serve(t, always(http.StatusOK, testdata(t, file)))
			got, err := client.Get(t.Context(), want.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("the reload (-want +got):\n%s", diff)
			}
			r := requests.requests()[0]
			if r.Method != "GET" || r.URI != prefix+"/api/v1/reloads/"+want.ID || r.Body != "" {
				t.Errorf("sent %s %s %q", r.Method, r.URI, r.Body)
			}
		})
	}
}

func TestTrigger(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		req  reloads.Request
		want string
	}{
		{"the least", reloads.Request{AppID: "app"}, `{"appId":"app"}`},
		{"all", reloads.Request{
			AppID: "app", Partial: true, Weight: 10, Variables: map[string]string{"vTo": "2", "vFrom": `"1"`},
			ResourceID: "nightly-42", ResourceType: reloads.ResourceTypeReloadTasks,
		}, `{"appId":"app","partial":true,"weight":10,"variables":{"vFrom":"\"1\"","vTo":"2"},"resourceId":"nightly-42","resourceType":"reload-tasks"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, requests := serve(t, always(http.StatusCreated, testdata(t, "record_queued.json")))
			got, err := client.Trigger(t.Context(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			want := records["record_queued.json"]
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("the reload (-want +got):\n%s", diff)
			}
			r := requests.requests()[0]
			if r.Method != "POST" || r.URI != prefix+"/api/v1/reloads" || r.Body != c.want {
				t.Errorf("sent %s %s\n%s\nwant\n%s", r.Method, r.URI, r.Body, c.want)
			}
			if got := r.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("the body's type is %q", got)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		status     int
		want       reloads.Status
	}{
		{"202 with a body", `{"status":"CANCELING"}`, http.StatusAccepted, reloads.StatusCanceling},
		{"202 with the final status", `{"status":"CANCELED","more":1}`, http.StatusAccepted, reloads.StatusCanceled},
		{"202 without a body", "", http.StatusAccepted, reloads.StatusCanceling},
		{"202 with another body", "<html>accepted</html>", http.StatusAccepted, reloads.StatusCanceling},
		{"202 without a status", "{}", http.StatusAccepted, reloads.StatusCanceling},
		{"200 without a body", "", http.StatusOK, reloads.StatusCanceling},
		{"204", "", http.StatusNoContent, reloads.StatusCanceled},
		{"204 with a body", "{}", http.StatusNoContent, reloads.StatusCanceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire := scripted(respond(c.status, c.body))
			got, err := scriptedClient(t, wire).Cancel(t.Context(), reloadID)
			if got != c.want || err != nil {
				t.Errorf("got %q and %v, want %q", got, err, c.want)
			}
			r := wire.requests()[0]
			if r.Method != "POST" || r.URI != "/api/v1/reloads/"+reloadID+"/actions/cancel" || r.Body != "" {
				t.Errorf("sent %s %s %q", r.Method, r.URI, r.Body)
			}
		})
	}
}

func TestCancelWithUnknownOutcome(t *testing.T) {
	t.Parallel()
	record := func(status reloads.Status) outcome {
		return respond(200, strings.Replace(queued, "QUEUED", string(status), 1))
	}
	for _, c := range []struct {
		name     string
		outcomes []outcome
		want     reloads.Status
		err      error
	}{
		{"refused, but canceled", []outcome{fails(errReset), respond(409, ""), record("CANCELED")}, "CANCELED", nil},
		{"refused, but canceling", []outcome{respond(502, ""), respond(409, ""), record("CANCELING")}, "CANCELING", nil},
		{"refused, because it succeeded", []outcome{fails(errReset), respond(409, ""), record("SUCCEEDED")}, "", reloads.ErrNotCancelable},
		{"not found", []outcome{respond(500, ""), respond(404, ""), respond(404, "")}, "", reloads.ErrNotFound},
		{"refused, and the reload cannot be read", []outcome{fails(errReset), respond(409, ""), respond(403, "")}, "", reloads.ErrForbidden},
		{"refused after it was never sent", []outcome{fails(errDial), respond(409, "")}, "", reloads.ErrNotCancelable},
		{"successful after a retry", []outcome{fails(errReset), respond(204, "")}, "CANCELED", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			wire := scripted(c.outcomes...)
			got, err := scriptedClient(t, wire).Cancel(t.Context(), reloadID)
			// A reload that may have been canceled must not be reported as not cancelable.
			if errors.Is(err, reloads.ErrNotCancelable) != (c.err == reloads.ErrNotCancelable) {
				t.Errorf("%s: %v", c.name, err)
			}
			if got != c.want || !errors.Is(err, c.err) || len(wire.requests()) != len(c.outcomes) {
				t.Errorf("%s: %q and %v after %d requests", c.name, got, err, len(wire.requests()))
			}
		})
	}
}

// The record of another reload is not the result of a call.
func TestRecordOfAnotherReload(t *testing.T) {
	t.Parallel()
	other := respond(200, `{"id":"other","appId":"b","status":"SUCCEEDED"}`)
	synctest.Test(t, func(t *testing.T) {
		wire := scripted(other)
		reload, err := scriptedClient(t, wire).Get(t.Context(), reloadID)
		if e := asError(t, err); reload != nil || e.StatusCode != 200 || len(wire.requests()) != 1 {
			t.Errorf("Get: %v, %v after %d requests", reload, err, len(wire.requests()))
		}

		wire = scripted(fails(errReset), respond(409, ""), respond(200, `{"id":"other","appId":"b","status":"CANCELED"}`))
		status, err := scriptedClient(t, wire).Cancel(t.Context(), reloadID)
		if status != "" || err == nil || !strings.Contains(err.Error(), "it is unknown whether") || errors.Is(err, reloads.ErrNotCancelable) {
			t.Errorf("Cancel: %q, %v", status, err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		run := scriptedClient(t, outcome(func(r *http.Request) (*http.Response, error) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/actions/cancel"):
				return respond(409, "")(r)
			case r.Method == http.MethodPost:
				return respond(201, queued)(r)
			case ctx.Err() == nil:
				return respond(200, queued)(r)
			}
			return other(r)
		}))
		reload, err = run.Run(ctx, reloads.Request{AppID: "app"}, reloads.CancelOnAbort())
		if reload == nil || reload.ID != reloadID || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, reloads.ErrNotCancelable) {
			t.Errorf("Run: %v, %v", reload, err)
		}
	})
}

// An ID is a single segment of the path, whatever characters it contains.
func TestIDsAreEscaped(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"a/b": "a%2Fb", "a/../b": "a%2F..%2Fb", "../apps/x": "..%2Fapps%2Fx", "...": "...",
		"a?b=c": "a%3Fb=c", "a#b": "a%23b", "a b": "a%20b", "50%": "50%25", "%2e%2e": "%252e%252e", "é": "%C3%A9", "a\nb": "a%0Ab",
	} {
		client, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			_ = json.NewEncoder(w).Encode(reloads.Reload{ID: id})
		})
		if _, err := client.Get(t.Context(), id); err != nil {
			t.Errorf("Get(%q): %v", id, err)
		}
		if _, err := client.Cancel(t.Context(), id); err != nil {
			t.Errorf("Cancel(%q): %v", id, err)
		}
		var got []string
		for _, r := range requests.requests() {
			got = append(got, r.URI)
		}
		path := prefix + "/api/v1/reloads/" + want
		if diff := cmp.Diff([]string{path, path + "/actions/cancel"}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", id, diff)
		}
	}
}

func TestInvalidIDsAreNotSent(t *testing.T) {
	t.Parallel()
	client, requests := serve(t, always(http.StatusOK, queued))
	for _, id := range []string{"", ".", ".."} {
		_, err := client.Get(t.Context(), id)
		refusedBeforeSending(t, err, "id", `"`+id+`"`)
		_, err = client.Cancel(t.Context(), id)
		refusedBeforeSending(t, err, "id", `"`+id+`"`)
		_, err = client.Wait(t.Context(), id)
		refusedBeforeSending(t, err, "id", `"`+id+`"`)
	}
	if n := len(requests.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestInvalidLogIDsAreNotSent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ app, reload, argument string }{
		{"", "r", "appID"}, {"..", "r", "appID"}, {"a", "", "reloadID"}, {"a", ".", "reloadID"},
	} {
		wire := scripted(respondStream(strings.NewReader("")))
		_, err := scriptedClient(t, wire).Log(t.Context(), c.app, c.reload)
		refusedBeforeSending(t, err, c.argument)
		if n := len(wire.requests()); n != 0 {
			t.Errorf("%q, %q: %d requests", c.app, c.reload, n)
		}
	}
}

// respondStream responds with body, whose length is not known.
func respondStream(body io.Reader) outcome {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"text/plain"}}
		return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(body), ContentLength: -1, Request: r}, nil
	}
}

// A line can be read before the service has sent the next one. Line endings are not changed.
func TestLogIsStreamed(t *testing.T) {
	t.Parallel()
	first := make(chan struct{}) // closed after the first line was read
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

func TestLogIsNotBuffered(t *testing.T) {
	const size = 65 << 20 // more than the limit of any other body
	chunk := strings.NewReader(strings.Repeat("a line of a long log\r\n", 1000))
	client := scriptedClient(t, scripted(respondStream(io.LimitReader(repeatedReader{chunk}, size))))
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

// repeatedReader reads its text again and again, without end.
type repeatedReader struct{ *strings.Reader }

func (e repeatedReader) Read(p []byte) (int, error) {
	if e.Len() == 0 {
		_, _ = e.Seek(0, io.SeekStart)
	}
	return e.Reader.Read(p)
}

func TestContextEndsLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		log, err := scriptedClient(t, scripted(func(r *http.Request) (*http.Response, error) {
			return respondStream(blockedBody{r.Context()})(r)
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

// A log that another goroutine closes does not look complete.
func TestReadAfterClosingLog(t *testing.T) {
	t.Parallel()
	log, err := scriptedClient(t, scripted(respondStream(strings.NewReader("one\r\ntwo\r\n")))).Log(t.Context(), "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(log); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("got %v, want an error", err)
	}
}

// Neither does a log that ends because its context has ended: a server may notice that nobody reads it.
func TestLogThatEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	context.AfterFunc(ctx, func() { _ = writer.Close() })
	log, err := scriptedClient(t, scripted(respondStream(reader))).Log(ctx, "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(log); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the error of the context", err)
	}
}

// Closing a log stops its download, also while a reader waits for the header of a compressed log.
func TestClosingStalledLogEndsRead(t *testing.T) {
	t.Parallel()
	client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	log, err := client.Log(t.Context(), "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	reading, read := make(chan struct{}), make(chan error)
	go func() {
		close(reading)
		_, err := io.ReadAll(log)
		read <- err
	}()
	<-reading
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; err == nil {
		t.Error("the log looks complete")
	}
}

// A sign-in page is not a confirmation.
func TestCancelWithInvalidResponse(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"<html>Sign in</html>", "x"} {
		client := scriptedClient(t, scripted(respond(200, body, "Content-Type", "text/html")))
		status, err := client.Cancel(t.Context(), reloadID)
		if e := asError(t, err); status != "" || e.StatusCode != 200 || e.Err == nil {
			t.Errorf("%s: got %q, %v", body, status, err)
		}
	}
}

func TestClosingLogEarlyFreesConnection(t *testing.T) {
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
	<-freed // or the time limit of the test ends it
}

func TestTruncatedLogIsAnError(t *testing.T) {
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
		t.Errorf("%d requests, want 1: a log that was partly read cannot be retried", n)
	}
}

func TestLogReadErrorHasNoToken(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause: " + testToken)
	body := io.MultiReader(strings.NewReader("line"), readerFunc(func([]byte) (int, error) { return 0, cause }))
	log, err := scriptedClient(t, scripted(respondStream(body))).Log(t.Context(), "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	checkNoSecrets(t, "the log", printAll(log))
	_, err = io.ReadAll(log)
	if !errors.Is(err, cause) {
		t.Fatalf("got %v", err)
	}
	checkNoSecrets(t, "the error", err.Error())
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A log can be any text, but an HTML page of a gateway is recognized.
func TestHTMLPageIsNotALog(t *testing.T) {
	t.Parallel()
	client := scriptedClient(t, scripted(respond(200, "<html>Sign in", "Content-Type", "text/html; charset=utf-8")))
	_, err := client.Log(t.Context(), "app", reloadID)
	if e := asError(t, err); e.StatusCode != 200 || e.Err == nil || e.Body != "<html>Sign in" {
		t.Errorf("got %v", err)
	}
	empty, err := scriptedClient(t, scripted(respond(204, ""))).Log(t.Context(), "app", reloadID)
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if b, err := io.ReadAll(empty); err != nil || !bytes.Equal(b, nil) {
		t.Errorf("without content: %q, %v", b, err)
	}
}
