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
		if err != nil || json.Unmarshal(text, &l.cursor) != nil || l.cursor == nil {
			return l, "the cursor is invalid"
		}
		l.back = prev != ""
	}
	return l, ""
}

// key is what the list is ordered by, as a text that sorts alike.
func (l *listQuery) key(r *reloads.Reload) string {
	const sortable = "2006-01-02T15:04:05.000"
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
	return at.Format(sortable)
}

// compare orders by key, and by id where keys are equal.
func (l *listQuery) compare(a, b cursor) int {
	order := cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.ID, b.ID))
	if l.desc {
		return -order
	}
	return order
}

func (l *listQuery) selects(r *reloads.Reload) bool {
	return (l.partial == nil || r.Partial == *l.partial) &&
		(l.filter == nil || l.filter(r))
}

// list answers a list.
func (t *Tenant) list(r *http.Request, role Role) answer {
	q := r.URL.Query()
	l, reason := parseList(q, role)
	if reason != "" {
		return badRequest("%s", reason)
	}
	type entry struct {
		place cursor
		rec   reloads.Reload
	}
	var entries []entry
	behind := false // there are records on the other side of the cursor
	now := t.now()
	records := t.records
	if l.appID != "" {
		records = t.byApp[l.appID]
	}
	for _, stored := range records {
		rec := stored.at(now)
		if !l.selects(&rec) {
			continue
		}
		e := entry{cursor{l.key(&rec), rec.ID}, rec}
		if l.cursor != nil {
			order := l.compare(e.place, *l.cursor)
			if l.back && order >= 0 || !l.back && order <= 0 {
				behind = true
				continue
			}
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return l.compare(a.place, b.place) })
	more := len(entries) > l.limit // in the direction that is walked
	if more {
		if l.back {
			entries = entries[len(entries)-l.limit:]
		} else {
			entries = entries[:l.limit]
		}
	}

	// At an end of the list, prev is missing and next is empty: both occur.
	self := t.base(r)
	if r.URL.RawQuery != "" {
		self += "?" + r.URL.RawQuery
	}
	links := map[string]any{"self": map[string]string{"href": self}, "next": struct{}{}}
	link := func(name string, place cursor) {
		query := url.Values{}
		for key, values := range q {
			if key != "next" && key != "prev" {
				query[key] = values
			}
		}
		query.Set(name, place.String())
		links[name] = map[string]string{"href": t.base(r) + "?" + query.Encode()}
	}
	if n := len(entries); n > 0 {
		if more && !l.back || behind && l.back {
			link("next", entries[n-1].place)
		}
		if more && l.back || behind && !l.back {
			link("prev", entries[0].place)
		}
	}
	data := make([]reloads.Reload, 0, len(entries))
	for _, e := range entries {
		if !l.log {
			e.rec.Log = ""
		}
		data = append(data, t.linked(r, e.rec))
	}
	return jsonAnswer(http.StatusOK, map[string]any{"data": data, "links": links})
}
