package reloadstest

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
)

// listQuery is a list request.
type listQuery struct {
	appID   string
	filter  filter // nil selects all
	partial *bool
	limit   int
	log     bool
	field   string // of the order
	desc    bool
	cursor  *cursor
	back    bool // the cursor is prev
}

// cursor is a place in a list: between the record with this key and id and the one after it, or before it. It stays
// where it is when records are added.
type cursor struct {
	Key string `json:"k"`
	ID  string `json:"i"`
}

func (c cursor) String() string {
	text, _ := json.Marshal(c) // two strings
	return base64.URLEncoding.EncodeToString(text)
}

// parseList reads the query of a list, or tells why it is refused.
func parseList(q url.Values, role Role) (l listQuery, reason string) {
	l.appID, l.limit, l.field, l.desc = q.Get("appId"), 10, "creationTime", true
	if l.appID == "" && role != TenantAdmin {
		return l, "appId is required"
	}
	if s := q.Get("filter"); s != "" {
		var err error
		if l.filter, err = parseFilter(s); err != nil {
			return l, "filter: " + err.Error()
		}
	}
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 1 || n > 100 {
			return l, "limit must be an integer between 1 and 100 (inclusive)"
		}
		l.limit = n
	}
	switch q.Get("log") {
	case "", "false":
	case "true":
		l.log = true
	default:
		return l, "log must be true or false"
	}
	switch q.Get("partial") {
	case "":
	case "true", "false":
		partial := q.Get("partial") == "true"
		l.partial = &partial
	default:
		return l, "partial must be true or false"
	}
	if s := q.Get("sort"); s != "" {
		l.desc = s[0] == '-'
		if s[0] == '+' || s[0] == '-' {
			s = s[1:]
		}
		if l.field = s; !slices.Contains([]string{"creationTime", "status", "startTime", "endTime"}, s) {
			return l, "sort must be creationTime, status, startTime or endTime, with or without + or -"
		}
	}
	next, prev := q.Get("next"), q.Get("prev")
	if next != "" && prev != "" {
		return l, "provide either the next or prev cursor, but not both"
	}
	if s := next + prev; s != "" {
		text, err := base64.URLEncoding.DecodeString(s)
		if err != nil || json.Unmarshal(text, &l.cursor) != nil || l.cursor == nil || l.cursor.ID == "" {
			return l, "the cursor is invalid"
		}
		l.back = prev != ""
	}
	return l, ""
}

// key is what the list is ordered by, as a text that sorts alike.
func (l *listQuery) key(r *reloads.Reload) string {
	const sortable = "2006-01-02T15:04:05.000000000"
	var at time.Time
	switch l.field {
	case "status":
		return string(r.Status)
	case "startTime":
		at = r.StartTime
	case "endTime":
		at = r.EndTime
	default:
		at = r.CreationTime
	}
	return at.UTC().Format(sortable)
}

// place is where the list has a record.
func (l *listQuery) place(r *reloads.Reload) cursor { return cursor{l.key(r), r.ID} }

// compare orders by key, and by id where keys are equal.
func (c cursor) compare(other cursor) int {
	return cmp.Or(strings.Compare(c.Key, other.Key), strings.Compare(c.ID, other.ID))
}

func (l *listQuery) selects(r *reloads.Reload) bool {
	return (l.partial == nil || r.Partial == *l.partial) &&
		(l.filter == nil || l.filter(r))
}

// list answers a list.
func (t *Tenant) list(r *http.Request, role Role) answer {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // else a filter that is badly escaped would select everything
		return badRequest("the query is invalid: %v", err)
	}
	l, reason := parseList(query, role)
	if reason != "" {
		return badRequest("%s", reason)
	}
	page := t.page(&l)
	self := t.base(r)
	if r.URL.RawQuery != "" {
		self += "?" + r.URL.RawQuery
	}
	// At an end of the list, prev is missing and next is empty: both occur.
	links := map[string]any{"self": map[string]string{"href": self}, "next": struct{}{}}
	link := func(name string, rec *reloads.Reload) {
		query := r.URL.Query()
		query.Del("next")
		query.Del("prev")
		query.Set(name, l.place(rec).String())
		links[name] = map[string]string{"href": t.base(r) + "?" + query.Encode()}
	}
	if page.next {
		link("next", &page.records[len(page.records)-1])
	}
	if page.prev {
		link("prev", &page.records[0])
	}
	data := make([]reloads.Reload, 0, len(page.records))
	for _, rec := range page.records {
		if !l.log {
			rec.Log = ""
		}
		data = append(data, t.linked(r, rec))
	}
	return jsonAnswer(http.StatusOK, map[string]any{"data": data, "links": links})
}

// page is what a list shows; next and prev tell whether there is more on either side.
type page struct {
	records    []reloads.Reload
	next, prev bool
}

// page walks from the cursor, or from the beginning, to as many records as are asked for.
func (t *Tenant) page(l *listQuery) (p page) {
	now := t.now()
	records := t.ordered(l, now)
	up := l.desc == l.back // walk in ascending order
	from := 0
	if !up {
		from = len(records) - 1
	}
	if l.cursor != nil {
		from, _ = slices.BinarySearchFunc(records, *l.cursor, func(stored *record, place cursor) int {
			rec := stored.at(now)
			return cmp.Or(l.place(&rec).compare(place), -1) // the record at the cursor itself is behind it
		})
		if !up {
			from--
			if from >= 0 && records[from].ID == l.cursor.ID {
				from--
			}
		}
	}
	walk := func(i, step, limit int) (found []reloads.Reload, more bool) {
		for ; i >= 0 && i < len(records); i += step {
			if rec := records[i].at(now); l.selects(&rec) {
				if len(found) == limit {
					return found, true
				}
				found = append(found, rec)
			}
		}
		return found, false
	}
	step := 1
	if !up {
		step = -1
	}
	var ahead, behind bool
	p.records, ahead = walk(from, step, l.limit)
	if l.cursor != nil {
		_, behind = walk(from-step, -step, 0)
	}
	p.next, p.prev = ahead, behind
	if l.back {
		slices.Reverse(p.records)
		p.next, p.prev = behind, ahead
	}
	if len(p.records) == 0 {
		p.next, p.prev = false, false
	}
	return p
}

// ordered are the records in ascending order: as they are stored, unless the list has another order.
func (t *Tenant) ordered(l *listQuery, now time.Time) []*record {
	records := t.records
	if l.appID != "" {
		records = t.byApp[l.appID]
	}
	if l.field == "creationTime" {
		return records
	}
	records = slices.Clone(records)
	places := make(map[*record]cursor, len(records))
	for _, stored := range records {
		rec := stored.at(now)
		places[stored] = l.place(&rec)
	}
	slices.SortFunc(records, func(a, b *record) int { return places[a].compare(places[b]) })
	return records
}
