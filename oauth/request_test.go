package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/oauth"
)

// The secret is sent to the tenant's own address in the format of the service. A redirect is not followed.
func TestWhatIsSent(t *testing.T) {
	for _, c := range []struct {
		user   string
		scopes []string
		want   string
	}{
		{"", []string{"a", "b"}, "client_id=client&client_secret=" + testSecret + "&grant_type=client_credentials&scope=a+b"},
		{"", nil, "client_id=client&client_secret=" + testSecret + "&grant_type=client_credentials&scope=user_default"},
		{"", []string{}, "client_id=client&client_secret=" + testSecret + "&grant_type=client_credentials"},
		{"u", []string{"a", "b"}, `{"client_id":"client","client_secret":"` + testSecret + `","grant_type":"urn:qlik:oauth:user-impersonation",` +
			`"scope":"a b","user_lookup":{"field":"userId","value":"u"}}`},
		{"u", nil, `{"client_id":"client","client_secret":"` + testSecret + `","grant_type":"urn:qlik:oauth:user-impersonation",` +
			`"scope":"user_default","user_lookup":{"field":"userId","value":"u"}}`},
	} {
		var sent []string
		var shared http.Header
		hc := &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			if accepted := r.Header.Get("Accept"); c.user != "" && accepted != "application/json" {
				t.Errorf("the header Accept is %q", accepted)
			}
			sent = append(sent, r.Method+" "+r.URL.String()+" "+string(body))
			redirect := response(r, 307, "", testSecret)
			redirect.Header.Set("Location", "https://elsewhere.example.com/")
			if c.scopes == nil {
				redirect.Header.Set("Location", "http://[::1") // http.Client does not parse it
			} else if len(c.scopes) == 0 {
				redirect.Body = nil
			}
			shared = redirect.Header
			return redirect, nil
		})}
		cfg := oauth.Config{
			TenantURL: strings.ToUpper(tenantURL) + "/gw/api/v1/", ClientID: "client", ClientSecret: testSecret, Scopes: c.scopes, UserID: c.user, HTTPClient: hc,
		}
		_, err := source(t, cfg).Token(t.Context())
		if shared.Get("Location") == "" {
			t.Error("the response of the transport was modified")
		}
		var e *oauth.Error
		if !errors.As(err, &e) || e.StatusCode != 307 || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), testSecret) {
			t.Errorf("got the error %v", err)
		}
		if diff := cmp.Diff([]string{"POST " + tenantURL + "/gw/oauth/token " + c.want}, sent); diff != "" {
			t.Errorf("user %q: sent (-want +got):\n%s", c.user, diff)
		}
		if hc.CheckRedirect != nil || hc.Timeout != 0 {
			t.Error("the http.Client of the caller was modified")
		}
	}
}

// The expiry time is taken from expires_in or expires_at. Times that cannot be parsed mean that the token does not
// expire. The lifetime begins when the request is sent.
func TestExpiryTime(t *testing.T) {
	for fields, want := range map[string]time.Duration{
		`"expires_in":1000`:                        1000 * time.Second,
		`"expires_in":"1000"`:                      1000 * time.Second,
		`"expires_in":1e3`:                         1000 * time.Second,
		`"expires_in":1000.5`:                      1000500 * time.Millisecond,
		`"expires_in":99999999999999`:              (1<<31 - 1) * time.Second,
		`"expires_at":"2000-01-01T00:16:40Z"`:      1000 * time.Second,
		`"expires_at":"2000-01-01T01:16:40+01:00"`: 1000 * time.Second,
		`"expires_at":946685800`:                   1000 * time.Second,
		`"expires_at":946685800000`:                1000 * time.Second,
		`"expires_in":0,"expires_at":946685800`:    1000 * time.Second,
		`"expires_in":null`:                        0,
		`"expires_at":"tomorrow"`:                  0,
		`"expires_at":100000000000`:                0, // in the year 5138
		`"expires_at":0`:                           0,
		`"expires_at":-1`:                          0,
		`"expires_at":true`:                        0,
		``:                                         0,
	} {
		for _, user := range flows {
			if user == "" && (strings.HasSuffix(fields, "1e3") || strings.HasSuffix(fields, "1000.5")) {
				continue // package oauth2 accepts whole numbers only
			}
			synctest.Test(t, func(t *testing.T) { // from 2000-01-01 00:00:00 UTC
				began := time.Now()
				var n atomic.Int64
				cfg := configOf(transportFunc(func(r *http.Request) (*http.Response, error) {
					n.Add(1)
					time.Sleep(10 * time.Second)
					return response(r, 200, "application/json", strings.ReplaceAll(`{"access_token":"test-token",`+fields+`}`, ",}", "}")), nil
				}))
				cfg.UserID = user
				s := source(t, cfg)
				mustToken(t, s)
				if want == 0 {
					time.Sleep(1e6 * time.Second)
				} else {
					time.Sleep(want - time.Since(began) - 1)
				}
				mustToken(t, s) // may start a renewal, but does not wait for it
				if got := time.Since(began); want > 0 && got != want-1 {
					t.Errorf("user %q, %s: a call shortly before the expiry time waited until %v", user, fields, got)
				}
				if want > 0 {
					time.Sleep(time.Nanosecond)
					if mustToken(t, s); time.Since(began) == want {
						t.Errorf("user %q, %s: a call at the expiry time did not wait", user, fields)
					}
				}
				time.Sleep(10 * time.Second) // until a renewal ends
				if renewed := n.Load() > 1; renewed != (want > 0) {
					t.Errorf("user %q, %s: %d token requests", user, fields, n.Load())
				}
			})
		}
	}
}

// The lifetime is computed with the clock of the service, because the local one may be wrong. If the response has no Date, a
// token that seems to have expired is kept for a minute.
func TestAWrongClock(t *testing.T) {
	for _, c := range []struct {
		behind   time.Duration // how far the clock of the service is behind the local one
		date     bool
		lifetime time.Duration // 6 h by the clock of the service
	}{
		{8 * time.Hour, true, 6 * time.Hour},
		{-8 * time.Hour, true, 6 * time.Hour},
		{8 * time.Hour, false, time.Minute},
		{6*time.Hour - time.Second, false, time.Minute},
		{-8 * time.Hour, false, 14 * time.Hour},
	} {
		for _, user := range flows {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				cfg := configOf(transportFunc(func(r *http.Request) (*http.Response, error) {
					n++
					server := time.Now().UTC().Add(-c.behind)
					resp := response(r, 200, "application/json", fmt.Sprintf(`{"access_token":"test-token","expires_at":%q}`, server.Add(6*time.Hour).Format(time.RFC3339)))
					if c.date {
						resp.Header.Set("Date", server.Format(http.TimeFormat))
					}
					return resp, nil
				}))
				cfg.UserID = user
				s := source(t, cfg)
				mustToken(t, s)
				early := min(c.lifetime/10, 5*time.Minute)
				time.Sleep(c.lifetime - early - time.Nanosecond)
				mustToken(t, s)
				synctest.Wait()
				if n != 1 {
					t.Errorf("%+v, user %q: %d token requests before the renewal is due", c, user, n)
				}
				time.Sleep(time.Nanosecond)
				mustToken(t, s)
				synctest.Wait()
				if n != 2 {
					t.Errorf("%+v, user %q: %d token requests, want 2: the lifetime is %v", c, user, n, c.lifetime)
				}
			})
		}
	}
}

// Every 2xx is a success. Afterwards nothing of the request is left.
func TestTheEndOfARequest(t *testing.T) {
	for _, user := range flows {
		var ctx context.Context
		body := &closable{Reader: strings.NewReader(`{"access_token":"test-token"}`)}
		cfg := configOf(transportFunc(func(r *http.Request) (*http.Response, error) {
			ctx = r.Context()
			resp := response(r, 299, "application/json", "")
			resp.Body = body
			return resp, nil
		}))
		cfg.UserID = user
		mustToken(t, source(t, cfg))
		if !body.closed || ctx.Err() == nil {
			t.Errorf("user %q: body closed: %t; the context ended with: %v", user, body.closed, ctx.Err())
		}
	}
}

type closable struct {
	io.Reader
	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

// The error of a request without a complete response names the endpoint and wraps the cause.
func TestARequestWithoutAResponse(t *testing.T) {
	for name, c := range map[string]struct {
		transport transportFunc
		is        error
	}{
		"no connection": {func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		}, syscall.ECONNREFUSED},
		"incomplete": {func(r *http.Request) (*http.Response, error) {
			resp := response(r, 200, "application/json", "")
			resp.Body = io.NopCloser(iotest.ErrReader(syscall.ECONNRESET))
			return resp, nil
		}, syscall.ECONNRESET},
	} {
		for _, user := range flows {
			cfg := configOf(c.transport)
			cfg.UserID = user
			_, err := source(t, cfg).Token(t.Context())
			wrapped := errors.Is(err, c.is) || name == "incomplete" && user == "" // package oauth2 does not wrap that error
			if !wrapped || !strings.HasPrefix(err.Error(), "oauth: POST https://tenant.example.com/oauth/token: ") ||
				strings.Count(err.Error(), tenantURL) != 1 {
				t.Errorf("%s, user %q: got %v", name, user, err)
			}
		}
	}
}

// endlessBody is a body that ends with the context of its request.
type endlessBody struct{ ctx context.Context }

func (b endlessBody) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

// After a token request that timed out, the next one closes its connection, because it may use the same dead one.
func TestADeadConnectionIsNotReused(t *testing.T) {
	for i, user := range flows {
		synctest.Test(t, func(t *testing.T) {
			var closes []bool
			cfg := configOf(transportFunc(func(r *http.Request) (*http.Response, error) {
				closes = append(closes, r.Close)
				switch len(closes) {
				case 1:
					<-r.Context().Done()
					return nil, r.Context().Err()
				case 2:
					resp := response(r, []int{200, 503}[i], "application/json", "")
					resp.Body = io.NopCloser(endlessBody{r.Context()})
					return resp, nil
				case 3:
					return nil, fmt.Errorf("no header: %w", os.ErrDeadlineExceeded) // a timeout of the caller's transport
				case 4:
					return nil, syscall.ECONNRESET
				}
				return response(r, 200, "application/json", `{"access_token":"test-token"}`), nil
			}))
			cfg.UserID = user
			s := source(t, cfg)
			for range 4 {
				if token, err := s.Token(t.Context()); err == nil {
					t.Fatalf("got the token %q", token)
				}
				time.Sleep(time.Minute) // until the next request may start
			}
			mustToken(t, s)
			if diff := cmp.Diff([]bool{false, true, true, true, false}, closes); diff != "" {
				t.Errorf("user %q: the connection is closed after the request (-want +got):\n%s", user, diff)
			}
		})
	}
}
