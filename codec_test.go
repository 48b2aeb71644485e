package reloads_test

import (
	stdjson "encoding/json"
	"fmt"
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
