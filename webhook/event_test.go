package webhook_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/webhook"
)

// fullEvent is an event with all fields that Event and Data have, and with others.
const fullEvent = `{
	"specversion": "1.0", "id": "b347fd0d", "source": "com.qlik/reloads", "type": "com.qlik.v1.reload.finished", "time": "2026-10-30T07:06:22.5Z",
	"datacontenttype": "application/json", "host": "tenant.example.com", "tenantid": "t1", "userid": "u1", "authclaims": "{\"sub\":\"u1\"}",
	"data": {
		"id": "6a849f7f18ec290e6ceb025d", "appId": "a1", "tenantId": "t1", "userId": "u1", "type": "chronos", "status": "FAILED", "succeeded": false,
		"partial": true, "weight": 1.0, "errorCode": "EngineConnectionError", "errorMessage": "no <engine>", "resourceId": "nightly",
		"resourceType": "tasks", "taskId": "task1", "creationTime": "2026-10-30T07:00:00Z", "startTime": "2026-10-30T07:01:00.25Z",
		"durationSeconds": 321.5, "lastReloadTime": "", "requeueCounters": {"requeuesTotal": 2, "requeuesWithErrors": 1}, "reloadPacksFactor": 0.5
	}
}`

func decode(t *testing.T, text string) (e webhook.Event) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestDecodeEvent(t *testing.T) {
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	at := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	want := webhook.Event{
		ID: "b347fd0d", Source: "com.qlik/reloads", Type: webhook.ReloadFinished, Time: at("2026-10-30T07:06:22.5Z"), TenantID: "t1",
		Data: webhook.Data{
			Reload: reloads.Reload{
				ID: "6a849f7f18ec290e6ceb025d", AppID: "a1", TenantID: "t1", UserID: "u1", Type: reloads.TypeChronos, Status: reloads.StatusFailed,
				Partial: true, Weight: 1, ErrorCode: "EngineConnectionError", ErrorMessage: "no <engine>", ResourceID: "nightly", ResourceType: "tasks",
				CreationTime: at("2026-10-30T07:00:00Z"), StartTime: at("2026-10-30T07:01:00.25Z"),
				Extra: map[string]json.RawMessage{
					"lastReloadTime": raw(`""`), "requeueCounters": raw(`{"requeuesTotal": 2, "requeuesWithErrors": 1}`), "reloadPacksFactor": raw("0.5"),
				},
			},
			TaskID: "task1", DurationSeconds: 321.5,
		},
		Extra: map[string]json.RawMessage{
			"specversion": raw(`"1.0"`), "datacontenttype": raw(`"application/json"`), "host": raw(`"tenant.example.com"`), "userid": raw(`"u1"`),
			"authclaims": raw(`"{\"sub\":\"u1\"}"`),
		},
	}
	if diff := cmp.Diff(want, decode(t, fullEvent)); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	minimal := webhook.Event{
		ID: "e1", Source: "com.qlik/reloads", Type: webhook.ReloadFinished,
		Data:  webhook.Data{Reload: reloads.Reload{ID: "r1", AppID: "a1", UserID: "u1"}, Succeeded: true},
		Extra: map[string]json.RawMessage{"specversion": raw(`"1.0"`)},
	}
	if diff := cmp.Diff(minimal, decode(t, event)); diff != "" {
		t.Errorf("minimal event (-want +got):\n%s", diff)
	}
}

// Values of other types than documented do not make an event unreadable, and are kept.
func TestDecodeEventWithOtherTypes(t *testing.T) {
	got := decode(t, `{"id":1,"time":"yesterday","TYPE":"x","tenantid":null,"data":{"id":"r1","succeeded":"yes","taskId":7,"durationSeconds":"1","startTime":""}}`)
	want := webhook.Event{
		Data: webhook.Data{Reload: reloads.Reload{ID: "r1", Extra: map[string]json.RawMessage{
			"succeeded": json.RawMessage(`"yes"`), "taskId": json.RawMessage("7"), "durationSeconds": json.RawMessage(`"1"`),
		}}},
		Extra: map[string]json.RawMessage{"id": json.RawMessage("1"), "time": json.RawMessage(`"yesterday"`), "TYPE": json.RawMessage(`"x"`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	got = decode(t, `{"type":"other","data":[1]}`)
	want = webhook.Event{Type: "other", Extra: map[string]json.RawMessage{"data": json.RawMessage("[1]")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

// A record that does not decode because of one member still has its ID, and loses nothing.
func TestDecodeRecordWithOtherTypes(t *testing.T) {
	for _, member := range []string{`"partial":"false"`, `"weight":1.5`, `"startTime":5`, `"userId":{}`, `"links":7`, `"status":4`, `"appId":["a"]`} {
		want := map[string]any{}
		text := `{"id":"r1","appId":"a1","status":"FAILED","type":"chronos","x":1,"succeeded":true,"taskId":"t1","durationSeconds":2,` + member + `}`
		if err := json.Unmarshal([]byte(text), &want); err != nil { // the last of duplicate members counts
			t.Fatal(err)
		}
		e := decode(t, `{"type":"com.qlik.v1.reload.finished","data":`+text+`}`)
		appID, _ := want["appId"].(string)
		status, _ := want["status"].(string)
		name, _, _ := strings.Cut(strings.Trim(member, `"`), `"`)
		_, kept := e.Data.Extra[name]
		if d := e.Data; d.ID != "r1" || d.AppID != appID || string(d.Status) != status || string(d.Extra["x"]) != "1" || !kept ||
			string(d.Extra["type"]) != `"chronos"` || !d.Succeeded || d.TaskID != "t1" || d.DurationSeconds != 2 {
			t.Errorf("%s: got %+v", member, d)
		}
		checkRoundTrip(t, e)
		got := map[string]any{}
		encoded, err := json.Marshal(e.Data)
		if err == nil {
			err = json.Unmarshal(encoded, &got)
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range want {
			if diff := cmp.Diff(value, got[name]); diff != "" {
				t.Errorf("%s: encoded %s (-want +got):\n%s", member, name, diff)
			}
		}
	}
}

// Data without a readable record stay as they are.
func TestDecodeDataWithoutID(t *testing.T) {
	for _, data := range []string{`{"id":1,"appId":"a1"}`, `{"id":"","partial":"false"}`, `{"id":null,"partial":"false"}`, `{"partial":"false"}`, `"r1"`} {
		want := webhook.Event{Type: "x", Extra: map[string]json.RawMessage{"data": json.RawMessage(data)}}
		if diff := cmp.Diff(want, decode(t, `{"type":"x","data":`+data+`}`)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", data, diff)
		}
	}
}

// Decoding replaces the whole event.
func TestDecodeReplacesAnEvent(t *testing.T) {
	e := decode(t, fullEvent)
	if err := json.Unmarshal([]byte(`{"data":{}}`), &e); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(webhook.Event{}, e); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

// checkRoundTrip checks that encoding an event loses nothing that the event has.
func checkRoundTrip(t *testing.T, e webhook.Event) {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(decode(t, string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(again)); diff != "" {
		t.Errorf("encoded again (-first +second):\n%s", diff)
	}
}

func TestEncodeInvalidEvents(t *testing.T) {
	for _, e := range []webhook.Event{
		{Extra: map[string]json.RawMessage{"x": json.RawMessage("{")}},
		{Data: webhook.Data{DurationSeconds: math.NaN()}},
		{Data: webhook.Data{Reload: reloads.Reload{Extra: map[string]json.RawMessage{"x": json.RawMessage("{")}}}},
	} {
		if text, err := json.Marshal(e); err == nil {
			t.Errorf("%+v: no error, but %s", e, text)
		}
	}
}

func TestEncodeEvent(t *testing.T) {
	for _, text := range []string{fullEvent, event, `{"type":"other","data":[1],"id":5}`} {
		e := decode(t, text)
		checkRoundTrip(t, e)
		encoded, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]any
		for text, members := range map[string]*map[string]any{text: &want, string(encoded): &got} {
			if err := json.Unmarshal([]byte(text), members); err != nil {
				t.Fatal(err)
			}
		}
		// A Reload always encodes these members.
		if data, ok := want["data"].(map[string]any); ok {
			for _, name := range []string{"tenantId", "type", "status"} {
				if _, ok := data[name]; !ok {
					data[name] = ""
				}
			}
			if _, ok := data["partial"]; !ok {
				data["partial"] = false
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
