package reloads

import (
	"cmp"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// lenient accepts duplicate names and invalid UTF-8, as most decoders do. A whole page must not become unreadable
// because of them.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// decoding is lenient, and has the decoders of the types that need their own.
var decoding = json.JoinOptions(lenient, json.WithUnmarshalers(json.JoinUnmarshalers(
	json.UnmarshalFromFunc(decodeRecord), json.UnmarshalFromFunc(preallocate), json.UnmarshalFunc(decodeTime), json.UnmarshalFunc(decodeWeight),
	json.UnmarshalFromFunc(reset[Links]), json.UnmarshalFromFunc(reset[Link]), json.UnmarshalFromFunc(reset[pageLinks]),
)))

// plainReload is a Reload without its methods, which would call themselves.
type plainReload Reload

// UnmarshalJSON decodes a record of the API and replaces r with it. Unknown members go to Extra. A JSON null does not
// change r.
func (r *Reload) UnmarshalJSON(data []byte) error {
	var decoded *Reload // nil after a null
	err := json.Unmarshal(data, &decoded, decoding)
	if err == nil && decoded != nil {
		*r = *decoded
	}
	return err
}

// MarshalJSON encodes the reload as the API does, with the members of Extra. If a member of Extra has the name of a
// known field, only the field is encoded.
func (r Reload) MarshalJSON() ([]byte, error) {
	r.Extra = unknownMembers[Reload](r.Extra)
	r.Links.Extra = unknownMembers[Links](r.Links.Extra)
	r.Links.Self.Extra = unknownMembers[Link](r.Links.Self.Extra)
	return json.Marshal((*plainReload)(&r), lenient, json.Deterministic(true))
}

// unknownMembers returns the members of extra for which T has no field. Their names are valid UTF-8, so that they stay distinct
// when they are encoded.
func unknownMembers[T any](extra map[string]stdjson.RawMessage) map[string]stdjson.RawMessage {
	if len(extra) == 0 {
		return nil
	}
	members := make(map[string]stdjson.RawMessage, len(extra))
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		members[strings.ToValidUTF8(name, "\uFFFD")] = extra[name]
	}
	for field := range reflect.TypeFor[T]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			delete(members, name)
		}
	}
	return members
}

// decodeReload decodes a response that is one record. The record has no ID if the response is a JSON null.
func decodeReload(data []byte) (*Reload, error) {
	r := new(Reload)
	return r, json.Unmarshal(data, r, decoding)
}

// pageBody is a page of a list as the service sends it.
type pageBody struct {
	Data  []Reload  `json:"data"` // nil if absent or null
	Links pageLinks `json:"links"`
}

type pageLinks struct {
	Self Link `json:"self"`
	Next Link `json:"next"`
	Prev Link `json:"prev"`
}

// decodePage decodes a response that is a page of a list.
func decodePage(data []byte) (page pageBody, err error) {
	err = json.Unmarshal(data, &page, decoding)
	return page, err
}

// decodeValid decodes a page without its invalid records. It returns the error of each of those, which names it.
func decodeValid(data []byte) (page pageBody, invalid []error, err error) {
	var raw struct {
		Data  []jsontext.Value `json:"data"`
		Links pageLinks        `json:"links"`
	}
	if err := json.Unmarshal(data, &raw, decoding); err != nil || raw.Data == nil {
		return pageBody{}, nil, err
	}
	page = pageBody{Data: make([]Reload, 0, len(raw.Data)), Links: raw.Links}
	for i, value := range raw.Data {
		r, err := decodeReload(value)
		if err == nil && r.ID == "" {
			err = errNoID
		}
		if err != nil {
			var named struct{ ID anyText }
			_ = json.Unmarshal(value, &named, lenient, json.MatchCaseInsensitiveNames(true)) // the ID is only for the text
			invalid = append(invalid, fmt.Errorf("record %d (id %q): %w", i, named.ID, err))
			continue
		}
		page.Data = append(page.Data, *r)
	}
	return page, invalid, nil
}

// decodePartial returns the member "partial" of each record of a page, by ID. The value is nil if the record does not
// have the member.
func decodePartial(data []byte) map[string]*bool {
	var page struct {
		Data []jsontext.Value `json:"data"`
	}
	_ = json.Unmarshal(data, &page, decoding) // an invalid page or record is reported by decodeList
	partial := make(map[string]*bool, len(page.Data))
	for _, record := range page.Data {
		var r struct {
			ID      string `json:"id"`
			Partial *bool  `json:"partial"`
		}
		if json.Unmarshal(record, &r, decoding) == nil {
			partial[r.ID] = r.Partial
		}
	}
	return partial
}

var errNoID = errors.New("a record has no id")

// decodeRecord bypasses UnmarshalJSON, which would read each record of a page twice.
func decodeRecord(d *jsontext.Decoder, r *Reload) error {
	return json.UnmarshalDecode(d, (*plainReload)(r))
}

// preallocate allocates the records of a page at once. A record without a log has about 500 bytes of JSON.
func preallocate(d *jsontext.Decoder, records *[]Reload) error {
	*records = make([]Reload, 0, min(maxPageSize, len(d.UnreadBuffer())/500))
	return errors.ErrUnsupported // the JSON package decodes them
}

// reset makes the last of duplicate members replace the others. The JSON package would merge them.
func reset[T any](_ *jsontext.Decoder, v *T) error {
	*v = *new(T)
	return errors.ErrUnsupported // the JSON package decodes v
}

// decodeTime also accepts "", which is the zero time, as null and any time in year 1 are.
func decodeTime(value []byte, t *time.Time) error {
	if *t = (time.Time{}); string(value) == `""` || string(value) == "null" {
		return nil
	}
	text, err := jsontext.AppendUnquote(make([]byte, 0, len(time.RFC3339Nano)), value)
	if err != nil {
		return err
	}
	if err := t.UnmarshalText(text); err != nil {
		return err
	}
	if t.Unix() < beginOfYear2 {
		*t = time.Time{}
	}
	return nil
}

const beginOfYear2 = -62104060800 // in Unix time

// decodeWeight also accepts an integer that is written as a decimal number, such as 1.0 and 5e0.
func decodeWeight(value []byte, weight *int) error {
	n, err := strconv.Atoi(string(value))
	if err != nil && string(value) != "null" {
		f, err := strconv.ParseFloat(string(value), 64)
		if n = int(f); err != nil || math.Abs(f) >= 1<<53 || float64(n) != f { // a larger float64 is not exact
			return errors.New("expected an integer")
		}
	}
	*weight = n
	return nil
}

// decodeErrorBody decodes the body of an error, with all known spellings of its members. ok is false if data is not
// such a body.
func decodeErrorBody(data []byte) (details []ErrorDetail, traceID string, ok bool) {
	var body struct {
		Errors  []struct{ Code, Title, Detail, Details, TraceID anyText }
		TraceID anyText
	}
	if err := json.Unmarshal(data, &body, lenient, json.MatchCaseInsensitiveNames(true)); err != nil || len(body.Errors) == 0 {
		return nil, "", false
	}
	for _, e := range body.Errors {
		details = append(details, ErrorDetail{Code: Code(e.Code), Title: string(e.Title), Detail: string(cmp.Or(e.Detail, e.Details))})
		body.TraceID = cmp.Or(body.TraceID, e.TraceID)
	}
	return details, string(body.TraceID), true
}

// anyText is a string, or the JSON of another value. An error must not be lost because a member has an unexpected type.
type anyText string

// UnmarshalJSON never fails. A null is "".
func (t *anyText) UnmarshalJSON(value []byte) error {
	if json.Unmarshal(value, (*string)(t), lenient) != nil {
		*t = anyText(strings.ToValidUTF8(string(value), "\uFFFD"))
	}
	return nil
}
