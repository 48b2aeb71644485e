package reloads

import (
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

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

func FuzzPage(f *testing.F) {
	for _, file := range []string{"page.json", "record.json", "error_400.json", "error_cut_off.json"} {
		b, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"data":[],"links":{"next":{"href":"?a"}},"data":[{"id":"1"},{"id":"1","x":1}]}`))
	f.Add([]byte(`{"d\u0061ta":null,"links":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d decoder
		d.reset(text)
		page, err := d.page()
		if err != nil {
			return
		}
		// Each record of a page is what it would be alone: texts are shared, never mixed up.
		for _, r := range page.Data {
			encoded, err := r.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			var alone Reload
			if err := alone.UnmarshalJSON(encoded); err != nil {
				t.Fatalf("%s: %v", encoded, err)
			}
			if again, err := alone.MarshalJSON(); err != nil || cmp.Diff(string(encoded), string(again)) != "" {
				t.Errorf("%s\nbecame\n%s, %v", encoded, again, err)
			}
		}
		if c := cursor(page.Links.Next); c != "" && !strings.HasPrefix(c, "?") {
			t.Errorf("the cursor is %q", c)
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		b, err := os.ReadFile("testdata/" + entry.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"errors":[{"code":1,"title":{},"detail":null},null],"traceId":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var d decoder
		d.reset(body)
		b, ok := d.errors()
		if ok != (len(b.details) > 0) || !ok && b.traceID != "" {
			t.Errorf("%q: %+v, %v", body, b, ok)
		}
		for _, d := range b.details {
			if !utf8.ValidString(d.String()) {
				t.Errorf("%q: %q is not valid UTF-8", body, d)
			}
		}
	})
}
