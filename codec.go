package reloads

import (
	"slices"

	"github.com/go-json-experiment/json"
)

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
	err = d.object(func(name []byte) (err error) {
		switch string(name) {
		case `"data"`:
			p.Data, err = d.records()
		case `"links"`:
			err = json.UnmarshalDecode(&d.json, &p.Links)
		default:
			err = d.json.SkipValue()
		}
		return err
	})
	if err != nil {
		return p, err
	}
	return p, d.end()
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
	if d.null() {
		return nil, nil
	}
	rs := []Reload{}
	start := d.json.InputOffset()
	err := d.array(func() error {
		rs = append(rs, Reload{})
		r := &rs[len(rs)-1]
		if err := d.record(r, &rs[max(0, len(rs)-2)]); err != nil {
			return err
		}
		if len(rs) == 1 { // the records of a page are of about one size: make room for all of them at once
			length := d.json.InputOffset() - start
			rs = slices.Grow(rs, int(min(maxLimit, int64(d.size)/length)))
		}
		return nil
	})
	return rs, err
}

// record decodes a record; before is one whose texts may be shared, which may be the record itself.
func (d *decoder) record(r, before *Reload) error {
	err := d.object(func(name []byte) error {
		switch string(name) {
		case `"id"`:
			return d.text(&r.ID, before.ID)
		case `"appId"`:
			return d.text(&r.AppID, before.AppID)
		case `"tenantId"`:
			return d.text(&r.TenantID, before.TenantID)
		case `"userId"`:
			return d.text(&r.UserID, before.UserID)
		case `"type"`:
			return d.text((*string)(&r.Type), string(before.Type))
		case `"status"`:
			return d.text((*string)(&r.Status), string(before.Status))
		case `"partial"`:
			return json.UnmarshalDecode(&d.json, &r.Partial)
		case `"weight"`:
			return json.UnmarshalDecode(&d.json, &r.Weight)
		case `"resourceId"`:
			return d.text(&r.ResourceID, before.ResourceID)
		case `"resourceType"`:
			return d.text(&r.ResourceType, before.ResourceType)
		case `"creationTime"`:
			return d.time(&r.CreationTime)
		case `"startTime"`:
			return d.time(&r.StartTime)
		case `"endTime"`:
			return d.time(&r.EndTime)
		case `"engineTime"`:
			return d.time(&r.EngineTime)
		case `"errorCode"`:
			return d.text(&r.ErrorCode, before.ErrorCode)
		case `"errorMessage"`:
			return d.text(&r.ErrorMessage, before.ErrorMessage)
		case `"log"`:
			return d.text(&r.Log, before.Log)
		case `"links"`:
			return d.links(&r.Links)
		}
		return d.extra(&r.Extra, name)
	})
	d.settle()
	return err
}

func (d *decoder) links(l *Links) error {
	*l = Links{}
	if d.null() {
		return nil
	}
	return d.object(func(name []byte) error {
		if string(name) == `"self"` {
			return d.link(&l.Self)
		}
		return d.extra(&l.Extra, name)
	})
}

func (d *decoder) link(l *Link) error {
	*l = Link{}
	if d.null() {
		return nil
	}
	return d.object(func(name []byte) error {
		if string(name) == `"href"` {
			return d.text(&l.Href, "")
		}
		return d.extra(&l.Extra, name)
	})
}
