package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// tokenRequester requests tokens from the token endpoint of the tenant. Each call of its methods is one request,
// without retries.
type tokenRequester struct {
	cfg      Config
	endpoint string
	http     *http.Client
}

// clientCredentials requests a token for the OAuth client itself.
func (r tokenRequester) clientCredentials(ctx context.Context) (token, error) {
	credentials := clientcredentials.Config{
		ClientID: r.cfg.ClientID, ClientSecret: r.cfg.ClientSecret, TokenURL: r.endpoint, Scopes: r.cfg.Scopes,
		AuthStyle: oauth2.AuthStyleInParams,
	}
	t, err := credentials.Token(context.WithValue(ctx, oauth2.HTTPClient, r.http))
	var retrieveErr *oauth2.RetrieveError
	switch {
	case errors.As(err, &retrieveErr):
		return token{}, r.newError(retrieveErr.Response.StatusCode, retrieveErr.Body)
	case err != nil:
		return token{}, r.requestError(ctx, err)
	}
	expires := t.Expiry // from expires_in
	if expires.IsZero() {
		expires = parseExpiresAt(t.Extra("expires_at"))
	}
	return token{t.AccessToken, expires}, nil
}

const grantTypeImpersonation = "urn:qlik:oauth:user-impersonation"

// impersonate requests a token on behalf of the user. The grant type is specific to Qlik Cloud. The request has a JSON
// body because a form cannot contain the object user_lookup.
func (r tokenRequester) impersonate(ctx context.Context) (token, error) {
	body, err := json.Marshal(map[string]any{
		"grant_type": grantTypeImpersonation, "client_id": r.cfg.ClientID, "client_secret": r.cfg.ClientSecret,
		"scope": strings.Join(r.cfg.Scopes, " "), "user_lookup": map[string]string{"field": "userId", "value": r.cfg.UserID},
	})
	if err != nil {
		return token{}, fmt.Errorf("oauth: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.endpoint, bytes.NewReader(body))
	if err != nil {
		return token{}, fmt.Errorf("oauth: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	sent := time.Now()
	resp, err := r.http.Do(req)
	if err != nil {
		return token{}, r.requestError(ctx, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return token{}, r.requestError(ctx, err)
	}
	var fields struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		ExpiresAt   any     `json:"expires_at"`
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return token{}, r.newError(resp.StatusCode, body)
	}
	if err := json.Unmarshal(body, &fields); err != nil || fields.AccessToken == "" {
		return token{}, fmt.Errorf("oauth: POST %s: invalid response: expected JSON with an access_token", r.endpoint)
	}
	expires := parseExpiresAt(fields.ExpiresAt)
	if fields.ExpiresIn > 0 {
		expires = sent.Add(time.Duration(min(fields.ExpiresIn, 1e9)) * time.Second)
	}
	return token{fields.AccessToken, expires}, nil
}

// parseExpiresAt parses the field expires_at of a response without expires_in. The value is a string in RFC 3339
// format, or a number of seconds or milliseconds since the Unix epoch. Any other value, and a response without the
// field, returns the zero time.
func parseExpiresAt(value any) time.Time {
	switch at := value.(type) {
	case string:
		t, _ := time.Parse(time.RFC3339, at) // the zero time if at is invalid
		return t
	case float64:
		if at > 1e11 { // in seconds, this would be after the year 5000
			return time.UnixMilli(int64(at))
		}
		if at > 0 {
			return time.Unix(int64(at), 0)
		}
	}
	return time.Time{}
}

// requestError returns the error of a request without a complete, valid response. Its text contains the endpoint but
// not the secret. It wraps the error of ctx if ctx has ended.
func (r tokenRequester) requestError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("oauth: POST %s: %w", r.endpoint, ctx.Err())
	}
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err // the text of a *url.Error repeats the URL
	}
	return fmt.Errorf("oauth: POST %s: %w", r.endpoint, &redactedError{r.redact(err.Error()), err})
}

// redactedError is an error whose text does not contain the client secret.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// redact replaces the client secret in a text that the server may have written.
func (r tokenRequester) redact(s string) string {
	return strings.ReplaceAll(s, r.cfg.ClientSecret, "REDACTED")
}
