//go:build unix

package tracking_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// world is what a model of the service contains, and how it differs from what is expected of it. All times are relative to
// the beginning of the batch.
type world struct {
	Seed    uint64
	Reloads int                                 // that the batch tracks
	Ends    func(*rand.Rand, int) time.Duration // when reload i ends
	Queue   func(*rand.Rand) time.Duration      // how long a reload is queued before it starts; nil means not at all
	Age     time.Duration                       // of the reloads when the batch begins
	Foreign int                                 // other reloads, for each tracked one
	Late    func(*rand.Rand) time.Duration      // how late the list shows an end; nil means at once
	Hidden  float64                             // share of the tracked reloads that are never listed
	NoEnd   float64                             // share of all reloads that are canceled and have no end time
	Rounded time.Duration                       // end times are truncated to this
	Clock   time.Duration                       // how far the clock of the server is ahead
	Nulls   bool                                // the list begins with the reloads that have no end time
	Offsets bool                                // cursors are positions, so that they shift when the list grows
	NoSort  bool                                // the list is always sorted by creation time, latest first
	Refuse  int                                 // the status of all lists; 0 means that they are not refused
}

// latency is the time from a request to its response. The service acts halfway.
const latency = 100 * time.Millisecond

type record struct {
	created, started, ended time.Duration
	shown                   time.Duration // the end time in the record
	listed                  time.Duration // when the list shows that the reload has ended
	tracked, canceled       bool
}

// service is a model of the service, without a network. The future of every reload is known from the beginning, so each
// list is a range of a sorted slice.
type service struct {
	world
	began   time.Time
	records []record         // the index is the ID; the tracked ones come first
	orders  map[string]order // by the value of sort

	mu       sync.Mutex
	requests []time.Duration     // when they were sent
	log      func(*http.Request) // nil, or called with each request
}

const never = 1 << 62 // nanoseconds

func newService(w world) *service {
	random := rand.New(rand.NewPCG(uint64(w.Reloads), w.Seed))
	s := &service{world: w, began: time.Now()}
	s.records = make([]record, w.Reloads*(1+w.Foreign))
	for i := range s.records {
		r := &s.records[i]
		r.tracked = i < w.Reloads
		r.created = -w.Age - time.Duration(random.Int64N(int64(time.Second)))
		if w.Queue != nil {
			r.started = w.Queue(random)
		}
		r.ended = r.started + w.Ends(random, i)
		if !r.tracked {
			r.created = r.ended - time.Duration(random.Int64N(int64(30*time.Minute)))
			r.started = r.created
		}
		r.shown, r.listed = r.ended, r.ended
		if w.Late != nil {
			r.listed += w.Late(random)
		}
		if w.Rounded > 0 {
			r.shown = s.began.Add(w.Clock+r.ended).Truncate(w.Rounded).Sub(s.began) - w.Clock
		}
		r.canceled = random.Float64() < w.NoEnd
		if r.tracked && random.Float64() < w.Hidden {
			r.listed = never
		}
	}
	s.index()
	return s
}

// order is the records in the order of a list. They are sorted by time, latest first, from the given index on.
type order struct {
	records []int32
	sorted  int
	time    func(*record) time.Duration
}

// index sorts the records in every order that a list may have.
func (s *service) index() {
	var ended, withoutEnd, all []int32
	for i := range s.records {
		all = append(all, int32(i))
		if s.records[i].canceled {
			withoutEnd = append(withoutEnd, int32(i))
		} else {
			ended = append(ended, int32(i))
		}
	}
	latestFirst := func(indexes []int32, time func(*record) time.Duration) []int32 {
		indexes = slices.Clone(indexes)
		slices.SortFunc(indexes, func(a, b int32) int {
			return cmp.Or(cmp.Compare(time(&s.records[b]), time(&s.records[a])), cmp.Compare(a, b))
		})
		return indexes
	}
	byEnd := func(r *record) time.Duration { return r.shown }
	byStart := func(r *record) time.Duration { return r.started }
	ended, withoutEnd = latestFirst(ended, byEnd), latestFirst(withoutEnd, byEnd)
	s.orders = map[string]order{
		"-endTime":      {append(slices.Clone(ended), withoutEnd...), 0, byEnd},
		"-startTime":    {latestFirst(all, byStart), 0, byStart},
		"-creationTime": {latestFirst(all, func(r *record) time.Duration { return r.created }), len(all), nil},
	}
	if s.Nulls {
		s.orders["-endTime"] = order{append(withoutEnd, ended...), len(withoutEnd), byEnd}
	}
}

// next returns the first index from which on the list may contain a record at the given time. The records before it have
// a later time.
func (s *service) next(o order, from int, now time.Duration) int {
	if from < o.sorted {
		return from
	}
	rest := o.records[from:]
	return from + sort.Search(len(rest), func(i int) bool {
		r := &s.records[rest[i]]
		return o.time(r) <= now || r.canceled && !s.Nulls
	})
}

// RoundTrip implements http.RoundTripper.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.requests = append(s.requests, time.Since(s.began))
	if s.log != nil {
		s.log(r)
	}
	s.mu.Unlock()
	if err := sleep(r, latency/2); err != nil {
		return nil, err
	}
	now := time.Since(s.began)
	status, body := s.serve(r, now)
	header := http.Header{
		"Content-Type": {"application/json"},
		"Date":         {s.began.Add(now + s.Clock).UTC().Format(http.TimeFormat)},
	}
	if err := sleep(r, latency/2); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}

func sleep(r *http.Request, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func (s *service) serve(r *http.Request, now time.Duration) (status int, body []byte) {
	path, _ := strings.CutPrefix(r.URL.Path, "/api/v1/reloads")
	if path == "" {
		return s.list(r.URL.Query(), now)
	}
	i, err := strconv.ParseInt(path[1:], 16, 64)
	if err != nil || int(i) >= len(s.records) {
		return refusal(http.StatusNotFound)
	}
	return http.StatusOK, s.appendRecord(nil, int32(i), now, true)
}

func refusal(status int) (int, []byte) {
	return status, fmt.Appendf(nil, `{"errors":[{"code":"HTTP-%d","title":%q}]}`, status, http.StatusText(status))
}

// list returns a page of one of the two lists that a batch reads.
func (s *service) list(query url.Values, now time.Duration) (status int, body []byte) {
	if s.Refuse != 0 {
		return refusal(s.Refuse)
	}
	filter := query.Get("filter")
	ended := strings.Contains(filter, `"SUCCEEDED"`) && strings.Contains(filter, `"CANCELED"`)
	started := strings.Contains(filter, `"RELOADING"`)
	limit, err := strconv.Atoi(cmp.Or(query.Get("limit"), "10"))
	if err != nil || limit < 1 || limit > 100 || ended == started {
		return refusal(http.StatusBadRequest)
	}
	shows := func(r *record) bool { return r.listed <= now }
	if started {
		shows = func(r *record) bool { return r.started <= now && now < r.ended }
	}
	sorting := query.Get("sort")
	if s.NoSort {
		sorting = "-creationTime"
	}
	o, ok := s.orders[sorting]
	if !ok {
		return refusal(http.StatusBadRequest)
	}
	from, _ := strconv.Atoi(query.Get("next"))
	position, skip := from, 0
	if s.Offsets {
		position, skip = 0, from
	}
	body = append(body, `{"data":[`...)
	n, next := 0, -1
	for ; position < len(o.records); position++ {
		i := o.records[position]
		switch r := &s.records[i]; {
		case !shows(r):
			position = max(position, s.next(o, position, now)-1)
			continue
		case skip > 0:
			skip--
			continue
		}
		if n == limit {
			next = position
			if s.Offsets {
				next = from + limit
			}
			break
		}
		if n++; n > 1 {
			body = append(body, ',')
		}
		body = s.appendRecord(body, i, now, query.Get("log") == "true")
	}
	body = append(body, `],"links":{`...)
	if next >= 0 {
		query.Set("next", strconv.Itoa(next))
		body = fmt.Appendf(body, `"next":{"href":"https://tenant.example.com/api/v1/reloads?%s"}`, query.Encode())
	}
	return http.StatusOK, append(body, "}}"...)
}

// appendRecord appends a record as the service sends it.
func (s *service) appendRecord(b []byte, i int32, now time.Duration, log bool) []byte {
	r := &s.records[i]
	id := reloadID(int(i))
	b = append(b, `{"id":"`...)
	b = append(b, id...)
	b = append(b, `","appId":"116dbfae-7fb9-4983-8e23-`...)
	b = append(b, id[12:]...)
	b = append(b, `","tenantId":"efSCcpNYuayTysONkUcE3F80zYQ_LV9w","userId":"FyPG6xWp6prDU6BXQ3g7LY9gWR_YRkkx","type":"external","partial":false,"weight":1`...)
	b = s.appendTime(b, "creationTime", r.created)
	if now >= r.started {
		b = s.appendTime(b, "startTime", r.started)
	}
	switch {
	case now < r.started:
		b = append(b, `,"status":"QUEUED"`...)
	case now < r.ended:
		b = append(b, `,"status":"RELOADING"`...)
	case r.canceled:
		b = append(b, `,"status":"CANCELED"`...)
	default:
		b = append(b, `,"status":"SUCCEEDED"`...)
		b = s.appendTime(b, "endTime", r.shown)
		if log {
			b = append(b, `,"log":"ReloadID: `...)
			b = append(b, id...)
			b = append(b, `\nReload finished successfully\nIn total 1000 rows read from sources.\nIn total 900 rows stored.\n"`...)
		}
	}
	b = append(b, `,"links":{"self":{"href":"https://tenant.example.com/api/v1/reloads/`...)
	b = append(b, id...)
	return append(b, `"}}}`...)
}

func (s *service) appendTime(b []byte, name string, t time.Duration) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":"`...)
	b = s.began.Add(t+s.Clock).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	return append(b, '"')
}

// reloadID returns the ID of a record. It has the length of the service's.
func reloadID(i int) string { return fmt.Sprintf("%024x", i) }
