package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
)

// settings are the flags that say which tenant is talked to, and how.
type settings struct {
	server, keyFile, context string
	fake                     bool
	timeout                  time.Duration
	retry                    int
}

// credentials are a key, or an OAuth2 client. Nothing prints them.
type credentials struct{ key, clientID, clientSecret string }

func (c credentials) empty() bool { return c == credentials{} }

// connect returns a client of the tenant. record is put around its transport.
func (s *settings) connect(getenv func(string) string, record func(http.RoundTripper) http.RoundTripper) (*reloads.Client, error) {
	opts := []reloads.Option{
		reloads.WithUserAgent("reload/0.1.0"),
		reloads.WithRetry(reloads.RetryPolicy{MaxRetries: s.retry}),
	}
	if s.fake {
		tenant := newFakeTenant()
		return tenant.NewClient(append(opts, reloads.WithHTTPClient(&http.Client{Transport: record(tenant)}))...), nil
	}
	server, c, err := s.resolve(getenv)
	if err != nil {
		return nil, err
	}
	var tokens reloads.TokenSource = reloads.APIKey(c.key)
	if c.key == "" {
		tokens, err = oauth.NewTokenSource(oauth.Config{TenantURL: server, ClientID: c.clientID, ClientSecret: c.clientSecret})
		if err != nil {
			return nil, usagef("the OAuth2 client: %w", err)
		}
	}
	opts = append(opts, reloads.WithHTTPClient(&http.Client{Transport: record(http.DefaultTransport)}))
	return reloads.NewClient(server, tokens, opts...)
}

// resolve finds the tenant and its credentials. A key must not go to a tenant that it is not for: that of a context only
// ever goes to the context's tenant, and that of the environment only to one that is named there or by a flag.
func (s *settings) resolve(getenv func(string) string) (server string, c credentials, err error) {
	if s.context == "" {
		server = cmp.Or(s.server, getenv("QLIK_TENANT_URL"))
		if c.key = getenv("QLIK_API_KEY"); c.key == "" {
			c.clientID, c.clientSecret = getenv("QLIK_CLIENT_ID"), getenv("QLIK_CLIENT_SECRET")
		}
	}
	keyGiven := s.keyFile != ""
	if keyGiven {
		if c, err = readKey(s.keyFile); err != nil {
			return "", c, &usageError{err}
		}
	}
	switch {
	case server != "" && (keyGiven || !c.empty()):
		return server, c, c.check()
	case !keyGiven && !c.empty():
		return "", c, usagef("QLIK_API_KEY or QLIK_CLIENT_ID is set, but not the tenant that it is for; set QLIK_TENANT_URL")
	}
	active, err := readContext(s.context)
	switch {
	case errors.Is(err, errNoContext) && server == "":
		return "", c, usagef("no tenant is named; use --server, QLIK_TENANT_URL or a context of qlik-cli, or --fake (%w)", err)
	case errors.Is(err, errNoContext):
		return "", c, usagef("no key is given for the tenant; use --api-key-file or QLIK_API_KEY (%w)", err)
	case err != nil:
		return "", c, &usageError{err}
	case server != "" && strings.TrimRight(server, "/") != strings.TrimRight(active.server, "/"):
		return "", c, usagef("no key is given, and the active context is for another tenant; use --api-key-file or QLIK_API_KEY")
	}
	if !keyGiven {
		c = active.credentials
	}
	return active.server, c, c.check()
}

// check says what is missing.
func (c credentials) check() error {
	switch {
	case c.key != "" || c.clientID != "" && c.clientSecret != "":
		return nil
	case c.clientID != "" || c.clientSecret != "":
		return usagef("an OAuth2 client needs both its id and its secret")
	}
	return usagef("the API key is empty")
}

// readKey reads a key from a file.
func readKey(name string) (credentials, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return credentials{}, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 1<<16))
	if err != nil {
		return credentials{}, err
	}
	return credentials{key: strings.TrimSpace(string(b))}, nil
}

// contextsPath is where qlik-cli keeps its contexts.
func contextsPath() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoContext, err)
	}
	return filepath.Join(home, ".qlik", "contexts.yml"), nil
}
