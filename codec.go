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
// because of them. anyCase also accepts names in any case.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
var anyCase = json.JoinOptions(lenient, json.MatchCaseInsensitiveNames(true))

// decoding is lenient, and has the decoders of the types that need their own.
var decoding = json.JoinOptions(lenient, json.WithUnmarshalers(json.JoinUnmarshalers(
	json.UnmarshalFunc(decodeTime), json.UnmarshalFunc(decodeWeight),
	json.UnmarshalFromFunc(reset[Links]), json.UnmarshalFromFunc(reset[Link]), json.UnmarshalFromFunc(reset[pageLinks]),
)))

// plainReload is a Reload without its methods, which would call themselves.
type plainReload Reload

// UnmarshalJSON decodes a record of the API and replaces r with it. Unknown members go to Extra. A JSON null does not
// change r.
func (r *Reload) UnmarshalJSON(data []byte) error {
	var decoded *plainReload // nil after a null
	err := json.Unmarshal(data, &decoded, decoding)
	if err == nil && decoded != nil {
		*r = Reload(*decoded)
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

// decodeReload decodes a response that is one record. The record has no ID if the response is a JSON null. Leniency takes
// time, because the JSON package looks up a decoder of ours for every member. It is used if the response needs it.
func decodeReload(data []byte) (*Reload, error) {
	r := new(Reload)
	if json.Unmarshal(data, (*plainReload)(r)) != nil {
		return r, r.UnmarshalJSON(data)
	}
	resetYear1(&r.CreationTime, &r.StartTime, &r.EndTime, &r.EngineTime)
	return r, nil
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

// decodePage decodes a response that is a page of a list, if it needs no leniency. Otherwise decodeValid does.
func decodePage(data []byte) (page pageBody, err error) {
	err = json.Unmarshal(data, &page, pageDecoding)
	return page, err
}

var pageDecoding = json.WithUnmarshalers(json.JoinUnmarshalers(json.UnmarshalFromFunc(decodeRecord), json.UnmarshalFromFunc(preallocate)))

// decodeValid decodes a page without its invalid records. It returns the error of each of those, which names it, up to as many
// as a page should have records.
func decodeValid(data []byte) (page pageBody, invalid []error, err error) {
	var raw struct {
		Data  []jsontext.Value `json:"data"`
		Links pageLinks        `json:"links"`
	}
	err = json.Unmarshal(data, &raw, decoding)
	if page.Links = raw.Links; err != nil || raw.Data == nil {
		return page, nil, err
	}
	page.Data = make([]Reload, 0, len(raw.Data))
	for i, value := range raw.Data {
		r, err := decodeReload(value)
		if err == nil && r.ID == "" {
			err = errNoID
		}
		if err != nil && len(invalid) == maxPageSize {
			continue
		}
		if err != nil {
			var named struct{ ID anyText }
			_ = json.Unmarshal(value, &named, anyCase) // the ID is only for the text
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
	err := json.UnmarshalDecode(d, (*plainReload)(r), json.WithUnmarshalers(nil))
	resetYear1(&r.CreationTime, &r.StartTime, &r.EndTime, &r.EngineTime)
	return err
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
	err = t.UnmarshalText(text)
	resetYear1(t)
	return err
}

// resetYear1 replaces a time in year 1 by the zero time.
func resetYear1(times ...*time.Time) {
	const beginOfYear2 = -62104060800 // in Unix time
	for _, t := range times {
		if t.Unix() < beginOfYear2 {
			*t = time.Time{}
		}
	}
}

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

// decodeErrorBody decodes the body of an error, with all known spellings of its members. There are no details if data is
// not such a body.
func decodeErrorBody(data []byte) (details []ErrorDetail, traceID string) {
	details, traceID = decodeDetails[string](data, json.RejectUnknownMembers(true))
	if details == nil { // names in other cases and other types take more time
		details, traceID = decodeDetails[anyText](data, anyCase)
	}
	return details, traceID
}

func decodeDetails[T ~string](data []byte, opts json.Options) (details []ErrorDetail, traceID string) {
	var body struct {
		Errors []struct {
			Code    T `json:"code"`
			Title   T `json:"title"`
			Detail  T `json:"detail"`
			Details T `json:"details"`
			TraceID T `json:"traceId"`
		} `json:"errors"`
		TraceID T `json:"traceId"`
	}
	if json.Unmarshal(data, &body, opts) != nil || len(body.Errors) == 0 {
		return nil, ""
	}
	for _, e := range body.Errors {
		details = append(details, ErrorDetail{Code: Code(e.Code), Title: string(e.Title), Detail: string(cmp.Or(e.Detail, e.Details))})
		body.TraceID = cmp.Or(body.TraceID, e.TraceID)
	}
	return details, string(body.TraceID)
}

// anyText is a string, or the JSON of another value. An error must not be lost because a member has an unexpected type.
type anyText string

// UnmarshalJSONFrom fails for invalid JSON only. A null is "".
func (t *anyText) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '"' {
		text, err := d.ReadToken()
		*t = anyText(text.String())
		return err
	}
	value, err := d.ReadValue()
	if *t = ""; value.Kind() != 'n' {
		*t = anyText(strings.ToValidUTF8(string(value), "\uFFFD"))
	}
	return err
}
