package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/cmd/reload/internal/show"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/oauth/filestore"
	"github.com/reloads-go/reloads/reloadstest"
)

// settings are the flags that select the tenant and configure the client.
type settings struct {
	server, keyFile, context string
	fake                     bool
	timeout                  time.Duration
	retry                    int
	verbose                  bool

	logTo  io.Writer // of the client
	silent bool      // log nothing, unless verbose is set
}

// credentials are either an API key or an OAuth2 client. They must not be printed.
type credentials struct{ key, clientID, clientSecret string }

func (c credentials) empty() bool { return c == credentials{} }

// connect returns a client of the tenant, and the URL of the tenant. The transport of the client is wrapped by record.
// newFake makes the tenant of --fake.
func (s *settings) connect(getenv func(string) string, newFake func() *reloadstest.Tenant, record func(http.RoundTripper) http.RoundTripper) (client *reloads.Client, server string, err error) {
	opts := []reloads.Option{
		reloads.WithUserAgent("reload/" + version()),
		reloads.WithRetry(reloads.RetryPolicy{MaxRetries: s.retry}),
	}
	switch {
	case s.verbose:
		handler := slog.NewTextHandler(s.logTo, &slog.HandlerOptions{Level: slog.LevelDebug})
		opts = append(opts, reloads.WithLogger(slog.New(handler)))
	case !s.silent:
		opts = append(opts, reloads.WithLogger(slog.New(&notices{w: s.logTo, shown: map[string]bool{}})))
	}
	if s.fake {
		tenant := newFake()
		return tenant.NewClient(append(opts, reloads.WithHTTPClient(&http.Client{Transport: record(tenant)}))...), "fake tenant", nil
	}
	server, c, err := s.resolve(getenv)
	if err != nil {
		return nil, "", err
	}
	if !strings.Contains(server, "://") { // it is not shown, because it may contain a password
		return nil, "", usagef("the URL of the tenant must begin with https://, such as https://your-tenant.us.qlikcloud.com")
	}
	transport := reaching(http.DefaultTransport)
	var tokens reloads.TokenSource = reloads.APIKey(c.key)
	if c.key == "" {
		tokens, err = oauth.NewTokenSource(oauth.Config{
			TenantURL: server, ClientID: c.clientID, ClientSecret: c.clientSecret,
			HTTPClient: &http.Client{Transport: transport}, Store: s.tokenStore(),
		})
		if err != nil {
			return nil, "", usagef("OAuth2 client: %w", err)
		}
	}
	opts = append(opts, reloads.WithHTTPClient(&http.Client{Transport: record(transport)}))
	client, err = reloads.NewClient(server, tokens, opts...)
	return client, server, err
}

// tokenStore returns the store that shares an OAuth token between the commands of a user, because the service refuses too
// many tokens. Without a directory for it, each command requests its own, and says why.
func (s *settings) tokenStore() oauth.Store {
	cache, err := os.UserCacheDir()
	if err == nil {
		var store oauth.Store
		if store, err = filestore.New(filepath.Join(cache, "reload", "tokens")); err == nil {
			return store
		}
	}
	if s.verbose || !s.silent {
		_, _ = fmt.Fprintf(s.logTo, "reload: warning: this command does not share its token with others: %s\n", show.Line(err.Error()))
	}
	return nil
}

// resolve returns the URL of the tenant and the credentials. It must not send credentials to a tenant that they are not
// for. The credentials of a context are used only for the tenant of that context. The credentials in the environment are
// used only for the tenant in QLIK_TENANT_URL or --server.
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
		return "", c, usagef("QLIK_TENANT_URL is not set, but QLIK_API_KEY or QLIK_CLIENT_ID is; set the tenant that it belongs to%s", misspelled())
	}
	active, err := readContext(s.context)
	switch {
	case errors.Is(err, errNoContext) && server == "":
		return "", c, usagef("QLIK_TENANT_URL is not set; set it, or use --server, --fake or a context of qlik-cli (%w)%s", err, misspelled())
	case errors.Is(err, errNoContext):
		return "", c, usagef("QLIK_API_KEY is not set; set it, or use --api-key-file (%w)%s", err, misspelled())
	case err != nil:
		return "", c, &usageError{err}
	case server != "" && strings.TrimRight(server, "/") != strings.TrimRight(active.server, "/"):
		return "", c, usagef("QLIK_API_KEY is not set, and the active context of qlik-cli is for another tenant; set it, or use --api-key-file%s", misspelled())
	}
	if !keyGiven {
		c = active.credentials
	}
	return active.server, c, c.check()
}

// misspelled returns a text that names the variables in the environment that look like those of this command, but are not.
// It is empty if there are none.
func misspelled() string {
	known := []string{"QLIK_TENANT_URL", "QLIK_API_KEY", "QLIK_CLIENT_ID", "QLIK_CLIENT_SECRET"}
	var names []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(strings.ToUpper(name), "QLIK") && !slices.Contains(known, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "; the command does not use these variables: " + strings.Join(names, ", ")
}

// check returns an error if the credentials are incomplete.
func (c credentials) check() error {
	switch {
	case c.key != "" || c.clientID != "" && c.clientSecret != "":
		return nil
	case c.clientID != "" || c.clientSecret != "":
		return usagef("the OAuth2 client needs an ID and a secret (QLIK_CLIENT_ID and QLIK_CLIENT_SECRET, or the context)")
	}
	return usagef("the API key is empty")
}

// readKey reads an API key from a file; "-" means standard input.
func readKey(name string) (credentials, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // the file that the user names
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

// contextsPath returns the path of the file with the contexts of qlik-cli.
func contextsPath() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoContext, err)
	}
	return filepath.Join(home, ".qlik", "contexts.yml"), nil
}
