package reloads_test

import (
	stdjson "encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/reloads-go/reloads"
)

// codecs are the JSON packages that a user may have.
var codecs = map[string]struct {
	marshal   func(any) ([]byte, error)
	unmarshal func([]byte, any) error
}{
	"encoding/json": {stdjson.Marshal, stdjson.Unmarshal},
	"v2": {
		func(v any) ([]byte, error) { return json.Marshal(v) },
		func(b []byte, v any) error { return json.Unmarshal(b, v) },
	},
}

// decode decodes a record. The decoders of responses must agree.
func decode(t testing.TB, text string) reloads.Reload {
	t.Helper()
	var r reloads.Reload
	if err := r.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	of, err := reloads.DecodeReload([]byte(text))
	if diff := cmp.Diff(r, *of); diff != "" || err != nil {
		t.Errorf("%s as a response: %v (-want +got):\n%s", text, err, diff)
	}
	page, err := reloads.DecodePage([]byte(`{"data":[` + text + `]}`))
	if diff := cmp.Diff([]reloads.Reload{r}, page.Data); r.ID != "" && (diff != "" || err != nil) {
		t.Errorf("%s in a page: %v (-want +got):\n%s", text, err, diff)
	}
	return r
}

func TestReloadsSurviveARoundTrip(t *testing.T) {
	t.Parallel()
	all := map[string]reloads.Reload{"zero": {}, "offset": {
		CreationTime: time.Date(2026, 11, 4, 3, 0, 0, 1, time.FixedZone("", 3600)),
	}, "unknown values": {Status: "PAUSED", Type: "moon", ResourceType: "spaceship", Weight: -3}}
	for file, r := range records {
		all[file] = r
	}
	for name, want := range all {
		for codec, c := range codecs {
			encoded, err := c.marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			var got reloads.Reload
			if err := c.unmarshal(encoded, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, codec, diff)
			}
			viaPointer, err := c.marshal(&want)
			if err != nil || string(viaPointer) != string(encoded) {
				t.Errorf("%s, %s: a pointer encodes to %s, %v", name, codec, viaPointer, err)
			}
		}
	}
}

// A record that was decoded and encoded says the same as the service did.
func TestRecordsEncodeAsTheServiceSentThem(t *testing.T) {
	t.Parallel()
	object := func(text []byte) (m map[string]any) {
		if err := stdjson.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	for file := range records {
		text := testdata(t, file)
		encoded, err := stdjson.Marshal(decode(t, text))
		if err != nil {
			t.Fatal(err)
		}
		want, got := object([]byte(text)), object(encoded)
		if want["partial"] == nil {
			want["partial"] = false // absent means false
		}
		for _, m := range []map[string]any{want, got} {
			for name, value := range m {
				if strings.HasSuffix(name, "Time") { // .10Z and .1Z are the same time
					at, err := time.Parse(time.RFC3339, value.(string))
					if err != nil {
						t.Fatal(err)
					}
					m[name] = at
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestUnknownMembersSurvive(t *testing.T) {
	t.Parallel()
	const text = `{"id":"1","appId":"","tenantId":"","userId":"","type":"","status":"","partial":false,` +
		`"links":{"self":{"href":"x","method":"GET"},"log":{"href":"y"}},"priority":{"a":[1,null]},"z":null,"ünit":"é"}`
	want := reloads.Reload{
		ID: "1",
		Links: reloads.Links{
			Self:  reloads.Link{Href: "x", Extra: map[string]stdjson.RawMessage{"method": stdjson.RawMessage(`"GET"`)}},
			Extra: map[string]stdjson.RawMessage{"log": stdjson.RawMessage(`{"href":"y"}`)},
		},
		Extra: map[string]stdjson.RawMessage{
			"priority": stdjson.RawMessage(`{"a":[1,null]}`), "ünit": stdjson.RawMessage(`"é"`), "z": stdjson.RawMessage("null"),
		},
	}
	for codec, c := range codecs {
		var got reloads.Reload
		if err := c.unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", codec, diff)
		}
		encoded, err := c.marshal(got)
		if err != nil || string(encoded) != text {
			t.Errorf("%s: %v\n%s\nwant\n%s", codec, err, encoded, text)
		}
		// As members of something else, too.
		list, err := c.marshal([]*reloads.Reload{&got})
		if err != nil || string(list) != "["+text+"]" {
			t.Errorf("%s, in a list: %v\n%s", codec, err, list)
		}
	}
}

// A decode replaces what the reload held before.
func TestDecodeStartsAfresh(t *testing.T) {
	t.Parallel()
	r := documented
	r.Extra = map[string]stdjson.RawMessage{"old": stdjson.RawMessage("1")}
	if err := stdjson.Unmarshal([]byte(`{"id":"2"}`), &r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(reloads.Reload{ID: "2"}, r); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	before := r
	if err := stdjson.Unmarshal([]byte(`{"id":"3","partial":"no"}`), &r); err == nil || cmp.Diff(before, r) != "" {
		t.Errorf("after a failed decode: %v, %v", r, err)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 4, 3, 0, 0, 0, time.UTC)
	times := map[string]time.Time{
		`null`: {}, `""`: {}, `"0001-01-01T00:00:00Z"`: {}, `"0001-01-01T00:00:00.000Z"`: {},
		`"0001-01-01T00:00:00-05:00"`: {}, `"0001-12-31T23:59:59Z"`: {}, `"0002-01-01T00:00:00Z"`: time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC),
		`"2026-11-04T03:00:00Z"`:           at,
		`"2026-11-04T03:00:00.1Z"`:         at.Add(100 * time.Millisecond),
		`"2026-11-04T03:00:00.12Z"`:        at.Add(120 * time.Millisecond),
		`"2026-11-04T03:00:00.123Z"`:       at.Add(123 * time.Millisecond),
		`"2026-11-04T03:00:00.123456789Z"`: at.Add(123456789),
		`"2026-11-04T04:30:00+01:30"`:      at,
		`"2026-11-03T22:00:00.5-05:00"`:    at.Add(500 * time.Millisecond),
		`"2026-11-04T03\u003a00:00Z"`:      at,
	}
	for n := range 9 {
		times[`"2026-11-04T03:00:00.0`+strings.Repeat("0", n)+`Z"`] = at
	}
	for text, want := range times {
		want := reloads.Reload{ID: "1", CreationTime: want, StartTime: want, EndTime: want, EngineTime: want}
		got := decode(t, strings.ReplaceAll(`{"id":"1","creationTime":@,"startTime":@,"endTime":@,"engineTime":@}`, "@", text))
		if diff := cmp.Diff(want, got); diff != "" || want.EndTime.IsZero() != got.EndTime.IsZero() {
			t.Errorf("%s (-want +got):\n%s", text, diff)
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
		``, ` `, `[]`, `"x"`, `1`, `{`, `{"id"`, `{"id":`, `{"id":"1"`, `{"id":"1",}`, `{"id":"1"}{"id":"2"}`, `{"id":"1"}x`, `{}]`,
		`{"id":1}`, `{"id":{}}`, `{"appId":[]}`, `{"tenantId":true}`, `{"userId":0}`, `{"type":1}`, `{"status":1}`, `{"resourceId":1}`,
		`{"resourceType":1}`, `{"errorCode":1}`, `{"errorMessage":{}}`, `{"log":[]}`, `{"partial":"false"}`, `{"partial":0}`,
		`{"weight":"1"}`, `{"weight":1.5}`, `{"weight":1e99}`, `{"weight":-1e999}`, `{"weight":9007199254740993.0}`, `{"weight":[1]}`, `{"creationTime":1}`, `{"startTime":"yesterday"}`, `{"endTime":"2026-11-04"}`,
		`{"engineTime":"2026-13-04T03:00:00Z"}`, `{"links":"x"}`, `{"links":{"self":{"href":1}}}`, `{"x":tru}`, `{id:"1"}`,
	} {
		var r reloads.Reload
		if err := r.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%q decodes to %+v", text, r)
		}
		wire := scripted(respond(http.StatusOK, text))
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

// A weight is an integer, however the number is written.
func TestWeights(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"1": 1, "1.0": 1, "5e0": 5, "1E+1": 10, "70.0e-1": 7, "-3.000": -3, "-0.0": 0, "2147483647.0": 1<<31 - 1, "null": 0,
	} {
		if r := decode(t, `{"weight":`+text+`}`); r.Weight != want {
			t.Errorf("%s is decoded as %d, want %d", text, r.Weight, want)
		}
	}
}

// By convention, decoding a null changes nothing. A response that is a null is invalid.
func TestNullIsANoOp(t *testing.T) {
	t.Parallel()
	for codec, c := range codecs {
		outer := struct{ R reloads.Reload }{documented}
		if err := c.unmarshal([]byte(`{"R": null }`), &outer); err != nil || cmp.Diff(documented, outer.R) != "" {
			t.Errorf("%s: %v, %v", codec, outer.R, err)
		}
		if err := outer.R.UnmarshalJSON([]byte(" null\n")); err != nil || cmp.Diff(documented, outer.R) != "" {
			t.Errorf("%v, %v", outer.R, err)
		}
	}
	for _, text := range []string{`null`, `{"data":null}`, `{"data":[null]}`} {
		client := scriptedClient(t, scripted(respond(http.StatusOK, text)))
		_, get := client.Get(t.Context(), reloadID)
		_, list := client.List(t.Context(), reloads.ListOptions{})
		for _, err := range []error{get, list} {
			if e := asError(t, err); e.StatusCode != http.StatusOK || e.Err == nil {
				t.Errorf("%s: %#v", text, e)
			}
		}
	}
}

// The last of duplicate members replaces the others. It is not merged with them.
func TestTheLastOfDuplicateMembersWins(t *testing.T) {
	t.Parallel()
	const record = `{"links":{"self":{"x":1},"y":1,"self":{"href":"a"}},"links":{"self":{"href":"b","z":1},"self":{"href":"c"}}}`
	if diff := cmp.Diff(reloads.Reload{Links: reloads.Links{Self: reloads.Link{Href: "c"}}}, decode(t, record)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	for text, want := range map[string]reloads.Page{
		`{"links":{"self":{"href":"a"},"next":{"href":"?b"}},"links":{"prev":{"href":"?c"}}}`:               {Prev: "?c"},
		`{"links":{"next":{"href":"?a","x":1},"next":{}}}`:                                                  {},
		`{"links":{"next":{"href":"?a"}},"links":null}`:                                                     {},
		`{"data":[{"id":"1","log":"x"},{"id":"2"}],"data":[{"id":"3"}],"links":{"next":{"href":"?next="}}}`: {Reloads: []reloads.Reload{{ID: "3"}}, Next: "?next="},
	} {
		page, err := reloads.DecodePage([]byte(text))
		got := reloads.Page{Reloads: page.Data, Next: page.Links.Next.Href, Prev: page.Links.Prev.Href, Self: page.Links.Self.Href}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

func TestExtraNeverRepeatsAName(t *testing.T) {
	t.Parallel()
	type extra = map[string]stdjson.RawMessage
	one, two := stdjson.RawMessage("1"), stdjson.RawMessage("2")
	const first = `{"id":"","appId":"","tenantId":"","userId":"","type":"","status":"","partial":false`
	for want, r := range map[string]reloads.Reload{
		first + `,"x":2}`:       {Extra: extra{"id": one, "partial": one, "x": two}},
		first + `,"":1,"ID":2}`: {Extra: extra{"": one, "ID": two, "log": one}}, // log is a known field, if an empty one
		first + `,"links":{"self":{"href":"a","x":1},"y":2}}`: {
			Links: reloads.Links{Self: reloads.Link{Href: "a", Extra: extra{"href": two, "x": one}}, Extra: extra{"self": one, "y": two}},
		},
		first + `}`:                   {Links: reloads.Links{Extra: extra{"self": one}}},
		first + `,"a` + "\uFFFD\":2}": {Extra: extra{"a\xfe": one, "a\xff": two}}, // both are encoded as U+FFFD
	} {
		before := maps.Clone(r.Extra)
		encoded, err := r.MarshalJSON()
		if err != nil || string(encoded) != want {
			t.Errorf("%v\n%s\nwant\n%s", err, encoded, want)
		}
		if diff := cmp.Diff(before, r.Extra); diff != "" {
			t.Errorf("the map of the caller has changed:\n%s", diff)
		}
	}
}

// The buffer of a response is used again, and may be much larger than the record of it that a caller keeps.
func TestRecordsDoNotShareMemoryWithTheResponse(t *testing.T) {
	t.Parallel()
	var texts []string
	want := []reloads.Reload{}
	for i := range 250 { // more than a page may have
		r := documented
		r.ID, r.UserID, r.Status = fmt.Sprint("r", i), fmt.Sprint("u", i/3), []reloads.Status{reloads.StatusFailed, ""}[i%2]
		r.Extra = map[string]stdjson.RawMessage{"x": stdjson.RawMessage(fmt.Sprint(i))}
		encoded, err := stdjson.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		texts, want = append(texts, string(encoded)), append(want, r)
	}
	body := []byte(`{"data":[` + strings.Join(texts, ",") + `]}`)
	page, err := reloads.DecodePage(body)
	clear(body)
	if diff := cmp.Diff(want, page.Data); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestErrorBodiesInEverySpelling has more of them.
func TestErrorBodies(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]reloads.ErrorDetail{
		`null`: nil, `{"errors":null}`: nil, `{"errors":[1],"traceId":"T"}`: nil, `{"errors":[{}]}{}`: nil, `{"errors":[{}]`: nil,
		`{"errors":[null,{"code":"\u0041"}]}`:                     {{}, {Code: "A"}},
		`{"ERRORS":[{"details":[1, 2],"detail":"","TITLE":"B"}]}`: {{Title: "B", Detail: "[1, 2]"}},
		"{\"errors\":[{\"title\":[\"\xff\"]}]}":                   {{Title: "[\"\uFFFD\"]"}},
	} {
		details, traceID := reloads.DecodeErrorBody([]byte(body))
		if diff := cmp.Diff(want, details); diff != "" || traceID != "" {
			t.Errorf("%s: %q (-want +got):\n%s", body, traceID, diff)
		}
	}
}

func FuzzReload(f *testing.F) {
	for file := range records {
		f.Add([]byte(testdata(f, file)))
	}
	f.Add([]byte(`{"id":"1","x":{"a":[1]},"links":{"self":{"href":"x","y":1},"z":{}}}`))
	f.Add([]byte(`{"\u0069d":"1","endTime":"0001-01-01T00:00:00Z","log":"` + "\xff" + `"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var first, second reloads.Reload
		if first.UnmarshalJSON(text) != nil {
			return
		}
		encoded, err := first.MarshalJSON()
		if err != nil {
			t.Fatalf("%+v does not encode: %v", first, err)
		}
		if err := second.UnmarshalJSON(encoded); err != nil {
			t.Fatalf("%s does not decode: %v", encoded, err)
		}
		// Raw members may change their spelling, but no more.
		ignore := cmpopts.IgnoreTypes(map[string]stdjson.RawMessage{})
		if diff := cmp.Diff(first, second, ignore); diff != "" {
			t.Errorf("%s\nbecame\n%s\n%s", text, encoded, diff)
		}
		if len(first.Extra) != len(second.Extra) {
			t.Errorf("of the unknown members %v there are %v left", first.Extra, second.Extra)
		}
		again, err := second.MarshalJSON()
		if err != nil || string(again) != string(encoded) {
			t.Errorf("%s\nbecame\n%s, %v", encoded, again, err)
		}
	})
}

func FuzzPage(f *testing.F) {
	for _, file := range []string{"page.json", "record.json", "error_400.json", "error_cut_off.json"} {
		b, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"data":[],"links":{"next":{"href":"?a"}},"data":[{"id":"1"},{"id":"1","x":1}]}`))
	f.Add([]byte(`{"d\u0061ta":null,"links":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		page, err := reloads.DecodePage(text)
		if err != nil {
			return
		}
		// Each record of a page is what it would be alone.
		for _, r := range page.Data {
			encoded, err := r.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			var alone reloads.Reload
			if err := alone.UnmarshalJSON(encoded); err != nil {
				t.Fatalf("%s: %v", encoded, err)
			}
			if again, err := alone.MarshalJSON(); err != nil || cmp.Diff(string(encoded), string(again)) != "" {
				t.Errorf("%s\nbecame\n%s, %v", encoded, again, err)
			}
		}
		if c := reloads.CursorOf(page.Links.Next); c != "" && !strings.HasPrefix(c, "?") {
			t.Errorf("the cursor is %q", c)
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		b, err := os.ReadFile("testdata/" + entry.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"errors":[{"code":1,"title":{},"detail":null},null],"traceId":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		details, traceID := reloads.DecodeErrorBody(body)
		if len(details) == 0 && (details != nil || traceID != "") {
			t.Errorf("%q: %+v, %q", body, details, traceID)
		}
		for _, d := range details {
			if !utf8.ValidString(d.String()) {
				t.Errorf("%q: %q is not valid UTF-8", body, d)
			}
		}
	})
}
