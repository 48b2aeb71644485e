package faulttest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// crashService is a model of the service for client processes that are killed. It shares no code with package reloadstest,
// so that a wrong idea of the service is not in both. It has no rate limits, because a process that starts again does not
// know what the one before has sent.
//
// Lists are behind: each reload has a lag of its own, and a list shows it as it was that long ago. A GET by ID is not
// behind. A trigger takes effect a while after it has arrived, even if its connection is closed by then.
type crashService struct {
	maxLag         time.Duration // of a list
	minTime, spare time.Duration // a reload takes minTime to minTime+spare, in the queue and running
	failFast       bool          // one that fails takes less
	maxEffect      time.Duration // until a trigger takes effect
	failing        float64       // share of the reloads that fail
	lost           float64       // share of the triggers whose response is lost, after they took effect

	mu     sync.Mutex
	random *rand.Rand
	all    []*crashReload // in order of creation
	byApp  map[string][]*crashReload
	byID   map[string]*crashReload
	lives  map[string]*crashLife // by token
	night  map[string]int        // the current night of each app

	lists, gets, posts, refused, lostPosts, late int // figures
}

// crashReload is a reload of the model.
type crashReload struct {
	id, app, resourceID     string
	partial, failed         bool
	foreign                 bool // somebody else triggered it
	night                   int
	lag                     time.Duration
	created, started, ended time.Time
}

// crashLife is one process of a client, from its start to its end.
type crashLife struct {
	posted          chan struct{} // receives a value for each trigger that arrives
	posts, inFlight int           // triggers
	killed          bool
}

func newCrashService(seed uint64) *crashService {
	return &crashService{
		maxLag: 2 * time.Second, minTime: 200 * time.Millisecond, spare: 3800 * time.Millisecond,
		maxEffect: 300 * time.Millisecond, failing: 0.25, lost: 0.1,
		random: rand.New(rand.NewPCG(seed, 0)),
		byApp:  map[string][]*crashReload{}, byID: map[string]*crashReload{},
		lives: map[string]*crashLife{}, night: map[string]int{},
	}
}

// upTo returns a random duration. The caller holds s.mu.
func (s *crashService) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.random.Int64N(int64(d)))
}

// begin announces a process that uses the token.
func (s *crashService) begin(token string) *crashLife {
	s.mu.Lock()
	defer s.mu.Unlock()
	life := &crashLife{posted: make(chan struct{}, 1000)}
	s.lives[token] = life
	return life
}

// status returns the status of a reload at a time, or "" before it was created.
func (r *crashReload) status(at time.Time) string {
	switch {
	case at.Before(r.created):
		return ""
	case at.Before(r.started):
		return "QUEUED"
	case at.Before(r.ended):
		return "RELOADING"
	case r.failed:
		return "FAILED"
	}
	return "SUCCEEDED"
}

// time returns the time in a field of the record, as it was at a time.
func (r *crashReload) time(field string, at time.Time) time.Time {
	t := r.created
	switch field {
	case "startTime":
		t = r.started
	case "endTime":
		t = r.ended
	}
	if at.Before(t) {
		return time.Time{}
	}
	return t
}

const crashTime = "2006-01-02T15:04:05.000Z"

// encode returns the record of a reload as it was at a time.
func (r *crashReload) encode(at time.Time) map[string]any {
	record := map[string]any{
		"id": r.id, "appId": r.app, "tenantId": "tenant", "userId": "user", "type": "external", "partial": r.partial,
		"status": r.status(at), "creationTime": r.created.UTC().Format(crashTime),
		"links": map[string]any{"self": map[string]any{"href": "https://tenant.example.com/api/v1/reloads/" + r.id}},
	}
	if r.resourceID != "" {
		record["resourceId"] = r.resourceID
	}
	if !at.Before(r.started) {
		record["startTime"] = r.started.UTC().Format(crashTime)
	}
	if !at.Before(r.ended) {
		record["endTime"] = r.ended.UTC().Format(crashTime)
	}
	return record
}

// create makes a reload, or returns nil if the app has a pending one. The caller holds s.mu.
func (s *crashService) create(r crashReload) *crashReload {
	now := time.Now()
	records := s.byApp[r.app]
	if n := len(records); n > 0 && now.Before(records[n-1].ended) {
		return nil
	}
	r.id = fmt.Sprintf("%08x%016x", s.random.Uint32(), s.random.Uint64())
	r.created, r.lag, r.night = now, s.upTo(s.maxLag), s.night[r.app]
	r.failed = !r.foreign && s.random.Float64() < s.failing
	takes := s.minTime + s.upTo(s.spare)
	if r.failed && s.failFast {
		takes = s.upTo(takes)
	}
	r.started, r.ended = now.Add(s.upTo(takes/2)), now.Add(takes)
	s.add(&r)
	return &r
}

func (s *crashService) add(r *crashReload) {
	s.all = append(s.all, r)
	s.byApp[r.app] = append(s.byApp[r.app], r)
	s.byID[r.id] = r
}

// addHistory gives an app reloads of former days.
func (s *crashService) addHistory(app string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		created := time.Now().Add(time.Duration(i-n) * time.Hour)
		s.add(&crashReload{
			id: fmt.Sprintf("%s-%d", app, i), app: app, foreign: true, night: -1,
			created: created, started: created.Add(time.Minute), ended: created.Add(2 * time.Minute),
		})
	}
}

// triggerForeign makes a reload as somebody else, if the app is free.
func (s *crashService) triggerForeign(app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.create(crashReload{app: app, foreign: true})
}

// isActive reports whether one of the apps has a reload of a client that has not finished. The caller holds s.mu.
func (s *crashService) isActive(apps []string) bool {
	now := time.Now()
	return slices.ContainsFunc(apps, func(app string) bool {
		return slices.ContainsFunc(s.byApp[app], func(r *crashReload) bool { return !r.foreign && now.Before(r.ended) })
	})
}

func (s *crashService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v1/reloads")
	s.mu.Lock()
	life := s.lives[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case life == nil:
		crashFail(w, http.StatusUnauthorized, "HTTP-401", "unknown token")
	case !ok:
		crashFail(w, http.StatusNotFound, "HTTP-404", "unknown path")
	case r.Method == http.MethodPost && path == "":
		s.post(w, r, life)
	case r.Method == http.MethodGet && path == "":
		s.unreliably(w, func() { s.list(w, r) })
	case r.Method == http.MethodGet:
		s.unreliably(w, func() { s.get(w, strings.TrimPrefix(path, "/")) })
	default:
		crashFail(w, http.StatusNotFound, "HTTP-404", "unknown operation")
	}
}

func crashFail(w http.ResponseWriter, status int, code, title string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"title":%q}]}`, code, title)
}

// unreliably responds, except for one request in 50, which fails.
func (s *crashService) unreliably(w http.ResponseWriter, respond func()) {
	s.mu.Lock()
	what, latency := s.random.IntN(100), s.upTo(20*time.Millisecond)
	s.mu.Unlock()
	time.Sleep(latency)
	switch what {
	case 0:
		panic(http.ErrAbortHandler) // closes the connection
	case 1:
		crashFail(w, http.StatusServiceUnavailable, "HTTP-503", "try again")
	default:
		respond()
	}
}

func (s *crashService) post(w http.ResponseWriter, r *http.Request, life *crashLife) {
	var req struct {
		AppID      string `json:"appId"`
		Partial    bool   `json:"partial"`
		ResourceID string `json:"resourceId"`
	}
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, json.Unmarshal(body, &req)); err != nil {
		crashFail(w, http.StatusBadRequest, "HTTP-400", err.Error())
		return
	}
	s.mu.Lock()
	s.posts++
	life.posts++
	life.inFlight++
	select {
	case life.posted <- struct{}{}:
	default: // nobody waits for so many
	}
	effect, hold := s.upTo(s.maxEffect), s.upTo(100*time.Millisecond)
	s.mu.Unlock()
	time.Sleep(effect)
	s.mu.Lock()
	made := s.create(crashReload{app: req.AppID, partial: req.Partial, resourceID: req.ResourceID})
	lost := made != nil && s.random.Float64() < s.lost
	switch {
	case made == nil:
		s.refused++
	case life.killed:
		s.late++
	case lost:
		s.lostPosts++
	}
	s.mu.Unlock()
	time.Sleep(hold)
	s.mu.Lock()
	life.inFlight--
	s.mu.Unlock()
	switch {
	case lost:
		panic(http.ErrAbortHandler)
	case made == nil:
		crashFail(w, http.StatusTooManyRequests, "RELOADS-007", "a pending reload request already exists for this app")
	default:
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(made.encode(made.created))
	}
}

func (s *crashService) get(w http.ResponseWriter, id string) {
	s.mu.Lock()
	s.gets++
	record := s.byID[id]
	s.mu.Unlock()
	if record == nil {
		crashFail(w, http.StatusNotFound, "HTTP-404", "not found")
		return
	}
	_ = json.NewEncoder(w).Encode(record.encode(time.Now()))
}

var crashFilter = regexp.MustCompile(`^status eq "([A-Z_]+)"$`)

// list returns a page. It refuses a query that it does not understand.
func (s *crashService) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	statuses := map[string]bool{}
	for part := range strings.SplitSeq(query.Get("filter"), " or ") {
		if m := crashFilter.FindStringSubmatch(part); m != nil {
			statuses[m[1]] = true
		} else if part != "" {
			crashFail(w, http.StatusBadRequest, "HTTP-400", "unknown filter")
			return
		}
	}
	field, descending := strings.CutPrefix(cmp.Or(query.Get("sort"), "-creationTime"), "-")
	field = strings.TrimPrefix(field, "+")
	limit, err := strconv.Atoi(cmp.Or(query.Get("limit"), "10"))
	offset, err2 := strconv.Atoi(cmp.Or(query.Get("next"), "0"))
	if errors.Join(err, err2) != nil || limit < 1 || limit > 100 || !slices.Contains([]string{"creationTime", "startTime", "endTime"}, field) {
		crashFail(w, http.StatusBadRequest, "HTTP-400", "invalid query")
		return
	}
	type row struct {
		*crashReload
		at, key time.Time
	}
	var rows []row
	now := time.Now()
	s.mu.Lock()
	s.lists++
	records := s.all
	if app := query.Get("appId"); app != "" {
		records = s.byApp[app]
	}
	for _, r := range records {
		at := now.Add(-r.lag)
		status := r.status(at)
		if status == "" || len(statuses) > 0 && !statuses[status] {
			continue
		}
		rows = append(rows, row{r, at, r.time(field, at)})
	}
	s.mu.Unlock()
	slices.SortFunc(rows, func(a, b row) int {
		c := cmp.Or(a.key.Compare(b.key), cmp.Compare(a.id, b.id))
		if descending {
			return -c
		}
		return c
	})
	offset = min(offset, len(rows))
	end := min(offset+limit, len(rows))
	data := []any{}
	for _, r := range rows[offset:end] {
		data = append(data, r.encode(r.at))
	}
	links := map[string]any{}
	if end < len(rows) {
		query.Set("next", strconv.Itoa(end))
		links["next"] = map[string]string{"href": "https://tenant.example.com/api/v1/reloads?" + query.Encode()}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data, "links": links})
}
