package reloads

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The decoders of responses, for the tests of the codec.
var (
	DecodeErrorBody = decodeErrorBody
	DecodeReload    = decodeReload
	CursorOf        = cursor
)

// DecodePage decodes a page, leniently if it needs that.
func DecodePage(data []byte) (pageBody, error) {
	page, err := decodePage(data)
	if err != nil {
		page, _, err = decodeValid(data)
	}
	return page, err
}

// Listeners returns how many waits and batches of a client receive hints.
func Listeners(c *Client) int {
	c.hints.mu.Lock()
	defer c.hints.mu.Unlock()
	return len(c.hints.listeners)
}

// responseDate is the Date header of the responses.
var responseDate = time.Date(2026, 11, 4, 3, 0, 0, 0, time.UTC)

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	const most = 9223372036 * time.Second
	for value, want := range map[string]struct {
		wait time.Duration
		ok   bool
	}{
		"0": {0, true}, "13": {13 * time.Second, true}, "  13\t": {13 * time.Second, true}, "0013": {13 * time.Second, true},
		"9223372036": {most, true}, "9223372037": {most, true}, "99999999999999999999": {most, true},
		"Wed, 04 Nov 2026 03:00:13 GMT": {13 * time.Second, true}, "Wed, 04 Nov 2026 02:59:59 GMT": {0, true},
		"Wednesday, 04-Nov-26 03:00:13 GMT": {13 * time.Second, true}, "Wed Nov  4 03:00:13 2026": {13 * time.Second, true},
		"": {}, " ": {}, "-1": {}, "+1": {}, "1.5": {}, "1e3": {}, "13s": {}, "soon": {}, "١٣": {}, "2026-11-04T03:00:13Z": {},
	} {
		if wait, ok := retryAfter(value, responseDate); wait != want.wait || ok != want.ok {
			t.Errorf("%q: %v, %v, want %v, %v", value, wait, ok, want.wait, want.ok)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "13", "-1", "1.5", "99999999999999999999", "Wed, 04 Nov 2026 03:00:13 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if wait, ok := retryAfter(value, responseDate); wait < 0 || !ok && wait != 0 {
			t.Errorf("%q: %v, %v", value, wait, ok)
		}
	})
}

func TestBackoffBounds(t *testing.T) {
	t.Parallel()
	for _, p := range []RetryPolicy{{}, {MinBackoff: 1}, {MinBackoff: time.Hour}, {MinBackoff: 1, MaxBackoff: 1}, {MaxBackoff: 1<<63 - 1}} {
		p = p.withDefaults()
		most := p.MinBackoff
		for n := range 200 {
			if got := p.backoff(n); got < most-most/2-1 || got > most {
				t.Errorf("%+v, retry %d: %v, want %v to %v", p, n, got, most/2, most)
			}
			if most > p.MaxBackoff/2 || n >= 31 {
				most = p.MaxBackoff
			} else {
				most *= 2
			}
		}
	}
}

func FuzzTenantURL(f *testing.F) {
	for _, seed := range []string{
		"", "https://t.example.com", "https://t.example.com/gw/api/v1/", "http://[::1]:80", "https://u:p@h", "https://h?q", "https://h#", "h:443",
		"https://[fe80::1%25en0]", "https://h/a%2Fb", "https://\u00e9.example.com/\u00e9", "https://h/ ;a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tenantURL string) {
		endpoint, err := parseTenantURL(tenantURL)
		if err != nil {
			if !errors.Is(err, ErrBadRequest) || endpoint != "" {
				t.Errorf("%q: %q, %v", tenantURL, endpoint, err)
			}
			return
		}
		u, err := url.Parse(endpoint + "/reloads")
		if err != nil {
			t.Fatalf("%q becomes %q: %v", tenantURL, endpoint, err)
		}
		if u.Scheme != "https" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback() || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%q becomes %q", tenantURL, endpoint)
		}
		if !strings.HasSuffix(u.Path, "/api/v1/reloads") {
			t.Errorf("%q becomes %q", tenantURL, endpoint)
		}
		if again, err := parseTenantURL(endpoint); again != endpoint || err != nil {
			t.Errorf("%q becomes %q, which becomes %q, %v", tenantURL, endpoint, again, err)
		}
	})
}

// The reloads that a client has seen need little memory, however many there are.
func TestSeenReloadsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := seenReloads{byID: map[string]seenReload{}}
		for i := range 999 {
			seen.add(fmt.Sprint("early", i), false)
		}
		time.Sleep(time.Minute)
		seen.add("late", true)
		time.Sleep(rememberSeen)
		for i := range 999 {
			seen.add(fmt.Sprint("new", i), false)
		}
		if n := len(seen.byID); n != 1999 {
			t.Errorf("%d reloads are remembered, want 1999", n)
		}
		seen.add("last", false)
		if n := len(seen.byID); n != 1001 || seen.get("early0").own || !seen.get("LATE").own {
			t.Errorf("%d reloads are remembered, want those of the last three hours", n)
		}
	})
}

// The offset of the records' clock becomes exact with the reloads of the client, and is not used if they contradict each other.
func TestRecordClock(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 11, 4, 3, 0, 0, 0, time.UTC)
	type observed struct{ created, sent, received, date time.Duration } // after base
	const ms, s = time.Millisecond, time.Second
	for name, c := range map[string]struct {
		seen            []observed
		min, max        time.Duration
		known, doubtful bool
	}{
		"nothing":              {nil, -ms, ms, false, false},
		"one":                  {[]observed{{created: 5 * ms, received: 10 * ms}}, -5 * ms, 6 * ms, true, false},
		"whole seconds":        {[]observed{{created: 0, received: 10 * ms}}, -ms, ms, false, false},
		"slow":                 {[]observed{{created: 5 * ms, received: s}}, -ms, ms, false, false},
		"nearly slow":          {[]observed{{created: 5 * ms, received: 999 * ms}}, -ms, ms, true, false},
		"nearly slow, ahead":   {[]observed{{created: 1505 * ms, received: 900 * ms}}, 605 * ms, 1506 * ms, true, false},
		"a Date 3 s behind":    {[]observed{{created: 5 * ms, received: 10 * ms, date: -3 * s}}, -ms, ms, false, false},
		"a second, slow one":   {[]observed{{created: 5 * ms, received: 10 * ms}, {created: 500 * ms, received: s, date: s}}, -5 * ms, 6 * ms, true, false},
		"two that agree":       {[]observed{{created: 5 * ms, received: 10 * ms}, {created: 109 * ms, sent: 100 * ms, received: 110 * ms}}, -ms, 6 * ms, true, false},
		"two that nearly do":   {[]observed{{created: 5 * ms, received: 10 * ms}, {created: 35 * ms, received: 10 * ms}}, -5 * ms, 36 * ms, true, false},
		"two that contradict":  {[]observed{{created: 5 * ms, received: 10 * ms}, {created: 5 * s, received: 10 * ms}}, -ms, ms, false, true},
		"the last two agree":   {[]observed{{created: 5 * ms, received: 10 * ms}, {created: 5001 * ms, received: 10 * ms}, {created: 5001 * ms, received: 20 * ms}}, 4991 * ms, 5002 * ms, true, false},
		"another Date":         {[]observed{{created: 5001 * ms, received: 10 * ms}}, -ms, ms, false, true},
		"a slightly other one": {[]observed{{created: 1005 * ms, received: 10 * ms, date: s}}, -ms, ms, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var clock recordClock
			clock.observe(time.Time{}, serverDate{header: httpDate(base), sent: base, received: base}) // has no effect
			for _, o := range c.seen {
				clock.observe(base.Add(o.created), serverDate{header: httpDate(base.Add(o.date)), sent: base.Add(o.sent), received: base.Add(o.received)})
			}
			offset, known, doubtful := clock.get(clockOffset{-ms, ms}, exactOffset)
			if known != c.known || doubtful != c.doubtful || offset != (clockOffset{c.min, c.max}) {
				t.Errorf("got %v, %t, %t", offset, known, doubtful)
			}
		})
	}
}

// Which of the listed reloads may be the triggered one, and whether that is sure. Times are in milliseconds after the POST.
func TestChooseReload(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	post := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a bubble begins
	at := func(id string, created int, fields ...string) Reload {
		r := Reload{ID: id, AppID: "app", CreationTime: post.Add(time.Duration(created) * ms)}
		if len(fields) > 0 {
			r.ResourceID = fields[0]
		}
		return r
	}
	exactly := clockOffset{-5 * ms, 5 * ms}
	type known struct {
		id  string
		at  time.Duration // after the POST
		own bool
	}
	for name, c := range map[string]struct {
		listed   []Reload
		dates    clockOffset
		resource string // of the request
		once     bool   // it alone identifies the reload
		known    []known
		probes   int
		want     string // the possible ones
		sure     bool
		exact    bool
	}{
		"nothing":                       {nil, exactly, "", false, nil, 0, "", false, true},
		"one":                           {[]Reload{at("a", 11)}, exactly, "", false, nil, 0, "a", true, true},
		"without a Date":                {[]Reload{at("a", 300_500)}, clockOffset{-unknownOffset, unknownOffset}, "", false, nil, 0, "a", false, false},
		"just before":                   {[]Reload{at("a", -7)}, exactly, "", false, nil, 0, "a", false, true},
		"perhaps just before":           {[]Reload{at("a", -5)}, exactly, "", false, nil, 0, "a", true, true},
		"2 s before":                    {[]Reload{at("a", -2006)}, exactly, "", false, nil, 0, "", false, true},
		"nearly 2 s before":             {[]Reload{at("a", -2005)}, exactly, "", false, nil, 0, "a", false, true},
		"2 s in the future":             {[]Reload{at("a", 2005)}, exactly, "", false, nil, 0, "a", true, true},
		"more than 2 s in the future":   {[]Reload{at("a", 2006)}, exactly, "", false, nil, 0, "a", false, true},
		"too late":                      {[]Reload{at("a", 40_000)}, exactly, "", false, nil, 0, "a", false, true},
		"two":                           {[]Reload{at("b", 21), at("a", 11)}, exactly, "", false, nil, 0, "a b", true, true},
		"two at the same time":          {[]Reload{at("b", 11), at("a", 11)}, exactly, "", false, nil, 0, "b a", false, true},
		"wide offset":                   {[]Reload{at("a", 11)}, clockOffset{0, 51 * ms}, "", false, nil, 0, "a", false, false},
		"wide offset, later":            {[]Reload{at("a", 51)}, clockOffset{0, 51 * ms}, "", false, nil, 0, "a", true, false},
		"offset of 50 ms":               {[]Reload{at("a", 11)}, clockOffset{0, 50 * ms}, "", false, nil, 0, "a", true, true},
		"after all probes":              {[]Reload{at("a", 11)}, clockOffset{0, 51 * ms}, "", false, nil, maxProbes, "a", true, true},
		"after all but one":             {[]Reload{at("a", 11)}, clockOffset{0, 51 * ms}, "", false, nil, maxProbes - 1, "a", false, false},
		"as wide as it may be":          {[]Reload{at("a", 11)}, clockOffset{0, 1000 * ms}, "", false, nil, maxProbes, "a", true, true},
		"too wide after all":            {[]Reload{at("a", 11)}, clockOffset{0, 1001 * ms}, "", false, nil, maxProbes, "a", false, false},
		"of another call":               {[]Reload{at("a", 11)}, exactly, "", false, []known{{"a", time.Second, true}}, 0, "", false, true},
		"known before":                  {[]Reload{at("a", 11)}, exactly, "", false, []known{{"a", -1, false}}, 0, "", false, true},
		"known since":                   {[]Reload{at("a", 11)}, exactly, "", false, []known{{"a", time.Second, false}}, 0, "a", true, true},
		"of another app":                {[]Reload{{ID: "a", AppID: "other", CreationTime: post}}, exactly, "", false, nil, 0, "", false, true},
		"of an unknown app":             {[]Reload{{ID: "a", CreationTime: post}}, exactly, "", false, nil, 0, "a", true, true},
		"without creation time":         {[]Reload{{ID: "a", AppID: "app"}}, exactly, "", false, nil, 0, "a", false, true},
		"with the ResourceID":           {[]Reload{at("b", 11), at("a", 21, "x")}, exactly, "x", false, nil, 0, "a b", true, true},
		"with another ResourceID":       {[]Reload{at("a", 11, "y")}, exactly, "x", false, nil, 0, "a", false, true},
		"without the ResourceID":        {[]Reload{at("a", 11)}, exactly, "x", false, nil, 0, "a", true, true},
		"Once":                          {[]Reload{at("a", 11, "x")}, exactly, "x", true, nil, 0, "a", true, true},
		"Once, long before":             {[]Reload{at("a", -99_000, "x"), at("b", -99_000)}, exactly, "x", true, nil, 0, "a", true, true},
		"Once, with another ResourceID": {[]Reload{at("a", 11, "y")}, exactly, "x", true, nil, 0, "", false, true},
		"Once, without a ResourceID":    {[]Reload{at("a", 11)}, exactly, "x", true, nil, 0, "a", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := &Client{seen: seenReloads{byID: map[string]seenReload{}}}
				for _, k := range c.known {
					client.seen.byID[k.id] = seenReload{at: post.Add(k.at), own: k.own}
				}
				s := reconciliation{
					client: client, req: Request{AppID: "app", ResourceID: c.resource}, since: post, last: post, ended: post.Add(time.Second),
					dates: c.dates, exact: exactOffset, probes: c.probes, listed: newTriggerList(),
				}
				if c.once {
					s.options.check = func(context.Context, admission) error { return nil }
				}
				s.listed.add(triggerList{Page: &Page{Reloads: c.listed}})
				sure, exact := s.choose()
				var got []string
				for _, r := range s.possible {
					got = append(got, r.ID)
				}
				if strings.Join(got, " ") != c.want || sure != c.sure || exact != c.exact {
					t.Errorf("got %q, %t, %t, want %q, %t, %t", got, sure, exact, c.want, c.sure, c.exact)
				}
			})
		})
	}
}

// The time of a response is its Date or, without one, the client's.
func TestTimeOfAResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if got := (serverDate{header: httpDate(responseDate)}).now(); got != responseDate {
			t.Errorf("got %v, want the Date", got)
		}
		if got := (serverDate{}).now(); !got.Equal(time.Now()) {
			t.Errorf("got %v, want the present time", got)
		}
	})
}

func TestListsOfATriggerAreJoined(t *testing.T) {
	t.Parallel()
	all := newTriggerList()
	partial := true
	all.add(triggerList{Page: &Page{Reloads: []Reload{{ID: "a", Status: StatusQueued}, {ID: "b"}}}})
	all.add(triggerList{Page: &Page{Reloads: []Reload{{ID: "c"}, {ID: "A", Status: StatusFailed}}}, partial: map[string]*bool{"A": &partial}})
	var got []string
	for _, r := range all.Reloads {
		got = append(got, r.ID+string(r.Status))
	}
	if text := strings.Join(got, " "); text != "AFAILED b c" || all.partial["A"] != &partial {
		t.Errorf("got %s, %v", text, all.partial)
	}
}

// Lists go on after the failure of a token source, also if it was to renew a token that the service refused.
func TestErrorsThatEndLists(t *testing.T) {
	t.Parallel()
	refused := &Error{StatusCode: 401, Method: "GET"}
	for _, err := range []error{refused, &Error{StatusCode: 403}, invalid("filter", "x", "y")} {
		if !endsLists(err) {
			t.Errorf("%v does not end the lists", err)
		}
	}
	for _, err := range []error{nil, &Error{StatusCode: 500}, fmt.Errorf("%w; renewing the token: %w", refused, &tokenError{context.DeadlineExceeded})} {
		if endsLists(err) {
			t.Errorf("%v ends the lists", err)
		}
	}
}

// When failed polls end a wait.
func TestFailedPolls(t *testing.T) {
	t.Parallel()
	invalidBody := &Error{StatusCode: 200, Err: errNoID}
	missing := &Error{StatusCode: 404, Method: "GET"}
	internal := &Error{StatusCode: 500, Method: "GET"}
	synctest.Test(t, func(t *testing.T) {
		var h pollHealth
		if !h.endsWait(time.Now(), missing) || h.endsWait(time.Now(), internal) || !h.endsWait(time.Now(), &Error{StatusCode: 403}) {
			t.Error("a reload that was never seen is waited for")
		}
		h.succeeded()
		time.Sleep(notFoundGrace - 1)
		if h.endsWait(time.Now(), missing) {
			t.Error("a new reload is not waited for")
		}
		time.Sleep(time.Nanosecond)
		if h.succeeded(); !h.endsWait(time.Now(), missing) {
			t.Error("a reload is waited for longer than 10 s")
		}
		for i, want := range []bool{false, false, false, true} { // after 0, 20, 40 and 60 s
			if got := h.endsWait(time.Now(), invalidBody); got != want {
				t.Errorf("invalid response %d: %t", i, got)
			}
			time.Sleep(20 * time.Second)
		}
		if h.endsWait(time.Now(), internal) || h.endsWait(time.Now(), invalidBody) {
			t.Error("another failure between invalid responses does not count")
		}

		var o outage
		noServer := &net.DNSError{IsNotFound: true}
		if o.failed(noServer, time.Hour) == nil || o.failed(internal, time.Hour) != nil {
			t.Error("before the first success, an unknown host is final, and a 500 is not")
		}
		o.succeeded()
		for i := range 6 {
			err := o.failed(noServer, 4*time.Minute)
			if (err != nil) != (i >= 4) {
				t.Errorf("failure %d after %d min: %v", i, i, err)
			}
			time.Sleep(time.Minute)
		}
		if o.failed(ErrRateLimited, 0) != nil || o.failed(internal, -1) != nil {
			t.Error("the rate limit, or a negative limit, ends a wait")
		}
	})
}

// The overlap of the passes of a feed is twice the longest delay of the past ten minutes.
func TestOverlap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		f := feed{latest: now, overlap: minOverlap}
		check := func(found time.Time, want time.Duration) {
			t.Helper()
			if f.setOverlap(found); f.overlap != want {
				t.Errorf("the overlap is %v, want %v", f.overlap, want)
			}
		}
		check(time.Time{}, minOverlap)
		check(now.Add(-5*time.Second), minOverlap)
		check(now.Add(-6*time.Second), 12*time.Second)
		check(now.Add(-time.Hour), maxOverlap)
		time.Sleep(afterMiss)
		check(time.Time{}, maxOverlap)
		time.Sleep(time.Nanosecond)
		check(time.Time{}, maxOverlap/2)
		check(time.Time{}, maxOverlap/2)
		for range 5 {
			time.Sleep(afterMiss + 1)
			f.setOverlap(time.Time{})
		}
		check(time.Time{}, minOverlap)
	})
}

// Hints that are too long are not remembered. They are no IDs. A wait in progress gets them.
func TestLongHints(t *testing.T) {
	t.Parallel()
	h := hints{listeners: map[*func(string)]struct{}{}}
	long := strings.Repeat("x", maxHintLength)
	hinted, stop := h.listenTo(long + "x")
	defer stop()
	h.add(long)
	h.add(long + "x")
	if !h.cameRecently(long) || h.cameRecently(long+"x") {
		t.Error("the limit is not 1024 bytes")
	}
	select {
	case <-hinted:
	default:
		t.Error("a wait did not get a long hint")
	}
}

func TestNewestQuery(t *testing.T) {
	t.Parallel()
	if got := newestQuery("a b"); got != "appId=a+b&limit=20&sort=-creationTime" {
		t.Errorf("got %s", got)
	}
}

// For how long a service refuses requests.
func TestRefusal(t *testing.T) {
	t.Parallel()
	p := RetryPolicy{}.withDefaults()
	for _, c := range []struct {
		err  error
		want time.Duration
	}{
		{nil, 0},
		{errNoID, 0},
		{&Error{StatusCode: 500, RetryAfter: time.Second, hasRetryAfter: true}, 0},
		{&Error{StatusCode: 503, RetryAfter: time.Second, hasRetryAfter: true}, time.Second},
		{&Error{StatusCode: 503, RetryAfter: time.Hour, hasRetryAfter: true}, defaultMaxRetryAfter},
		{&Error{StatusCode: 429, RetryAfter: time.Second, hasRetryAfter: true, Method: "GET"}, time.Second},
	} {
		if got := p.refusal(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestTLSErrors(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&tls.CertificateVerificationError{Err: errNoID}, tls.RecordHeaderError{}, x509.UnknownAuthorityError{}, x509.HostnameError{Certificate: &x509.Certificate{}},
		x509.CertificateInvalidError{}, http.ErrSchemeMismatch,
	} {
		if !isTLSError(fmt.Errorf("wrapped: %w", err)) {
			t.Errorf("%T is not recognized", err)
		}
	}
	if err := (&sentError{tls.RecordHeaderError{}}); classify(err) != outcomeUnknown || classify(err.error) != noServer {
		t.Error("the outcome of a request that was sent is not unknown")
	}
	if isTLSError(errNoID) {
		t.Error("another error is taken for one of TLS")
	}
}

// After the feed has missed an end, single polls stay frequent for ten minutes.
func TestMissedEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr tracker
		f := feed{tracker: &tr, main: true, latest: time.Now(), overlap: minOverlap}
		check := func(works, want bool) {
			t.Helper()
			f.setState(works)
			if tr.feedWorks != want || !tr.covered.Equal(f.latest.Add(-minOverlap)) {
				t.Errorf("%t, covered until %v", tr.feedWorks, tr.covered)
			}
		}
		check(true, true)
		check(false, false)
		tr.missed = time.Now()
		time.Sleep(afterMiss)
		check(true, false)
		time.Sleep(time.Nanosecond)
		check(true, true)
		other := feed{tracker: &tr}
		if other.setState(false); !tr.feedWorks {
			t.Error("another feed has changed the state of the main one")
		}
	})
}

func TestPrecision(t *testing.T) {
	t.Parallel()
	for ns, want := range map[int]time.Duration{
		0: time.Second, 300e6: time.Second / 10, 340e6: time.Second / 100, 345e6: time.Millisecond, 345678e3: time.Millisecond, 1: time.Millisecond,
	} {
		if got := precision(time.Date(2026, 11, 4, 3, 0, 0, ns, time.UTC)); got != want {
			t.Errorf("%d ns: %v, want %v", ns, got, want)
		}
	}
}

func TestActiveStepsAreCountedOnce(t *testing.T) {
	t.Parallel()
	var s schedule
	st := &step{}
	for _, c := range []struct {
		active bool
		want   int
	}{{false, 0}, {true, 1}, {true, 1}, {false, 0}, {false, 0}} {
		if s.setActive(st, c.active); s.active != c.want {
			t.Errorf("%d active steps, want %d", s.active, c.want)
		}
	}
}

func TestSeenEnds(t *testing.T) {
	t.Parallel()
	seen := seenReloads{byID: map[string]seenReload{}}
	seen.add("a", true)
	seen.add("b", true)
	seen.end(&Reload{ID: "A", Status: StatusFailed})
	seen.end(&Reload{ID: "b", Status: StatusSucceeded})
	seen.end(&Reload{ID: "c", Status: StatusFailed}) // is not remembered
	if a, b := seen.get("a"), seen.get("b"); !a.end || !a.failed || !b.end || b.failed || len(seen.byID) != 2 {
		t.Errorf("got %+v", seen.byID)
	}
}

// Apps whose triggers have long ended are forgotten, whatever the outcome.
func TestSeenCallsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := seenReloads{calls: map[string]appCalls{}}
		for i := range 3000 {
			app := strconv.Itoa(i)
			seen.call(app, 1, false)
			seen.call(app, -1, true)
			time.Sleep(time.Second)
		}
		if n := len(seen.calls); n > 1000 {
			t.Errorf("%d apps are remembered", n)
		}
		began := time.Now()
		seen.call("2999", 1, false)
		if seen.alone("2999", began) || !seen.alone("2999", began.Add(lateEffect)) {
			t.Error("an outcome counts for another time than lateEffect")
		}
	})
}

// A page with very many invalid records has as many errors as a page has records.
func TestPageWithManyInvalidRecords(t *testing.T) {
	t.Parallel()
	_, invalid, err := decodeValid([]byte(`{"data":[` + strings.Repeat("{},", 5000) + `{}]}`))
	if err != nil || len(invalid) != maxPageSize {
		t.Errorf("%d errors, %v", len(invalid), err)
	}
}

// A page keeps its links and its valid records if it has an invalid one.
func TestPageWithInvalidRecord(t *testing.T) {
	t.Parallel()
	page, invalid, err := decodeValid([]byte(`{"data":[{"id":"a"},17,{"id":"b"}],"links":{"next":{"href":"?next=1"}}}`))
	if err != nil || len(invalid) != 1 || len(page.Data) != 2 || page.Data[1].ID != "b" || page.Links.Next.Href != "?next=1" {
		t.Errorf("got %+v, %v, %v", page, invalid, err)
	}
}

// A reload that is listed as active for longer than any reload can take is not active.
func TestRunsThatMayCount(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for age, want := range map[time.Duration]bool{0: true, maxPending - 1: true, maxPending: false} {
		b := batch{tracker: tracker{client: &Client{}}}
		if got := b.mayCount(&Reload{Status: StatusReloading, CreationTime: now.Add(-age)}, now); got != want {
			t.Errorf("after %v: %t, want %t", age, got, want)
		}
	}
}

// A step that is delayed is started at its time, even if something else changes just before.
func TestDelayedStep(t *testing.T) {
	t.Parallel()
	var p Plan
	p.Add(Request{AppID: "app"})
	s, now := newSchedule(&p, 0, false), time.Now()
	st, _, _, _ := s.next(now)
	if err := s.again(st, now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, what, wait, _ := s.next(now.Add(100 * time.Millisecond)); what != noTask || wait != 900*time.Millisecond {
		t.Errorf("task %v, wait %v", what, wait)
	}
	if _, what, _, _ := s.next(now.Add(time.Second)); what != startStep {
		t.Errorf("task %v", what)
	}
}

// The interval of polls is a tenth of the age, reduced at random by up to a tenth.
func TestPollIntervals(t *testing.T) {
	t.Parallel()
	p := PollPolicy{MaxInterval: time.Hour}
	for range 100 {
		if d := p.interval(time.Second); d < 90*time.Millisecond || d > 100*time.Millisecond {
			t.Fatalf("the interval is %v", d)
		}
	}
}

// A step waits for its app, the ones after it do not.
func TestStepsOfOneApp(t *testing.T) {
	t.Parallel()
	var p Plan
	for _, app := range []string{"a", "A", "b"} {
		p.Add(Request{AppID: app})
	}
	s := newSchedule(&p, 0, false)
	for _, want := range []Step{0, 2} {
		if st, _, _, _ := s.next(time.Now()); st == nil || st.index != want {
			t.Errorf("got %v, want step %d", st, want)
		}
	}
}

// A reload that a trigger claims is not taken for that of another one.
func TestClaimedReload(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]func(context.Context, admission) error{
		"without Once": nil, "with Once": func(context.Context, admission) error { return nil },
	} {
		c, err := NewClient("https://tenant.example.com", APIKey("test-token-5f3a"))
		if err != nil {
			t.Fatal(err)
		}
		s := &reconciliation{client: c, req: Request{AppID: "app"}, options: triggerOptions{check: check}, since: time.Now()}
		c.seen.call("app", 1, false)
		if !s.claim(&Reload{ID: "id"}) || !s.isOther(&Reload{ID: "ID"}) {
			t.Errorf("%s: the reload is not claimed", name)
		}
	}
}

// lateContext has ended when Err is called for the second time.
type lateContext struct {
	context.Context
	calls *int
}

func (c lateContext) Err() error {
	if *c.calls++; *c.calls == 1 {
		return nil
	}
	return context.Canceled
}

// listError is an error that cannot be compared.
type listError []string

func (e listError) Error() string { return "a list" }

type oddContext struct{ context.Context }

func (oddContext) Err() error { return listError{"a"} }

// A body that was closed does not look complete.
func TestReadAfterClosingBody(t *testing.T) {
	t.Parallel()
	server := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{Body: io.NopCloser(strings.NewReader("text"))}, nil
	})
	resp, err := (&transport{base: server, timeout: time.Minute}).RoundTrip(new(http.Request))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("got %v, want an error", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The context of an attempt can end at any time, and with any error.
func TestAttemptErrorOfOddContexts(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	late := &attemptBody{ctx: lateContext{t.Context(), new(int)}, transport: &transport{}}
	if err := late.attemptError(failed); err != failed {
		t.Errorf("got %v, want the error itself", err)
	}
	odd := &attemptBody{ctx: oddContext{t.Context()}, transport: &transport{}}
	var list listError
	if err := odd.attemptError(failed); !errors.As(err, &list) {
		t.Errorf("got %v, want the error of the context", err)
	}
}
