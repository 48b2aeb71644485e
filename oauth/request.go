package oauth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/reloads-go/reloads/internal/redact"
)

// tokenRequester requests tokens from the token endpoint of the tenant.
type tokenRequester struct {
	cfg      Config
	endpoint string
	http     *http.Client
	timeout  time.Duration // of a request
	redact   *redact.Redactor
}

const defaultTimeout = 30 * time.Second

func newTokenRequester(cfg Config, endpoint string) *tokenRequester {
	hc := *cmp.Or(cfg.HTTPClient, http.DefaultClient)
	hc.Transport = &transport{base: hc.Transport}
	timeout := cmp.Or(max(hc.Timeout, 0), defaultTimeout)
	hc.Timeout = 0 // the context limits the request, so that the error is ours
	return &tokenRequester{cfg: cfg, endpoint: endpoint, http: &hc, timeout: timeout, redact: redact.New(cfg.ClientSecret)}
}

// transport abandons dead connections, as package reloads does. net/http keeps an HTTP/2 connection after a request that timed
// out, even if the connection no longer delivers anything. All further requests would use that connection.
type transport struct {
	base    http.RoundTripper // nil: the default transport at the time of the request, as in http.Client
	suspect atomic.Bool       // a request that timed out may have had a dead connection
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.suspect.CompareAndSwap(true, false) {
		r = r.WithContext(r.Context()) // a copy
		r.Close = true                 // after this request, which also uses that connection
	}
	resp, err := cmp.Or(t.base, http.DefaultTransport).RoundTrip(r)
	if header, ok := r.Context().Value(headerKey{}).(*http.Header); ok && resp != nil {
		*header = resp.Header // which package oauth2 does not return
	}
	if err == nil && resp != nil {
		own := *resp // because the base may share its response
		if len(own.Header["Location"]) > 0 {
			own.Header = own.Header.Clone()
			own.Header.Del("Location") // http.Client would follow it with the secret
		}
		if own.Body != nil { // http.Client sets one
			own.Body = &responseBody{resp.Body, func(err error) { t.checkTimeout(r, err) }, resp.StatusCode/100 == 2}
		}
		resp = &own
	}
	t.checkTimeout(r, err)
	return resp, err
}

// checkTimeout makes the connection of a request suspect if the request timed out.
func (t *transport) checkTimeout(r *http.Request, err error) {
	var limit net.Error
	if r.Context().Err() != nil || errors.As(err, &limit) && limit.Timeout() {
		t.suspect.Store(true)
	}
}

// responseBody reports the errors of reading a body. Of the body of an error, what has arrived is sufficient: its Retry-After
// must not be lost.
type responseBody struct {
	io.ReadCloser
	failed  func(error)
	success bool // the status is a 2xx
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if b.failed(err); !b.success {
		err = io.EOF
	}
	return n, err
}

// headerKey is the key of a context's *http.Header, which is set to that of the response.
type headerKey struct{}

// grant is a token as the service describes it.
type grant struct {
	value     string
	expiresIn time.Duration // 0: not stated
	expiresAt any           // see parseExpiresAt
}

// minLifetime is assumed for a token that has expired on arrival, or nearly so, according to expires_at. A clock is wrong then,
// and each call would request a token.
const minLifetime = time.Minute

// token sends one request for a token, without retries. It takes at most r.timeout.
func (r *tokenRequester) token(ctx context.Context) (token, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var header http.Header
	ctx = context.WithValue(ctx, headerKey{}, &header)
	request := r.clientCredentials
	if r.cfg.UserID != "" {
		request = r.impersonate
	}
	sent := time.Now()
	g, err := request(ctx)
	if err != nil {
		return token{}, withRetryAfter(err, header)
	}
	lifetime := g.expiresIn
	if lifetime == 0 {
		at := parseExpiresAt(g.expiresAt)
		if at.IsZero() {
			return token{value: g.value}, nil
		}
		lifetime = max(at.Sub(serverTime(header, sent)), minLifetime)
	}
	return token{g.value, sent.Add(lifetime)}, nil
}

// serverTime returns the Date of a response, or the local time if there is none. The service's times are compared with it,
// because the local clock may be wrong.
func serverTime(header http.Header, local time.Time) time.Time {
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		return date
	}
	return local
}

// clientCredentials requests a token for the OAuth client itself.
func (r *tokenRequester) clientCredentials(ctx context.Context) (grant, error) {
	credentials := clientcredentials.Config{
		ClientID: r.cfg.ClientID, ClientSecret: r.cfg.ClientSecret, TokenURL: r.endpoint, Scopes: r.cfg.Scopes,
		AuthStyle: oauth2.AuthStyleInParams,
	}
	t, err := credentials.Token(context.WithValue(ctx, oauth2.HTTPClient, r.http))
	var retrieveErr *oauth2.RetrieveError
	var urlErr *url.Error
	switch {
	case errors.As(err, &retrieveErr):
		return grant{}, r.newError(retrieveErr.Response.StatusCode, retrieveErr.Body)
	case err != nil && strings.HasPrefix(err.Error(), "oauth2: cannot parse"): // its text may quote the token
		return grant{}, r.invalidResponse()
	case err != nil && !errors.As(err, &urlErr):
		return grant{}, r.requestError(ctx, fmt.Errorf("invalid response: %w", err))
	case err != nil:
		return grant{}, r.requestError(ctx, err)
	case t.Expiry.IsZero():
		return grant{value: t.AccessToken, expiresAt: t.Extra("expires_at")}, nil
	}
	return grant{value: t.AccessToken, expiresIn: time.Until(t.Expiry)}, nil
}

func (r *tokenRequester) invalidResponse() error {
	return fmt.Errorf("oauth: POST %s: invalid response: expected JSON with an access_token", r.endpoint)
}

const grantTypeImpersonation = "urn:qlik:oauth:user-impersonation"

// impersonate requests a token on behalf of the user. The grant type is specific to Qlik Cloud. The request has a JSON
// body because a form cannot contain the object user_lookup.
func (r *tokenRequester) impersonate(ctx context.Context) (grant, error) {
	body, _ := json.Marshal(map[string]any{ // strings can always be encoded
		"grant_type": grantTypeImpersonation, "client_id": r.cfg.ClientID, "client_secret": r.cfg.ClientSecret,
		"scope": strings.Join(r.cfg.Scopes, " "), "user_lookup": map[string]string{"field": "userId", "value": r.cfg.UserID},
	})
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.endpoint, bytes.NewReader(body)) // the URL is valid
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		return grant{}, r.requestError(ctx, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return grant{}, r.requestError(ctx, fmt.Errorf("reading the response: %w", err))
	}
	if resp.StatusCode/100 != 2 {
		return grant{}, r.newError(resp.StatusCode, body)
	}
	var fields struct {
		Error       string      `json:"error"`
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"` // also accepts a number in a string
		ExpiresAt   any         `json:"expires_at"`
	}
	switch err := json.Unmarshal(body, &fields); {
	case fields.Error != "":
		return grant{}, r.newError(resp.StatusCode, body)
	case err != nil, fields.AccessToken == "":
		return grant{}, r.invalidResponse()
	}
	if seconds, _ := fields.ExpiresIn.Float64(); seconds > 0 {
		return grant{value: fields.AccessToken, expiresIn: time.Duration(min(seconds, maxExpiresIn) * float64(time.Second))}, nil
	}
	return grant{value: fields.AccessToken, expiresAt: fields.ExpiresAt}, nil
}

const maxExpiresIn = 1<<31 - 1 // seconds, as in package oauth2

// parseExpiresAt parses the field expires_at of a response without expires_in. The value is a string in RFC 3339
// format, or a number of seconds or milliseconds since the Unix epoch. Any other value, and a response without the
// field, returns the zero time.
func parseExpiresAt(value any) time.Time {
	switch at := value.(type) {
	case string:
		t, _ := time.Parse(time.RFC3339, at) // the zero time if at is invalid
		return t
	case float64:
		if at <= 1e11 { // in milliseconds, this would be before 1974
			at *= 1000
		}
		if at > 0 {
			return time.UnixMilli(int64(at))
		}
	}
	return time.Time{}
}

// requestError returns the error of a request without a complete, valid response. Its text contains the endpoint but
// not the secret.
func (r *tokenRequester) requestError(ctx context.Context, err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err // the text of a *url.Error repeats the URL
	}
	if ctx.Err() != nil { // only the timeout ends ctx
		err = timeoutError(r.timeout)
	}
	return fmt.Errorf("oauth: POST %s: %w", r.endpoint, r.redact.Error(redact.Deadline(err)))
}

// timeoutError is the error of a token request that took too long. It implements [net.Error]. It does not match
// [context.DeadlineExceeded], which means the caller's own deadline.
type timeoutError time.Duration

func (e timeoutError) Error() string {
	return fmt.Sprintf("the token request took longer than %v", time.Duration(e))
}
func (e timeoutError) Timeout() bool   { return true }
func (e timeoutError) Temporary() bool { return true }
