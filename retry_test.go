package reloads_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
)

// cutOff is an answer whose connection is lost in the middle of its body.
func cutOff(status int) outcome {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: http.Header{}, ContentLength: 100, Body: io.NopCloser(&brokenBody{text: `{"id":`}), Request: r,
		}, nil
	}
}

// What happens to a request decides whether it is sent again, by operation.
func TestRetriesByOutcomeAndOperation(t *testing.T) {
	t.Parallel()
	rate := testdata(t, "error_429_rate.json")
	type want int
	const (
		again  want = iota // it is sent again, and that succeeds
		looks              // a trigger looks for its reload before it is sent again; the others are sent again
		stands             // it is sent once
	)
	for _, c := range []struct {
		name  string
		first outcome
		want  want
	}{
		{"refused connection", fails(errDial), again},
		{"unknown host", fails(errDNS), again},
		{"connection reset", fails(errReset), looks},
		{"connection closed", fails(io.EOF), looks},
		{"timeout", hangs, looks},
		{"500", answer(500, testdata(t, "error_500.json")), looks},
		{"502", answer(502, testdata(t, "gateway_502.html")), looks},
		{"504", answer(504, ""), looks},
		{"503", answer(503, ""), looks},
		{"503 to wait for", answer(503, "", "Retry-After", "2"), again},
		{"503 to wait for, not at all", answer(503, "", "Retry-After", "0"), again},
		{"429 to wait for", answer(429, rate, "Retry-After", "13"), again},
		{"429 of the limit", answer(429, rate), again},
		{"429 of a gateway", answer(429, "<html>"), again},
		{"400", answer(400, testdata(t, "error_400.json")), stands},
		{"403", answer(403, testdata(t, "error_403_forbidden.json")), stands},
		{"quota", answer(403, testdata(t, "error_403_quota.json")), stands},
		{"404", answer(404, testdata(t, "error_404.json")), stands},
		{"409", answer(409, testdata(t, "error_409.json")), stands},
		{"pending", answer(429, testdata(t, "error_429_pending.json")), stands},
	} {
		for _, e := range endpoints {
			t.Run(c.name+" "+e.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					first := true
					wire := plays(func(r *http.Request) (*http.Response, error) {
						switch {
						case e.name == "trigger" && r.Method == http.MethodGet:
							return answer(200, emptyPage)(r) // a look
						case first:
							first = false
							return c.first(r)
						}
						return e.ok(r)
					})
					err := e.call(t.Context(), scriptedClient(t, wire))
					sent, lookups := wire.count(e.method), len(wire.requests())-wire.count(e.method)
					if c.want == stands {
						if err == nil || sent != 1 || lookups != 0 || errors.Is(err, reloads.ErrOutcomeUnknown) {
							t.Errorf("sent %d times with %d looks, error %v; want once and the error", sent, lookups, err)
						}
						return
					}
					if err != nil || sent != 2 {
						t.Errorf("sent %d times, error %v; want twice and none", sent, err)
					}
					if looked := lookups > 0; looked != (c.want == looks && e.name == "trigger") {
						t.Errorf("%d looks", lookups)
					}
					// A wait lies between the two.
					if all := wire.requests(); all[len(all)-1].At.Sub(all[0].At) < 250*time.Millisecond {
						t.Errorf("sent again after %v", all[len(all)-1].At.Sub(all[0].At))
					}
				})
			})
		}
	}
}

func TestABodyThatIsCutOffIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints[:2] {
		synctest.Test(t, func(t *testing.T) {
			wire := plays(cutOff(200), cutOff(200), e.ok)
			if err := e.call(t.Context(), scriptedClient(t, wire)); err != nil || len(wire.requests()) != 3 {
				t.Errorf("%s: %d requests, %v", e.name, len(wire.requests()), err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		wire := plays(cutOff(201), answer(200, emptyPage))
		_, err := scriptedClient(t, wire, none).Trigger(t.Context(), reloads.Request{AppID: "app"})
		if !errors.Is(err, reloads.ErrOutcomeUnknown) || !errors.Is(err, errReset) || wire.count("POST") != 1 {
			t.Errorf("trigger: sent %d times, %v", wire.count("POST"), err)
		}
	})
}

func TestACancelWhoseOutcomeWasUnclear(t *testing.T) {
	t.Parallel()
	record := func(status reloads.Status) outcome {
		return answer(200, strings.Replace(queued, "QUEUED", string(status), 1))
	}
	for _, c := range []struct {
		name     string
		outcomes []outcome
		want     reloads.Status
		err      error
	}{
		{"refused, but canceled", []outcome{fails(errReset), answer(409, ""), record("CANCELED")}, "CANCELED", nil},
		{"refused, but canceling", []outcome{answer(502, ""), answer(409, ""), record("CANCELING")}, "CANCELING", nil},
		{"refused, for it succeeded", []outcome{fails(errReset), answer(409, ""), record("SUCCEEDED")}, "", reloads.ErrNotCancelable},
		{"not found", []outcome{answer(500, ""), answer(404, ""), answer(404, "")}, "", reloads.ErrNotFound},
		{"refused, and nobody can tell", []outcome{fails(errReset), answer(409, ""), answer(403, "")}, "", reloads.ErrForbidden},
		{"refused after it was never sent", []outcome{fails(errDial), answer(409, "")}, "", reloads.ErrNotCancelable},
		{"done at last", []outcome{fails(errReset), answer(204, "")}, "CANCELED", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			wire := plays(c.outcomes...)
			got, err := scriptedClient(t, wire).Cancel(t.Context(), reloadID)
			// What may have been cancelled is not called uncancelable.
			if errors.Is(err, reloads.ErrNotCancelable) != (c.err == reloads.ErrNotCancelable) {
				t.Errorf("%s: %v", c.name, err)
			}
			if got != c.want || !errors.Is(err, c.err) || len(wire.requests()) != len(c.outcomes) {
				t.Errorf("%s: %q and %v after %d requests", c.name, got, err, len(wire.requests()))
			}
		})
	}
}

// Over real sockets: what was never sent is told from what was.
func TestASocketTellsWhetherTheTriggerWasSent(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + listener.Addr().String()
	_ = listener.Close()
	client, err := reloads.NewClient(closed, reloads.APIKey(testToken), reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 2, MinBackoff: 1, MaxBackoff: 2}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Trigger(t.Context(), reloads.Request{AppID: "app"})
	if err == nil || errors.Is(err, reloads.ErrOutcomeUnknown) {
		t.Errorf("a closed port: %v", err)
	}

	url, requests := gateway(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusForbidden) // the token may not look
			return
		}
		panic(http.ErrAbortHandler)
	})
	if client, err = reloads.NewClient(url, reloads.APIKey(testToken)); err != nil {
		t.Fatal(err)
	}
	_, err = client.Trigger(t.Context(), reloads.Request{AppID: "app"})
	if !errors.Is(err, reloads.ErrOutcomeUnknown) || requests.count("POST") != 1 {
		t.Errorf("a lost connection: sent %d times, %v", requests.count("POST"), err)
	}
	if text := fmt.Sprint(err); !strings.Contains(text, "EOF") {
		t.Errorf("%v does not say what went wrong", err)
	}
}
