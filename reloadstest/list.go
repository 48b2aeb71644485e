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

// listQuery is the query of a list request.
type listQuery struct {
	appID      string // "" selects all apps
	filter     filter // nil selects all records
	partial    *bool  // nil selects all records
	limit      int
	log        bool // include the logs
	sortField  string
	descending bool
	cursor     *cursor // nil means the beginning of the list
	backward   bool    // the cursor was given as prev
}

// cursor is the position of a record in a list. The sort key and the ID identify it, so that a position remains valid when
// records are added.
type cursor struct {
	Key string `json:"k"`
	ID  string `json:"i"`
}

func (c cursor) String() string {
	text, _ := json.Marshal(c) // cannot fail: c consists of two strings
	return base64.URLEncoding.EncodeToString(text)
}

// parseList parses the query of a list. If the query is invalid, it returns the reason.
func parseList(q url.Values, role Role) (l listQuery, reason string) {
	l.appID, l.limit, l.sortField, l.descending = q.Get("appId"), 10, "creationTime", true
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
	if reason := l.parseSort(q.Get("sort")); reason != "" {
		return l, reason
	}
	reason = l.parseCursor(q.Get("next"), q.Get("prev"))
	return l, reason
}

// parseSort parses the parameter sort. If it is invalid, it returns the reason.
func (l *listQuery) parseSort(s string) (reason string) {
	if s == "" {
		return ""
	}
	l.descending = s[0] == '-'
	if s[0] == '+' || s[0] == '-' {
		s = s[1:]
	}
	if l.sortField = s; !slices.Contains([]string{"creationTime", "status", "startTime", "endTime"}, s) {
		return "sort must be creationTime, status, startTime or endTime, with or without + or -"
	}
	return ""
}

// parseCursor parses the parameters next and prev. If they are invalid, it returns the reason.
func (l *listQuery) parseCursor(next, prev string) (reason string) {
	if next != "" && prev != "" {
		return "provide either the next or prev cursor, but not both"
	}
	if s := next + prev; s != "" {
		text, err := base64.URLEncoding.DecodeString(s)
		if err != nil || json.Unmarshal(text, &l.cursor) != nil || l.cursor == nil || l.cursor.ID == "" {
			return "the cursor is invalid"
		}
		l.backward = prev != ""
	}
	return ""
}

// sortKey returns the value of the field by which the list is sorted. Keys compare as strings.
func (l *listQuery) sortKey(r *reloads.Reload) string {
	const sortable = "2006-01-02T15:04:05.000000000"
	var at time.Time
	switch l.sortField {
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

// position returns the position of a record in the list.
func (l *listQuery) position(r *reloads.Reload) cursor { return cursor{l.sortKey(r), r.ID} }

// compare compares the sort keys, and the IDs if the keys are equal.
func (c cursor) compare(other cursor) int {
	return cmp.Or(strings.Compare(c.Key, other.Key), strings.Compare(c.ID, other.ID))
}

// matches reports whether the record is selected by partial and filter. It ignores appID; see sorted.
func (l *listQuery) matches(r *reloads.Reload) bool {
	return (l.partial == nil || r.Partial == *l.partial) &&
		(l.filter == nil || l.filter(r))
}

// list handles a list request.
func (t *Tenant) list(r *http.Request, role Role) response {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // r.URL.Query would ignore a filter with an invalid escape
		return badRequest("the query is invalid: %v", err)
	}
	for _, name := range t.ignoredParameters {
		query.Del(name)
	}
	l, reason := parseList(query, role)
	if reason != "" {
		return badRequest("%s", reason)
	}
	page := t.page(&l)
	self := t.listURL(r)
	if r.URL.RawQuery != "" {
		self += "?" + r.URL.RawQuery
	}
	// On the first page prev is missing, and on the last page next is an empty object. Clients must accept both forms.
	links := map[string]any{"self": map[string]string{"href": self}, "next": struct{}{}}
	link := func(name string, rec *reloads.Reload) {
		query := r.URL.Query()
		query.Del("next")
		query.Del("prev")
		query.Set(name, l.position(rec).String())
		links[name] = map[string]string{"href": t.listURL(r) + "?" + query.Encode()}
	}
	if page.next {
		link("next", &page.records[len(page.records)-1])
	}
	if page.prev {
		link("prev", &page.records[0])
	}
	data := make([]any, 0, len(page.records))
	for _, rec := range page.records {
		if !l.log {
			rec.Log = ""
		}
		data = append(data, t.represent(r, rec))
	}
	return jsonResponse(http.StatusOK, map[string]any{"data": data, "links": links})
}

// page is a page of a list. next and prev report whether there are further records after and before it.
type page struct {
	records    []reloads.Reload
	next, prev bool
}

// page returns the page that a list request selects.
func (t *Tenant) page(l *listQuery) (p page) {
	now := t.now()
	records := t.sorted(l, now)
	ascending := l.descending == l.backward // the direction in which the records are scanned
	from := l.first(records, ascending, now)
	scan := func(i, step, limit int) (found []reloads.Reload, more bool) {
		for ; i >= 0 && i < len(records); i += step {
			if rec := records[i].at(now); t.listed(&rec, now) && l.matches(&rec) {
				if len(found) == limit {
					return found, true
				}
				found = append(found, rec)
			}
		}
		return found, false
	}
	step := 1
	if !ascending {
		step = -1
	}
	var ahead, behind bool
	p.records, ahead = scan(from, step, l.limit)
	if l.cursor != nil {
		_, behind = scan(from-step, -step, 0)
	}
	p.next, p.prev = ahead, behind
	if l.backward {
		slices.Reverse(p.records)
		p.next, p.prev = behind, ahead
	}
	if len(p.records) == 0 {
		p.next, p.prev = false, false
	}
	return p
}

// first returns the index of the record at which a page begins: the one next to the cursor, in the direction of the scan.
func (l *listQuery) first(records []*record, ascending bool, now time.Time) int {
	if l.cursor == nil {
		if ascending {
			return 0
		}
		return len(records) - 1
	}
	i, _ := slices.BinarySearchFunc(records, *l.cursor, func(stored *record, position cursor) int {
		rec := stored.at(now)
		return cmp.Or(l.position(&rec).compare(position), -1) // never 0: finds the first record after the cursor
	})
	if ascending {
		return i
	}
	i--
	if i >= 0 && records[i].ID == l.cursor.ID {
		i--
	}
	return i
}

// listed reports whether lists contain the record yet; see [WithListLag].
func (t *Tenant) listed(rec *reloads.Reload, now time.Time) bool {
	return t.listLag <= 0 || !now.Before(rec.CreationTime.Add(t.listLag))
}

// sorted returns the records of the app, or of all apps, in ascending order of the sort field. The caller must not modify
// the result.
func (t *Tenant) sorted(l *listQuery, now time.Time) []*record {
	records := t.records
	if l.appID != "" {
		records = t.byApp[l.appID]
	}
	if l.sortField == "creationTime" { // the order in which they are stored
		return records
	}
	records = slices.Clone(records)
	positions := make(map[*record]cursor, len(records))
	for _, stored := range records {
		rec := stored.at(now)
		positions[stored] = l.position(&rec)
	}
	slices.SortFunc(records, func(a, b *record) int { return positions[a].compare(positions[b]) })
	return records
}
