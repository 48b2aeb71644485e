package reloads

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The decoders of responses, for the tests of the codec.
var (
	DecodePage      = decodePage
	DecodeErrorBody = decodeErrorBody
	CursorOf        = cursor
)

// Listeners returns how many waits and batches of a client receive hints.
func Listeners(c *Client) int {
	c.hints.mu.Lock()
	defer c.hints.mu.Unlock()
	return len(c.hints.listeners)
}

// responseDate is the Date header of the responses.
var responseDate = time.Date(2026, 11, 4, 3, 0, 0, 0, time.UTC)

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
		if u.Scheme != "https" && !isLoopback(u.Hostname()) || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
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
		"two that agree":       {[]observed{{created: 5 * ms, received: 10 * ms}, {created: 109 * ms, sent: 100 * ms, received: 110 * ms}}, -ms, 6 * ms, true, false},
		"two that nearly do":   {[]observed{{created: 5 * ms, received: 10 * ms}, {created: 35 * ms, received: 10 * ms}}, -5 * ms, 36 * ms, true, false},
		"two that contradict":  {[]observed{{created: 5 * ms, received: 10 * ms}, {created: 5 * s, received: 10 * ms}}, -ms, ms, false, true},
		"the last two agree":   {[]observed{{created: 5 * ms, received: 10 * ms}, {created: 5001 * ms, received: 10 * ms}, {created: 5001 * ms, received: 20 * ms}}, 4991 * ms, 5002 * ms, true, false},
		"another Date":         {[]observed{{created: 5001 * ms, received: 10 * ms}}, -ms, ms, false, true},
		"a slightly other one": {[]observed{{created: 1005 * ms, received: 10 * ms, date: s}}, -ms, ms, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var clock recordClock
			clock.observe(time.Time{}, serverDate{date: base, sent: base, received: base}) // has no effect
			for _, o := range c.seen {
				clock.observe(base.Add(o.created), serverDate{date: base.Add(o.date), sent: base.Add(o.sent), received: base.Add(o.received)})
			}
			offset, known, doubtful := clock.get(clockOffset{-ms, ms})
			if known != c.known || doubtful != c.doubtful || offset != (clockOffset{c.min, c.max}) {
				t.Errorf("got %v, %t, %t", offset, known, doubtful)
			}
		})
	}
}
