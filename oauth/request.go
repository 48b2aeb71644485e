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

// request asks for tokens.
type request struct {
	cfg      Config
	endpoint string
	http     *http.Client
}

// machine signs in as the client itself.
func (r request) machine(ctx context.Context) (token, error) {
	credentials := clientcredentials.Config{
		ClientID: r.cfg.ClientID, ClientSecret: r.cfg.ClientSecret, TokenURL: r.endpoint, Scopes: r.cfg.Scopes,
		AuthStyle: oauth2.AuthStyleInParams,
	}
	t, err := credentials.Token(context.WithValue(ctx, oauth2.HTTPClient, r.http))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused):
		return token{}, r.refusal(refused.Response.StatusCode, refused.Body)
	case err != nil:
		return token{}, r.failure(ctx, err)
	}
	expires := t.Expiry // of expires_in
	if expires.IsZero() {
		expires = expiresAt(t.Extra("expires_at"))
	}
	return token{t.AccessToken, expires}, nil
}

const impersonation = "urn:qlik:oauth:user-impersonation"

// impersonation signs in on behalf of a user. The grant type is Qlik's own, and its user_lookup is an object, which a
// form cannot hold.
func (r request) impersonation(ctx context.Context) (token, error) {
	body, err := json.Marshal(map[string]any{
		"grant_type": impersonation, "client_id": r.cfg.ClientID, "client_secret": r.cfg.ClientSecret,
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
	asked := time.Now()
	resp, err := r.http.Do(req)
	if err != nil {
		return token{}, r.failure(ctx, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return token{}, r.failure(ctx, err)
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		ExpiresAt   any     `json:"expires_at"`
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return token{}, r.refusal(resp.StatusCode, body)
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		return token{}, fmt.Errorf("oauth: the answer of %s has no token", r.endpoint)
	}
	expires := expiresAt(answer.ExpiresAt)
	if answer.ExpiresIn > 0 {
		expires = asked.Add(time.Duration(min(answer.ExpiresIn, 1e9)) * time.Second)
	}
	return token{answer.AccessToken, expires}, nil
}

// expiresAt is a time in an answer that has no expires_in: RFC 3339, or a Unix time in seconds or milliseconds. The zero
// time means that there is none.
func expiresAt(value any) time.Time {
	switch at := value.(type) {
	case string:
		t, _ := time.Parse(time.RFC3339, at) // zero if it is none
		return t
	case float64:
		if at > 1e11 {
			return time.UnixMilli(int64(at))
		}
		if at > 0 {
			return time.Unix(int64(at), 0)
		}
	}
	return time.Time{}
}

// failure is the error of a request that had no answer. It does not show the URL's query or the request.
func (r request) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("oauth: POST %s: %w", r.endpoint, ctx.Err())
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("oauth: POST %s: %w", r.endpoint, &hidden{r.hide(err.Error()), err})
}

// hidden is an error whose text does not show the secret.
type hidden struct {
	text string
	err  error
}

func (e *hidden) Error() string { return e.text }
func (e *hidden) Unwrap() error { return e.err }

// hide takes the secret out of a text that the server may have written.
func (r request) hide(s string) string { return strings.ReplaceAll(s, r.cfg.ClientSecret, "REDACTED") }
