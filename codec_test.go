package reloads_test

import (
	stdjson "encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

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

func decode(t testing.TB, text string) reloads.Reload {
	t.Helper()
	var r reloads.Reload
	if err := r.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatalf("%s: %v", text, err)
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

// The record is decoded by a switch and encoded by its tags: each tag needs a case, and none may be left over.
func TestEveryTaggedFieldIsDecoded(t *testing.T) {
	t.Parallel()
	samples := map[reflect.Type]string{
		reflect.TypeFor[bool](): "true", reflect.TypeFor[int](): "3", reflect.TypeFor[time.Time](): `"2026-11-04T03:00:00Z"`,
		reflect.TypeFor[reloads.Links](): `{"self":{"href":"x"}}`,
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[reloads.Reload]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			continue // Extra
		}
		sample := samples[field.Type]
		if sample == "" {
			sample = `"x"`
		}
		for _, text := range []string{
			fmt.Sprintf(`{%q:%s}`, name, sample),
			fmt.Sprintf(`{"\u%04x%s":%s}`, name[0], name[1:], sample), // the same name, escaped
		} {
			r := decode(t, text)
			if reflect.ValueOf(r).FieldByIndex(field.Index).IsZero() || r.Extra != nil {
				t.Errorf("%s does not reach the field %s", text, field.Name)
			}
			if field.Name == "Partial" || field.Name == "Weight" {
				continue // their null is a zero as well, of the JSON package
			}
			if r := decode(t, fmt.Sprintf(`{%q:null}`, name)); !reflect.ValueOf(r).IsZero() {
				t.Errorf("a null %s gives %+v", name, r)
			}
		}
	}
}

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
