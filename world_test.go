package reloads_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
)

// world is a fake of the service for triggers whose outcome is unknown. It is a transport without a network, for
// synctest bubbles. It shares no code with package reloadstest, so that a wrong idea of the service is not in both.
//
// The knobs are set before the first request. The zero value is a service with milliseconds and agreeing clocks, whose
// reloads finish at once. All times inside the world are by the client's clock.
type world struct {
	// Clocks.
	dateOffset   time.Duration // how far the clock of the Date header is ahead of the client's
	recordOffset time.Duration // how far the clock of the records is ahead of that of the Date header
	precision    time.Duration // of creationTime: 1 s, 10 ms, or 0 for milliseconds
	noDate       bool          // responses have no Date header

	// Records.
	kind        reloads.Type                   // of reloads made through the API; empty means external
	queuedAs    *reloads.Status                // the status of a reload that waits; nil means QUEUED
	omitCreated []string                       // fields that a 201 lacks: partial, resourceId, type, links
	omitListed  []string                       // fields that a listed record lacks
	omitGot     []string                       // fields that the response to a GET lacks
	queueFor    time.Duration                  // how long a reload waits
	runFor      time.Duration                  // how long it runs
	lasts       func(app string) time.Duration // how long the reloads of an app run, if that is longer

	// ends returns the status of a reload that has finished and was not canceled; nil means SUCCEEDED.
	ends func(*worldRecord) reloads.Status

	// Requests.
	seed      uint64        // of the IDs and of the spread latency
	latency   time.Duration // of a request, and again of its response
	spread    bool          // the latency is between a half and twice of that
	listLag   time.Duration // how long after its creation a reload is listed
	everyPost postPlan      // of a trigger that has no plan of its own

	planPost      func() postPlan      // returns the plan of a trigger, instead of everyPost
	lookUpLatency func() time.Duration // additional latency of a list of one app
	// instead returns the outcome of a request that the world does not respond to itself, or nil.
	instead func(*http.Request) outcome

	// Lists.
	ignoreFilter, ignoreSort bool
	nullsFirst               bool                             // records without the time that a list is sorted by come first
	endOffset                func(*worldRecord) time.Duration // added to the end time
	unlisted                 func(*worldRecord) bool          // records that no list contains
	behind                   func(*worldRecord) time.Duration // how old the listed state of a record is
	extra                    string                           // the JSON of one more record, which is first in every page

	mu       sync.Mutex
	apps     map[string]*worldApp
	byID     map[string]*worldRecord
	all      []*worldRecord
	posts    []time.Time // when each trigger was sent
	requests []*worldRequest
}

// worldRequest is a request that the world received.
type worldRequest struct {
	method, path, query string
	began, ended        time.Time // ended is zero while the request is in flight
	err                 error     // of the transport
}

// cache is a transport that stores the lists of a world, as a gateway may do. It rounds an Age up.
type cache struct {
	*world
	keeps  time.Duration
	honors bool // Cache-Control: no-cache

	lists sync.Mutex
	kept  map[string]cachedList
}

type cachedList struct {
	at      time.Time
	body    []byte
	headers http.Header
}

func (c *cache) RoundTrip(r *http.Request) (*http.Response, error) {
	c.lists.Lock()
	kept, ok := c.kept[r.URL.String()]
	c.lists.Unlock()
	if age := time.Since(kept.at); ok && age < c.keeps && !(c.honors && r.Header.Get("Cache-Control") == "no-cache") {
		resp, err := respond(http.StatusOK, string(kept.body), "Date", kept.headers.Get("Date"), "Age", strconv.Itoa(int(age.Seconds())+1))(r)
		return resp, err
	}
	resp, err := c.world.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK || !isList(r) {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	c.lists.Lock()
	defer c.lists.Unlock()
	c.kept[r.URL.String()] = cachedList{time.Now(), body, resp.Header}
	return resp, err
}

// isList, isGet and isCancel are true for the requests of one operation.
func isList(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/api/v1/reloads"
}
func isGet(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path != "/api/v1/reloads"
}
func isCancel(r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, "/actions/cancel")
}
func isTrigger(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/api/v1/reloads"
}

// sent returns the requests so far.
func (w *world) sent() (sent []worldRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		sent = append(sent, *r)
	}
	return sent
}

// postPlan is what happens to one trigger.
type postPlan struct {
	reach    time.Duration       // extra time until the service acts
	hold     time.Duration       // extra time until the client has the response
	noEffect bool                // the service does not act at all
	lost     bool                // the connection is reset instead of the response
	status   int                 // of the response; 0 means the service's own
	corrupt  func(string) string // changes the body of a 201
	cut      bool                // the connection is reset within the body
	runFor   time.Duration       // of the reload, if it is longer than the world's
	then     func()              // called when the service has acted, or would have
}

// worldCall is one call of the client. Its context identifies its requests.
type worldCall struct {
	plans     []postPlan // of its next triggers
	failLists int        // how many of its next lists fail

	posts    []time.Time     // when its triggers were sent
	made     []*worldRecord  // the reloads that they made
	listed   map[string]bool // the IDs of the reloads that its lists showed
	accepted bool            // a trigger got a 2xx
	repeated bool            // another trigger was sent after that
}

type worldCallKey struct{}

// newCall returns a call, and the context to make it with.
func newCall(ctx context.Context, plans ...postPlan) (context.Context, *worldCall) {
	call := &worldCall{plans: plans, listed: map[string]bool{}}
	return context.WithValue(ctx, worldCallKey{}, call), call
}

type worldApp struct {
	random  *rand.Rand
	records []*worldRecord
}

type worldRecord struct {
	id, app, resourceID string
	kind                reloads.Type
	partial             bool
	call                *worldCall // that made it; nil if it is unknown
	foreign             bool       // made by somebody else
	returned            bool       // a test has recorded that a call returned it
	number              int        // of the app's reloads, counted from 0

	created, started, ended time.Time
	canceled                time.Time // zero unless it was canceled
}

// cancelFor is how long a reload is CANCELING.
const cancelFor = 500 * time.Millisecond

func (w *world) status(r *worldRecord, now time.Time) reloads.Status {
	switch {
	case !r.canceled.IsZero() && now.Before(r.ended):
		return reloads.StatusCanceling
	case !r.canceled.IsZero():
		return reloads.StatusCanceled
	case !now.Before(r.ended) && w.ends != nil:
		return w.ends(r)
	case !now.Before(r.ended):
		return reloads.StatusSucceeded
	case !now.Before(r.started):
		return reloads.StatusReloading
	case w.queuedAs != nil:
		return *w.queuedAs
	}
	return reloads.StatusQueued
}

// app returns the state of an app. Every app exists.
func (w *world) app(id string) *worldApp {
	if w.apps == nil {
		w.apps, w.byID = map[string]*worldApp{}, map[string]*worldRecord{}
	}
	app := w.apps[id]
	if app == nil {
		hash := fnv.New64a()
		_, _ = io.WriteString(hash, id)
		app = &worldApp{random: rand.New(rand.NewPCG(w.seed, hash.Sum64()))}
		w.apps[id] = app
	}
	return app
}

// create makes a reload. It returns nil if the app has a pending one.
func (w *world) create(r worldRecord, runFor time.Duration) *worldRecord {
	now := time.Now()
	app := w.app(r.app)
	for _, other := range app.records {
		if now.Before(other.ended) {
			return nil
		}
	}
	// The ID says nothing about the order.
	hash := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%d", w.seed, r.app, len(app.records)))
	r.id = fmt.Sprintf("%x", hash[:12])
	r.created, r.started = now, now.Add(w.queueFor)
	r.ended = r.started.Add(max(w.runFor, runFor))
	if w.lasts != nil {
		r.ended = r.started.Add(max(w.runFor, runFor, w.lasts(r.app)))
	}
	r.kind = cmp.Or(r.kind, w.kind, reloads.TypeExternal)
	r.number = len(app.records)
	app.records = append(app.records, &r)
	w.byID[r.id] = &r
	w.all = append(w.all, &r)
	return &r
}

// triggerForeign makes a reload as somebody else. It returns nil if the app has a pending one.
func (w *world) triggerForeign(r worldRecord, runFor time.Duration) *worldRecord {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.foreign = true
	return w.create(r, runFor)
}

// idleAfter returns how long the app still has a pending reload.
func (w *world) idleAfter(app string) (d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.app(app).records {
		d = max(d, time.Until(r.ended))
	}
	return d
}

// own returns the reloads that the client made.
func (w *world) own() (own []*worldRecord) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.all {
		if !r.foreign {
			own = append(own, r)
		}
	}
	return own
}

// statuses returns how many of the client's reloads have which status.
func (w *world) statuses() map[reloads.Status]int {
	statuses := map[reloads.Status]int{}
	for _, r := range w.own() {
		statuses[w.status(r, time.Now())]++
	}
	return statuses
}

// postTimes returns when the triggers were sent.
func (w *world) postTimes() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.posts)
}

// trip returns the latency of one direction.
func (w *world) trip(app string) time.Duration {
	if !w.spread || w.latency == 0 {
		return w.latency
	}
	return w.latency/2 + time.Duration(w.app(app).random.Int64N(int64(w.latency*3/2)))
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	request := &worldRequest{method: r.Method, path: r.URL.Path, query: r.URL.RawQuery, began: time.Now()}
	w.mu.Lock()
	w.requests = append(w.requests, request)
	w.mu.Unlock()
	resp, err := w.serve(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	request.ended, request.err = time.Now(), err
	return resp, err
}

func (w *world) serve(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	if w.instead != nil {
		if other := w.instead(r); other != nil {
			return other(r)
		}
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v1/reloads")
	id, canceled := strings.CutSuffix(strings.TrimPrefix(path, "/"), "/actions/cancel")
	switch {
	case !ok:
		return nil, fmt.Errorf("the world has no %s", r.URL.Path)
	case r.Method == http.MethodPost && path == "":
		return w.post(r, body)
	case r.Method == http.MethodPost && canceled:
		return w.exchange(r, "", 0, 0, func() (*http.Response, error) { return w.cancel(r, id) })
	case path == "":
		app, reach := r.URL.Query().Get("appId"), time.Duration(0)
		if app != "" && w.lookUpLatency != nil {
			reach = w.lookUpLatency()
		}
		return w.exchange(r, app, reach, 0, func() (*http.Response, error) { return w.list(r) })
	}
	return w.exchange(r, "", 0, 0, func() (*http.Response, error) { return w.get(r, id) })
}

// exchange lets the service act when the request has arrived, and returns its response. The service does not notice if
// the client gives up.
func (w *world) exchange(r *http.Request, app string, reach, hold time.Duration, act func() (*http.Response, error)) (*http.Response, error) {
	type outcome struct {
		resp *http.Response
		err  error
	}
	w.mu.Lock()
	reach, hold = reach+w.trip(app), hold+w.trip(app)
	w.mu.Unlock()
	done := make(chan outcome, 1)
	after(reach, func() {
		w.mu.Lock()
		resp, err := act()
		w.mu.Unlock()
		after(hold, func() { done <- outcome{resp, err} })
	})
	select {
	case o := <-done:
		return o.resp, o.err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// after calls f in a goroutine of its own after d. With Go 1.26 and the race detector, a timer of a bubble that is due at once
// crashes now and then.
func after(d time.Duration, f func()) {
	if d <= 0 {
		go f()
		return
	}
	time.AfterFunc(d, f)
}

// respond returns a response with the current Date.
func (w *world) respond(r *http.Request, status int, body string) (*http.Response, error) {
	if w.noDate {
		return respond(status, body)(r)
	}
	return respond(status, body, "Date", time.Now().Add(w.dateOffset).UTC().Format(http.TimeFormat))(r)
}

func (w *world) fail(r *http.Request, status int, code, title string) (*http.Response, error) {
	return w.respond(r, status, fmt.Sprintf(`{"errors":[{"code":%q,"title":%q}]}`, code, title))
}

func (w *world) post(r *http.Request, body []byte) (*http.Response, error) {
	var req reloads.Request
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	call, _ := r.Context().Value(worldCallKey{}).(*worldCall)
	plan := w.everyPost
	w.mu.Lock()
	if w.planPost != nil {
		plan = w.planPost()
	}
	w.posts = append(w.posts, time.Now())
	if call != nil {
		call.posts = append(call.posts, time.Now())
		call.repeated = call.repeated || call.accepted
		if len(call.plans) > 0 {
			plan, call.plans = call.plans[0], call.plans[1:]
		}
	}
	w.mu.Unlock()
	resp, err := w.exchange(r, req.AppID, plan.reach, plan.hold, func() (*http.Response, error) {
		if plan.then != nil {
			defer after(0, plan.then) // without the lock
		}
		var made *worldRecord
		if !plan.noEffect {
			made = w.create(worldRecord{app: req.AppID, resourceID: req.ResourceID, partial: req.Partial, call: call}, plan.runFor)
		}
		if made != nil && call != nil {
			call.made = append(call.made, made)
		}
		switch {
		case plan.status >= 500:
			return w.respond(r, plan.status, "<html>"+http.StatusText(plan.status)+"</html>")
		case plan.lost || plan.noEffect:
			return nil, errReset
		case made == nil:
			return w.fail(r, http.StatusTooManyRequests, "RELOADS-007", "a pending reload request already exists for this app")
		}
		text := w.encode(made, w.omitCreated)
		if plan.corrupt != nil {
			text = plan.corrupt(text)
		}
		resp, err := w.respond(r, cmp.Or(plan.status, http.StatusCreated), text)
		if plan.cut && err == nil {
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(text[:20]), brokenReader{}))
		}
		return resp, err
	})
	if call != nil && err == nil && resp.StatusCode < 300 {
		w.mu.Lock()
		call.accepted = true
		w.mu.Unlock()
	}
	return resp, err
}

// brokenReader is a body whose connection was reset.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errReset }

func (w *world) cancel(r *http.Request, id string) (*http.Response, error) {
	record, now := w.byID[id], time.Now()
	switch {
	case record == nil:
		return w.fail(r, http.StatusNotFound, "HTTP-404", "not found")
	case !now.Before(record.ended):
		return w.fail(r, http.StatusConflict, "HTTP-409", "the reload has finished")
	case record.canceled.IsZero():
		record.canceled, record.ended = now, now.Add(cancelFor)
	}
	return w.respond(r, http.StatusAccepted, `{"status":"CANCELING"}`)
}

func (w *world) get(r *http.Request, id string) (*http.Response, error) {
	record := w.byID[id]
	if record == nil {
		return w.fail(r, http.StatusNotFound, "HTTP-404", "not found")
	}
	return w.respond(r, http.StatusOK, w.encode(record, w.omitGot))
}

// list returns a page. Records with the same value of the sort field are in no particular order.
func (w *world) list(r *http.Request) (*http.Response, error) {
	call, _ := r.Context().Value(worldCallKey{}).(*worldCall)
	if call != nil && call.failLists > 0 {
		if call.failLists--; call.failLists%2 == 1 {
			return nil, errReset
		}
		return w.fail(r, http.StatusInternalServerError, "HTTP-500", "internal error")
	}
	query, now := r.URL.Query(), time.Now()
	records := w.all
	if app := query.Get("appId"); app != "" {
		records = w.app(app).records
	}
	if w.ignoreFilter {
		query.Del("filter")
	}
	order := cmp.Or(query.Get("sort"), "-creationTime")
	if w.ignoreSort {
		order = "-creationTime"
	}
	at := func(record *worldRecord) time.Time {
		if w.behind == nil {
			return now
		}
		return now.Add(-w.behind(record))
	}
	filter := filterTokens.FindAllString(query.Get("filter"), -1)
	matches := map[[3]string]bool{}
	var shown []*worldRecord
	for _, record := range records {
		if now.Before(record.created.Add(w.listLag)) || w.unlisted != nil && w.unlisted(record) {
			continue
		}
		status, kind, partial := string(w.status(record, at(record))), string(record.kind), strconv.FormatBool(record.partial)
		match, known := matches[[3]string{status, kind, partial}]
		if !known {
			match = matchesFilter(filter, map[string]string{"status": status, "type": kind, "partial": partial}) &&
				(query.Get("partial") == "" || query.Get("partial") == partial)
			matches[[3]string{status, kind, partial}] = match
		}
		if match {
			shown = append(shown, record)
		}
	}
	w.sort(shown, order, at)
	limit, err := strconv.Atoi(cmp.Or(query.Get("limit"), "10"))
	offset, err2 := strconv.Atoi(cmp.Or(query.Get("next"), "0"))
	if err = errors.Join(err, err2); err != nil || limit < 1 || limit > 100 {
		return w.fail(r, http.StatusBadRequest, "HTTP-400", "bad request")
	}
	offset = min(offset, len(shown)) // the list may have become shorter
	end := min(offset+limit, len(shown))
	var texts []string
	if w.extra != "" {
		texts = append(texts, w.extra)
	}
	for _, record := range shown[offset:end] {
		texts = append(texts, w.encodeAt(record, w.omitListed, at(record)))
		if call != nil {
			call.listed[record.id] = true
		}
	}
	links := "{}"
	if end < len(shown) {
		query.Set("next", strconv.Itoa(end))
		links = fmt.Sprintf(`{"next":{"href":"https://tenant.example.com/api/v1/reloads?%s"}}`, query.Encode())
	}
	return w.respond(r, http.StatusOK, `{"data":[`+strings.Join(texts, ",")+`],"links":`+links+`}`)
}

func (w *world) sort(records []*worldRecord, order string, at func(*worldRecord) time.Time) {
	field := strings.TrimLeft(order, "+-")
	if !slices.Contains([]string{"creationTime", "startTime", "endTime"}, field) {
		panic("the world cannot sort by " + field)
	}
	keys := make(map[*worldRecord]int64, len(records)) // in milliseconds; 0 if the record lacks the field
	for _, r := range records {
		switch now := at(r); {
		case field == "creationTime":
			keys[r] = w.recordTime(r.created).Truncate(max(w.precision, time.Millisecond)).UnixMilli()
		case field == "startTime" && !now.Before(r.started):
			keys[r] = w.recordTime(r.started).UnixMilli()
		case field == "endTime" && !now.Before(r.ended):
			keys[r] = w.endTime(r).UnixMilli()
		}
	}
	slices.SortFunc(records, func(a, b *worldRecord) int {
		c := cmp.Compare(keys[a], keys[b])
		if w.nullsFirst && (keys[a] == 0) != (keys[b] == 0) {
			return c
		}
		if strings.HasPrefix(order, "-") {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.id, b.id))
	})
}

// recordJSON is a record as the service sends it.
type recordJSON struct {
	ID           string    `json:"id"`
	AppID        string    `json:"appId"`
	TenantID     string    `json:"tenantId"`
	UserID       string    `json:"userId"`
	Type         string    `json:"type,omitempty"`
	Status       string    `json:"status"`
	Partial      *bool     `json:"partial,omitempty"`
	ResourceID   string    `json:"resourceId,omitempty"`
	CreationTime string    `json:"creationTime"`
	StartTime    string    `json:"startTime,omitempty"`
	EndTime      string    `json:"endTime,omitempty"`
	Links        *linkJSON `json:"links,omitempty"`
}

type linkJSON struct {
	Self map[string]string `json:"self"`
}

const milliseconds = "2006-01-02T15:04:05.000Z"

// recordTime returns a time by the clock of the records.
func (w *world) recordTime(t time.Time) time.Time {
	return t.Add(w.dateOffset + w.recordOffset).UTC()
}

func (w *world) creationTime(r *worldRecord) string {
	layout := milliseconds
	switch w.precision {
	case time.Second:
		layout = "2006-01-02T15:04:05Z"
	case 10 * time.Millisecond:
		layout = "2006-01-02T15:04:05.00Z"
	}
	return w.recordTime(r.created).Format(layout) // Format truncates
}

func (w *world) fill(f *recordJSON, r *worldRecord, now time.Time) {
	*f = recordJSON{
		ID: r.id, AppID: r.app, TenantID: "tenant", UserID: "user", Type: string(r.kind), Status: string(w.status(r, now)),
		Partial: &r.partial, ResourceID: r.resourceID, CreationTime: w.creationTime(r),
		Links: &linkJSON{map[string]string{"href": "https://tenant.example.com/api/v1/reloads/" + r.id}},
	}
	if !now.Before(r.started) {
		f.StartTime = w.recordTime(r.started).Format(milliseconds)
	}
	if !now.Before(r.ended) {
		f.EndTime = w.endTime(r).Format(milliseconds)
	}
}

func (w *world) endTime(r *worldRecord) time.Time {
	if w.endOffset != nil {
		return w.recordTime(r.ended.Add(w.endOffset(r)))
	}
	return w.recordTime(r.ended)
}

// encode returns the record without the omitted fields.
func (w *world) encode(r *worldRecord, omitted []string) string {
	return w.encodeAt(r, omitted, time.Now())
}

// encodeAt returns the record as it was at the given time.
func (w *world) encodeAt(r *worldRecord, omitted []string, at time.Time) string {
	var f recordJSON
	w.fill(&f, r, at)
	for _, field := range omitted {
		switch field {
		case "partial":
			f.Partial = nil
		case "resourceId":
			f.ResourceID = ""
		case "type":
			f.Type = ""
		case "links":
			f.Links = nil
		case "endTime":
			f.EndTime = ""
		default:
			panic("the world cannot omit " + field)
		}
	}
	text, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return string(text)
}

var filterTokens = regexp.MustCompile(`[()]|"[^"]*"|[^\s()"]+`)

// matchesFilter evaluates the tokens of what the service documents of SCIM: eq, and, or, parentheses.
func matchesFilter(tokens []string, fields map[string]string) bool {
	if len(tokens) == 0 {
		return true
	}
	next := func() (token string) {
		if len(tokens) > 0 {
			token, tokens = tokens[0], tokens[1:]
		}
		return token
	}
	is := func(word string) bool { return len(tokens) > 0 && strings.EqualFold(tokens[0], word) }
	var either func() bool
	comparison := func() bool {
		if is("(") {
			next()
			ok := either()
			next() // the closing parenthesis
			return ok
		}
		field := next()
		next() // eq
		return fields[field] == strings.Trim(next(), `"`)
	}
	both := func() bool {
		ok := comparison()
		for is("and") {
			next()
			ok = comparison() && ok
		}
		return ok
	}
	either = func() bool {
		ok := both()
		for is("or") {
			next()
			ok = both() || ok
		}
		return ok
	}
	return either()
}

// triggered is the outcome of a call of Trigger.
type triggered struct {
	reload *reloads.Reload
	err    error
	*worldCall
}

// trigger calls Trigger. It returns when nothing can take effect anymore.
func (w *world) trigger(t *testing.T, client *reloads.Client, req reloads.Request, plans ...postPlan) triggered {
	t.Helper()
	ctx, call := newCall(t.Context(), plans...)
	reload, err := client.Trigger(ctx, req)
	time.Sleep(10 * time.Minute)
	w.mu.Lock()
	defer w.mu.Unlock()
	return triggered{reload, err, call}
}

// returnsOwn checks that the call made one reload and returned it.
func (r triggered) returnsOwn(t *testing.T) {
	t.Helper()
	r.makesOne(t)
	if r.err != nil || r.reload == nil || len(r.made) == 0 || r.reload.ID != r.made[0].id {
		t.Errorf("got %s, want the call's own reload, one of %s", r, r.ids())
	}
}

// isUnknown checks that the call made at most one reload, and that its error matches ErrOutcomeUnknown and names the
// records.
func (r triggered) isUnknown(t *testing.T, ids ...string) {
	t.Helper()
	r.makesOne(t)
	if r.reload != nil || !errors.Is(r.err, reloads.ErrOutcomeUnknown) {
		t.Errorf("got %s, want ErrOutcomeUnknown; the call made %s", r, r.ids())
		return
	}
	for _, id := range ids {
		if !strings.Contains(r.err.Error(), id) {
			t.Errorf("got %q, want an error that names the reload %s", r.err, id)
		}
	}
}

// returnsOwnOrUnknown checks that the call returned its own reload, or that its outcome is unknown and the error names it.
func (r triggered) returnsOwnOrUnknown(t *testing.T, named bool) {
	t.Helper()
	switch {
	case r.err == nil:
		r.returnsOwn(t)
	case named:
		r.isUnknown(t, r.ids()...)
	default:
		r.isUnknown(t)
	}
}

func (r triggered) makesOne(t *testing.T) {
	t.Helper()
	if len(r.made) > 1 {
		t.Errorf("the call made the reloads %s, %v apart, want one", r.ids(), r.made[1].created.Sub(r.made[0].created))
	}
}

// sent checks how many triggers the call sent.
func (r triggered) sent(t *testing.T, want int) {
	t.Helper()
	if len(r.posts) != want {
		t.Errorf("the call sent %d triggers, want %d", len(r.posts), want)
	}
}

func (r triggered) String() string {
	if r.reload == nil {
		return fmt.Sprint("the error ", r.err)
	}
	return fmt.Sprintf("the reload %s, created %v, and the error %v", r.reload.ID, r.reload.CreationTime, r.err)
}

func (r triggered) ids() (ids []string) {
	for _, made := range r.made {
		ids = append(ids, made.id)
	}
	return ids
}

// calibrate lets the client trigger other apps, so that it knows the clock of the records.
func (w *world) calibrate(t *testing.T, client *reloads.Client) {
	t.Helper()
	for i := range 8 {
		if _, err := client.Trigger(t.Context(), reloads.Request{AppID: fmt.Sprint("calibration", i)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(137 * time.Millisecond)
	}
}

func TestWorldFilter(t *testing.T) {
	t.Parallel()
	fields := map[string]string{"status": "FAILED", "partial": "false", "type": "chronos"}
	for filter, want := range map[string]bool{
		"":                   true,
		`status eq "FAILED"`: true,
		`status eq "QUEUED"`: false,
		`type eq "external" OR status eq "FAILED"`:                                                        true,
		`(status eq "FAILED" or status eq "EXCEEDED_LIMIT") and partial eq "false" and type eq "chronos"`: true,
		`(status eq "QUEUED" or status eq "EXCEEDED_LIMIT") and partial eq "false" and type eq "chronos"`: false,
		`status eq "QUEUED" or status eq "FAILED" and partial eq "true"`:                                  false,
		string(reloads.StatusIs(reloads.StatusFailed)):                                                    true,
	} {
		if got := matchesFilter(filterTokens.FindAllString(filter, -1), fields); got != want {
			t.Errorf("%s: got %v, want %v", filter, got, want)
		}
	}
}
