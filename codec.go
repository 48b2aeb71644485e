package reloads

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decoder decodes bodies of the API. Records are decoded member by member, without reflection, and a text that the
// record before has too, such as the tenant's id, is not allocated again: a page is mostly such texts. A decoder
// may be used again after reset.
type decoder struct {
	json    jsontext.Decoder
	body    bytes.Buffer
	size    int    // of the body
	scratch []byte // the text that was read last
}

// lenient puts up with what most decoders do: a name that comes twice, a broken character in a log. Neither may
// make a whole page unreadable.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// reset readies d for a body, which it reads in place.
func (d *decoder) reset(body []byte) {
	d.body = *bytes.NewBuffer(body)
	d.json.Reset(&d.body, lenient)
	d.size = len(body)
}

// end makes sure that nothing follows.
func (d *decoder) end() error {
	if _, err := d.json.ReadToken(); err != io.EOF {
		return errors.New("there is more after the end of the JSON")
	}
	return nil
}

// begin reads the beginning of an object.
func (d *decoder) begin() error {
	if d.json.PeekKind() != jsontext.KindBeginObject {
		return d.mismatch("object")
	}
	_, err := d.json.ReadToken()
	return err
}

// name reads the next name of an object, raw, or its end, which is nil. The value is to be read before the next.
func (d *decoder) name() ([]byte, error) {
	if d.json.PeekKind() == jsontext.KindEndObject {
		_, err := d.json.ReadToken()
		return nil, err
	}
	name, err := d.json.ReadValue()
	if bytes.IndexByte(name, '\\') >= 0 { // one name, however it is escaped
		text, _ := jsontext.AppendUnquote(nil, name)
		name, _ = jsontext.AppendQuote(nil, text)
	}
	return name, err
}

// mismatch is the error of a value that is not what it should be, or of JSON that is broken there.
func (d *decoder) mismatch(want string) error {
	pointer := d.json.StackPointer()
	value, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	return fmt.Errorf("%q is no %s, but %s", pointer, want, value.Kind())
}

// reload decodes a body that is one record.
func (d *decoder) reload() (*Reload, error) {
	r := new(Reload)
	if err := d.record(r, r); err != nil {
		return nil, err
	}
	return r, d.end()
}

// page decodes a body that is a page of a list.
func (d *decoder) page() (p pageBody, err error) {
	if err := d.begin(); err != nil {
		return p, err
	}
	for {
		name, err := d.name()
		switch {
		case err != nil:
			return p, err
		case name == nil:
			return p, d.end()
		}
		switch string(name) {
		case `"data"`:
			p.Data, err = d.records()
		case `"links"`:
			err = json.UnmarshalDecode(&d.json, &p.Links)
		default:
			err = d.json.SkipValue()
		}
		if err != nil {
			return p, err
		}
	}
}

// pageBody is a page as the service sends it.
type pageBody struct {
	Data  []Reload // nil if there is none
	Links struct {
		Self Link `json:"self"`
		Next Link `json:"next"`
		Prev Link `json:"prev"`
	}
}

func (d *decoder) records() ([]Reload, error) {
	switch d.json.PeekKind() {
	case jsontext.KindNull:
		return nil, d.json.SkipValue()
	case jsontext.KindBeginArray:
	default:
		return nil, d.mismatch("array")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return nil, err
	}
	rs := []Reload{}
	var before *Reload
	for d.json.PeekKind() != jsontext.KindEndArray {
		start := d.json.InputOffset()
		rs = append(rs, Reload{})
		r := &rs[len(rs)-1]
		if before == nil {
			before = r
		}
		if err := d.record(r, before); err != nil {
			return nil, err
		}
		before = r
		if len(rs) == 1 { // the records of a page are of about one size: make room for all of them at once
			length := d.json.InputOffset() - start
			rs = slices.Grow(rs, int(min(maxLimit, int64(d.size)/length)))
		}
	}
	_, err := d.json.ReadToken()
	return rs, err
}

// record decodes a record; before is one whose texts may be shared, which may be the record itself.
func (d *decoder) record(r, before *Reload) error {
	if err := d.begin(); err != nil {
		return err
	}
	for {
		name, err := d.name()
		if err != nil || name == nil {
			return err
		}
		switch string(name) {
		case `"id"`:
			err = text(d, &r.ID, before.ID)
		case `"appId"`:
			err = text(d, &r.AppID, before.AppID)
		case `"tenantId"`:
			err = text(d, &r.TenantID, before.TenantID)
		case `"userId"`:
			err = text(d, &r.UserID, before.UserID)
		case `"type"`:
			err = text(d, &r.Type, before.Type)
		case `"status"`:
			err = text(d, &r.Status, before.Status)
		case `"partial"`:
			err = json.UnmarshalDecode(&d.json, &r.Partial)
		case `"weight"`:
			err = json.UnmarshalDecode(&d.json, &r.Weight)
		case `"resourceId"`:
			err = text(d, &r.ResourceID, before.ResourceID)
		case `"resourceType"`:
			err = text(d, &r.ResourceType, before.ResourceType)
		case `"creationTime"`:
			err = d.time(&r.CreationTime)
		case `"startTime"`:
			err = d.time(&r.StartTime)
		case `"endTime"`:
			err = d.time(&r.EndTime)
		case `"engineTime"`:
			err = d.time(&r.EngineTime)
		case `"errorCode"`:
			err = text(d, &r.ErrorCode, before.ErrorCode)
		case `"errorMessage"`:
			err = text(d, &r.ErrorMessage, before.ErrorMessage)
		case `"log"`:
			err = text(d, &r.Log, before.Log)
		case `"links"`:
			err = json.UnmarshalDecode(&d.json, &r.Links)
		default:
			err = d.extra(r, name)
		}
		if err != nil {
			return err
		}
	}
}

// text decodes a string, or null, which is "".
func text[T ~string](d *decoder, into *T, before T) error {
	if err := d.text(); err != nil {
		return err
	}
	*into = before
	if string(before) != string(d.scratch) {
		*into = T(d.scratch)
	}
	return nil
}

func (d *decoder) text() error {
	d.scratch = d.scratch[:0]
	switch d.json.PeekKind() {
	case jsontext.KindNull:
		return d.json.SkipValue()
	case jsontext.KindString:
	default:
		return d.mismatch("string")
	}
	value, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	d.scratch, _ = jsontext.AppendUnquote(d.scratch, value) // the error is of broken UTF-8, which is replaced
	return nil
}

// time decodes an RFC 3339 time; null and "" are the zero time.
func (d *decoder) time(into *time.Time) error {
	if err := d.text(); err != nil {
		return err
	}
	*into = time.Time{}
	if len(d.scratch) == 0 {
		return nil
	}
	if err := into.UnmarshalText(d.scratch); err != nil {
		return fmt.Errorf("%q: %w", d.json.StackPointer(), err)
	}
	return nil
}

// extra keeps a member that is not known.
func (d *decoder) extra(r *Reload, name []byte) error {
	key, _ := jsontext.AppendUnquote(nil, name)
	value, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	if r.Extra == nil {
		r.Extra = map[string]stdjson.RawMessage{}
	}
	r.Extra[string(key)] = bytes.Clone(value)
	return nil
}

// UnmarshalJSON decodes a record of the API. Members that are not known go to Extra.
func (r *Reload) UnmarshalJSON(data []byte) error {
	var d decoder
	d.reset(data)
	decoded, err := d.reload()
	if err == nil {
		*r = *decoded
	}
	return err
}

// MarshalJSON encodes the reload as the API does, with the members of Extra.
func (r Reload) MarshalJSON() ([]byte, error) {
	type plain Reload // without its methods, which would call themselves
	return json.Marshal((*plain)(&r), lenient, json.Deterministic(true))
}
