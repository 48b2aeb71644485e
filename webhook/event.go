package webhook

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/reloads-go/reloads"
)

// ReloadFinished is the type of the event that the service publishes when a reload has finished: one per reload, even if it
// was executed several times. It is not com.qlik.v1.app.reload.finished, which is about one attempt of the engine.
const ReloadFinished = "com.qlik.v1.reload.finished"

// Event is an event of type [ReloadFinished], a CloudEvent 1.0 (qlik.dev, "Reloads" events).
//
// A field has its zero value if the service did not send it, or sent a value of another JSON type, which is in Extra then. So
// are the whole data if they have no record with an ID, see [Data]. An Event decodes from the JSON of the service and encodes
// to it, with encoding/json. It is a plain value: several goroutines may read one at the same time.
type Event struct {
	// ID identifies the event. Repeated deliveries of an event have the same one.
	ID string `json:"id,omitzero"`
	// Source is the origin of the event: "com.qlik/reloads".
	Source string `json:"source,omitzero"`
	// Type is [ReloadFinished].
	Type string `json:"type,omitzero"`
	// Time is when the event happened, by the clock of the service.
	Time time.Time `json:"time,omitzero"`
	// TenantID identifies the tenant.
	TenantID string `json:"tenantid,omitzero"`
	// Data describes the reload.
	Data Data `json:"data,omitzero"`
	// Extra holds the other attributes of the event by name, such as "specversion" and "userid". They are included when
	// the Event is encoded. It is nil if there are none.
	Extra map[string]json.RawMessage `json:"-"`
}

// Data describes the reload of an [Event].
//
// An unexpected member does not make an event unreadable. If the record of the reload does not decode as a [reloads.Reload],
// because a member has another JSON type or an invalid value, only ID, AppID and Status are taken from it, the latter two if
// they are strings. All other members of the record are in Extra then, the valid ones, too. Succeeded, TaskID and
// DurationSeconds are not part of the record. Each of them is taken if it has its JSON type, and is in Extra otherwise.
type Data struct {
	// Reload is the record of the reload, as far as it is part of an event: there is no EndTime, EngineTime, Log or link.
	// In an event that a handler passes on, the ID is never empty and has at most 256 characters. Extra holds the members
	// that Data has no field for, and those that could not be decoded, as described above.
	reloads.Reload
	// Succeeded reports whether the reload succeeded.
	Succeeded bool
	// TaskID identifies the scheduled task that the reload belongs to.
	TaskID string
	// DurationSeconds is the duration from when the reload had an engine to its end, in seconds.
	DurationSeconds float64
}

// maxID is the maximum length of the ID of a reload, in characters. The IDs of the service have 24.
const maxID = 256

var errNoEvent = errors.New("webhook: the text is not an event of a reload")

// parse decodes the body of a delivery. Of an event of another type it may decode nothing but the type.
func parse(body []byte) (e Event, err error) {
	if err := json.Unmarshal(body, &e); err != nil {
		return e, err
	}
	if e.Type == "" || e.Type == ReloadFinished && (e.Data.ID == "" || utf8.RuneCountInString(e.Data.ID) > maxID) {
		return e, errNoEvent
	}
	return e, nil
}

// UnmarshalJSON decodes an event and replaces e with it. Text that is a JSON object is never an error.
func (e *Event) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	*e = Event{}
	e.Extra = take(members, map[string]any{
		"id": &e.ID, "source": &e.Source, "type": &e.Type, "time": &e.Time, "tenantid": &e.TenantID, "data": &e.Data,
	})
	return nil
}

// take decodes members into the fields with their names. It returns the rest, nil if there is none: members without a field,
// and those whose value the field cannot have, which then keeps its value. They may be of a later version of the service, and
// must not make the event unreadable. Whoever needs a field checks it after take.
func take(members map[string]json.RawMessage, fields map[string]any) (rest map[string]json.RawMessage) {
	for name, field := range fields {
		if value, ok := members[name]; ok && json.Unmarshal(value, field) == nil {
			delete(members, name)
		}
	}
	if len(members) == 0 {
		return nil
	}
	return members
}

// MarshalJSON encodes the event as the service does, with the members of Extra. If a member of Extra has the name of a field
// that is not zero, only the field is encoded.
func (e Event) MarshalJSON() ([]byte, error) {
	type fields Event // has no methods
	text, err := json.Marshal(fields(e))
	if err != nil || len(e.Extra) == 0 {
		return text, err
	}
	members := maps.Clone(e.Extra)
	_ = json.Unmarshal(text, &members) // cannot fail: text is a JSON object
	return json.Marshal(members)
}

// UnmarshalJSON decodes the data of an event and replaces d with it. If the record of the reload does not decode, it takes what
// [Data] says. It returns an error if that fails, because text is not a JSON object or its id is not a string with characters.
func (d *Data) UnmarshalJSON(text []byte) error {
	var decoded Data
	if err := json.Unmarshal(text, &decoded.Reload); err != nil {
		var members map[string]json.RawMessage
		if json.Unmarshal(text, &members) != nil {
			return err
		}
		record := reloads.Reload{}
		record.Extra = take(members, map[string]any{"id": &record.ID, "appId": &record.AppID, "status": &record.Status})
		if record.ID == "" {
			return err
		}
		decoded.Reload = record
	}
	decoded.Extra = take(decoded.Extra, map[string]any{
		"succeeded": &decoded.Succeeded, "taskId": &decoded.TaskID, "durationSeconds": &decoded.DurationSeconds,
	})
	*d = decoded
	return nil
}

// MarshalJSON encodes the data as the service does, with the members of Extra. If a member of Extra has the name of a field that
// is not zero, only the field is encoded.
func (d Data) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(struct {
		Succeeded       bool    `json:"succeeded"`
		TaskID          string  `json:"taskId,omitzero"`
		DurationSeconds float64 `json:"durationSeconds,omitzero"`
	}{d.Succeeded, d.TaskID, d.DurationSeconds})
	if err != nil {
		return nil, err
	}
	record := d.Reload
	record.Extra = maps.Clone(d.Extra)
	_ = json.Unmarshal(text, &record.Extra) // cannot fail, as above
	text, err = json.Marshal(record)
	if err != nil || len(d.Extra) == 0 {
		return text, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	for name, value := range d.Extra { // the record has left out those with the name of a field
		name = strings.ToValidUTF8(name, "\uFFFD") // as the record encodes it
		if field, ok := members[name]; !ok || string(field) == `""` || string(field) == "false" {
			members[name] = value
		}
	}
	return json.Marshal(members)
}
