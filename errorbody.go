package reloads

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// errorBody is the body of an error.
type errorBody struct {
	details []ErrorDetail
	traceID string
}

// errors decodes the body of an error, in every spelling that occurs; ok is false if it is none. Where a text should be
// anything else is taken as the JSON that it is: an error must not be lost because one of its members has an odd type.
func (d *decoder) errors() (b errorBody, ok bool) {
	inner := ""
	err := d.object(func(name []byte) error {
		switch {
		case isNamed(name, "errors"):
			b.details = nil
			return d.array(func() error {
				detail, traceID, err := d.errorDetail()
				b.details = append(b.details, detail)
				if inner == "" {
					inner = traceID
				}
				return err
			})
		case isNamed(name, "traceId"):
			return d.anyText(&b.traceID)
		}
		return d.json.SkipValue()
	})
	if err != nil || d.end() != nil || len(b.details) == 0 {
		return errorBody{}, false
	}
	if b.traceID == "" {
		b.traceID = inner
	}
	return b, true
}

func (d *decoder) errorDetail() (detail ErrorDetail, traceID string, err error) {
	if d.null() {
		return detail, "", nil
	}
	details := "" // another spelling of detail
	err = d.object(func(name []byte) error {
		switch {
		case isNamed(name, "code"):
			return d.anyText((*string)(&detail.Code))
		case isNamed(name, "title"):
			return d.anyText(&detail.Title)
		case isNamed(name, "detail"):
			return d.anyText(&detail.Detail)
		case isNamed(name, "details"):
			return d.anyText(&details)
		case isNamed(name, "traceId"):
			return d.anyText(&traceID)
		}
		return d.json.SkipValue()
	})
	if detail.Detail == "" {
		detail.Detail = details
	}
	return detail, traceID, err
}

// isNamed reports whether a raw name is the one that is wanted, in upper or lower case.
func isNamed(name []byte, want string) bool {
	return len(name) == len(want)+2 && strings.EqualFold(string(name[1:len(name)-1]), want)
}

// anyText reads a string, or whatever stands in its place.
func (d *decoder) anyText(into *string) (err error) {
	if d.json.PeekKind() == jsontext.KindString || d.json.PeekKind() == jsontext.KindNull {
		d.scratch, err = d.appendText(d.scratch[:0])
		*into = string(d.scratch)
		return err
	}
	value, err := d.json.ReadValue()
	*into = string(value)
	return err
}
