package reloads_test

import (
	stdjson "encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/reloads-go/reloads"
)

func TestTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 4, 3, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		`null`: {}, `""`: {}, `"0001-01-01T00:00:00Z"`: {}, `"0001-01-01T00:00:00.000Z"`: {},
		`"2026-11-04T03:00:00Z"`:           at,
		`"2026-11-04T03:00:00.1Z"`:         at.Add(100 * time.Millisecond),
		`"2026-11-04T03:00:00.12Z"`:        at.Add(120 * time.Millisecond),
		`"2026-11-04T03:00:00.123Z"`:       at.Add(123 * time.Millisecond),
		`"2026-11-04T03:00:00.123456789Z"`: at.Add(123456789),
		`"2026-11-04T04:30:00+01:30"`:      at,
		`"2026-11-03T22:00:00.5-05:00"`:    at.Add(500 * time.Millisecond),
		`"2026-11-04T03\u003a00:00Z"`:      at,
	} {
		for _, field := range []string{"creationTime", "startTime", "endTime", "engineTime"} {
			r := decode(t, fmt.Sprintf(`{%q:%s}`, field, text))
			got := map[string]time.Time{
				"creationTime": r.CreationTime, "startTime": r.StartTime, "endTime": r.EndTime, "engineTime": r.EngineTime,
			}
			if diff := cmp.Diff(map[string]time.Time{field: want}, got, cmpopts.IgnoreMapEntries(func(_ string, v time.Time) bool { return v.IsZero() })); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", field, text, diff)
			}
			if want.IsZero() && !got[field].IsZero() {
				t.Errorf("%s %s is %v, want the zero time", field, text, got[field])
			}
		}
	}
	for n := range 10 {
		fraction := strings.Repeat("0", n)
		if n > 0 {
			fraction = "." + fraction
		}
		if r := decode(t, `{"endTime":"2026-11-04T03:00:00`+fraction+`Z"}`); !r.EndTime.Equal(at) {
			t.Errorf("with %d fraction digits: %v", n, r.EndTime)
		}
	}
}

func TestDecodeIsLenientWhereADecoderUsuallyIs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]reloads.Reload{
		`{"id":"1","id":"2"}`:                   {ID: "2"},
		`{"x":1,"x":2}`:                         {Extra: map[string]stdjson.RawMessage{"x": stdjson.RawMessage("2")}},
		"{\"log\":\"a\xffb\"}":                  {Log: "a\uFFFDb"},
		`{"log":"\ud800"}`:                      {Log: "\uFFFD"},
		` { "id" : "1" } ` + "\n":               {ID: "1"},
		`{"status":"PAUSED","type":"moon"}`:     {Status: "PAUSED", Type: "moon"},
		`{"links":null}`:                        {},
		`{"links":{"self":null}}`:               {},
		`{"links":{"self":{"href":null}}}`:      {},
		`{"ID":"1"}`:                            {Extra: map[string]stdjson.RawMessage{"ID": stdjson.RawMessage(`"1"`)}},
		`{"id":"1","appId":"1","log":"\u00e9"}`: {ID: "1", AppID: "1", Log: "é"},
	} {
		if diff := cmp.Diff(want, decode(t, text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestBrokenRecordsAreErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, ` `, `null`, `[]`, `"x"`, `1`, `{`, `{"id"`, `{"id":`, `{"id":"1"`, `{"id":"1",}`, `{"id":"1"}{"id":"2"}`, `{"id":"1"}x`, `{}]`,
		`{"id":1}`, `{"id":{}}`, `{"appId":[]}`, `{"tenantId":true}`, `{"userId":0}`, `{"type":1}`, `{"status":1}`, `{"resourceId":1}`,
		`{"resourceType":1}`, `{"errorCode":1}`, `{"errorMessage":{}}`, `{"log":[]}`, `{"partial":"false"}`, `{"partial":0}`,
		`{"weight":"1"}`, `{"weight":1.5}`, `{"weight":1e99}`, `{"creationTime":1}`, `{"startTime":"yesterday"}`, `{"endTime":"2026-11-04"}`,
		`{"engineTime":"2026-13-04T03:00:00Z"}`, `{"links":"x"}`, `{"links":{"self":{"href":1}}}`, `{"x":tru}`, `{id:"1"}`,
	} {
		var r reloads.Reload
		if err := r.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%q decodes to %+v", text, r)
		}
		wire := plays(answer(http.StatusOK, text))
		_, err := scriptedClient(t, wire).Get(t.Context(), reloadID)
		if e := asError(t, err); e.StatusCode != http.StatusOK || e.Err == nil || len(wire.requests()) != 1 {
			t.Errorf("Get of %q: %d requests and %#v", text, len(wire.requests()), e)
		}
	}
	for text, says := range map[string]string{`{"weight":"1"}`: "weight", `{"id":1}`: "id", `{"endTime":"noon"}`: "endTime"} {
		var r reloads.Reload
		if err := r.UnmarshalJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the error of %s does not name the member: %v", text, err)
		}
	}
}

// Texts that records of a page share, and those that they do not share, come out right.
func TestRecordsOfAPageKeepTheirOwnTexts(t *testing.T) {
	t.Parallel()
	var texts []string
	var want []reloads.Reload
	for i := range 250 { // more than a page may have
		r := documented
		r.ID = fmt.Sprint("r", i)
		r.UserID = fmt.Sprint("u", i/3)
		r.Status = []reloads.Status{reloads.StatusFailed, reloads.StatusSucceeded, ""}[i%3]
		if i%4 == 0 {
			r.ErrorCode, r.ErrorMessage, r.Log = "", "", ""
		}
		encoded, err := stdjson.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		texts, want = append(texts, string(encoded)), append(want, r)
	}
	client := scriptedClient(t, plays(answer(http.StatusOK, `{"data":[`+strings.Join(texts, ",")+`],"links":null}`)))
	page, err := client.List(t.Context(), reloads.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The next answer goes to the same buffer: the first page must not hold on to it.
	if _, err := client.List(t.Context(), reloads.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&reloads.Page{Reloads: want}, page); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
