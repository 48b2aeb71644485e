package reloads

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
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
	scratch []byte // a time
	short   []byte // the short texts of the record that is read …
	fields  []field
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

// object reads an object: member is called with each name, raw, and reads its value.
func (d *decoder) object(member func(name []byte) error) error {
	if d.json.PeekKind() != jsontext.KindBeginObject {
		return d.mismatch("object")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() != jsontext.KindEndObject {
		name, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		if bytes.IndexByte(name, '\\') >= 0 { // one name, however it is escaped
			text, _ := jsontext.AppendUnquote(nil, name)
			name, _ = jsontext.AppendQuote(nil, text)
		}
		if err := member(name); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

// array reads an array: element is called to read each of its values.
func (d *decoder) array(element func() error) error {
	if d.json.PeekKind() != jsontext.KindBeginArray {
		return d.mismatch("array")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() != jsontext.KindEndArray {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

// null skips a null, and reports whether there was one.
func (d *decoder) null() bool {
	return d.json.PeekKind() == jsontext.KindNull && d.json.SkipValue() == nil
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

// shortText is how many bytes a text may have that shares its memory with the other short texts of its record, which takes
// one allocation for all of them. Keeping one keeps them all.
const shortText = 256

// field is a text that was read and where it goes, when its record has ended.
type field struct {
	into     *string
	text     string
	from, to int // of d.short, if text is ""
}

// text reads a string, or null, which is "". The text of the record before is taken if it is the same.
func (d *decoder) text(into *string, before string) error {
	start := len(d.short)
	short, err := d.appendText(d.short)
	if err != nil {
		return err
	}
	f := field{into: into}
	switch text := short[start:]; {
	case string(text) == before:
		f.text = before
	case len(text) > shortText:
		f.text = string(text)
	default:
		f.from, f.to = start, len(short)
		start = len(short)
	}
	d.short = short[:start]
	d.fields = append(d.fields, f)
	return nil
}

// settle gives the texts of a record to its fields.
func (d *decoder) settle() {
	short := string(d.short)
	for _, f := range d.fields {
		if f.text == "" {
			f.text = short[f.from:f.to]
		}
		*f.into = f.text
	}
	clear(d.fields) // the decoder is kept, the record need not be
	d.short, d.fields = d.short[:0], d.fields[:0]
}

// appendText reads a string, or null, which is "", and appends it.
func (d *decoder) appendText(b []byte) ([]byte, error) {
	if d.null() {
		return b, nil
	}
	if d.json.PeekKind() != jsontext.KindString {
		return b, d.mismatch("string")
	}
	value, err := d.json.ReadValue()
	if err != nil {
		return b, err
	}
	b, _ = jsontext.AppendUnquote(b, value) // the error is of broken UTF-8, which is replaced
	return b, nil
}

// time decodes an RFC 3339 time; null and "" are the zero time.
func (d *decoder) time(into *time.Time) (err error) {
	if d.scratch, err = d.appendText(d.scratch[:0]); err != nil {
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
func (d *decoder) extra(into *map[string]stdjson.RawMessage, name []byte) error {
	key, _ := jsontext.AppendUnquote(nil, name)
	value, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	if *into == nil {
		*into = map[string]stdjson.RawMessage{}
	}
	(*into)[string(key)] = bytes.Clone(value)
	return nil
}
