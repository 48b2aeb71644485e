package reloads

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The decoders of responses, for the tests of the codec.
var (
	DecodeErrorBody = decodeErrorBody
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
