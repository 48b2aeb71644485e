package oauth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
)

// The token is requested from the tenant that the API calls go to, under the same prefix of a gateway.
func TestTenantURLWithPrefix(t *testing.T) {
	for _, tenant := range []string{
		tenantURL, tenantURL + "/gw", tenantURL + "/a%2Fb", tenantURL + "/a%2Fb/", tenantURL + "/a%2fb/api/v1", tenantURL + "/a//b/api/v1/",
		tenantURL + "/a/../b/", "https://[fe80::1%25eth0]:8443/gw",
	} {
		var sent []string
		hc := &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, r.URL.String())
			return response(r, http.StatusOK, "application/json", `{"access_token":"test-token-1","token_type":"bearer"}`), nil
		})}
		tokens := source(t, oauth.Config{TenantURL: tenant, ClientID: "client", ClientSecret: testSecret, HTTPClient: hc})
		client, err := reloads.NewClient(tenant, tokens, reloads.WithHTTPClient(hc))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = client.Get(t.Context(), "id") // the response is no record
		if len(sent) != 2 || strings.TrimSuffix(sent[0], "/oauth/token") != strings.TrimSuffix(sent[1], "/api/v1/reloads/id") {
			t.Errorf("%s: sent %q", tenant, sent)
		}
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	good := oauth.Config{TenantURL: tenantURL, ClientID: "c", ClientSecret: "s"}
	for name, change := range map[string]func(*oauth.Config){
		"no tenant": func(c *oauth.Config) { c.TenantURL = "" }, "http": func(c *oauth.Config) { c.TenantURL = "http://tenant.example.com" },
		"no id": func(c *oauth.Config) { c.ClientID = "" }, "no secret": func(c *oauth.Config) { c.ClientSecret = "" },
	} {
		bad := good
		change(&bad)
		if _, err := oauth.NewTokenSource(bad); !errors.Is(err, reloads.ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// secretsOf returns values that contain a secret or a token, and the secrets.
func secretsOf(t *testing.T) (values []any, secrets []string) {
	t.Helper()
	cfg := configOf(&service{})
	s := source(t, cfg)
	token := mustToken(t, s)
	return []any{cfg, &cfg, s, []any{cfg, s}, map[string]any{"cfg": cfg, "tokens": s}, struct {
		Config oauth.Config
		Tokens reloads.TokenSource
	}{cfg, s}}, []string{testSecret, token}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	values, secrets := secretsOf(t)
	for _, value := range values {
		shown := fmt.Sprint(value)
		for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "d", "t", "10v", "T"} {
			shown += fmt.Sprintf("%"+verb, value)
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Error(err)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("", "value", value)
		slog.New(slog.NewTextHandler(&log, nil)).Info("", "value", value, slog.Group("g", "value", value))
		shown += string(encoded) + log.String()
		for _, secret := range secrets {
			if strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", secret)) || strings.Contains(shown, fmt.Sprintf("%X", secret)) {
				t.Errorf("%T: the text contains a secret: %s", value, shown)
			}
		}
	}
	if got, want := fmt.Sprint(values[0]), "oauth client client of "+tenantURL; got != want {
		t.Errorf("a Config prints as %q, want %q", got, want)
	}
	const want = "token source for oauth client client of " + tenantURL
	if got, text := fmt.Sprint(values[2]), values[2].(fmt.Stringer).String(); got != want || text != want {
		t.Errorf("a token source prints as %q and %q, want %q", got, text, want)
	}
	cfg := values[0].(oauth.Config)
	cfg.UserID = "u"
	encoded, err := json.Marshal([]any{cfg, values[2]})
	if text := `["oauth client client of ` + tenantURL + `","` + want + `"]`; string(encoded) != text || err != nil {
		t.Errorf("got %s, %v, want %s", encoded, err, text)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "cfg", cfg, "tokens", values[2])
	if text := "cfg.tenant=" + tenantURL + ` cfg.client=client cfg.user=u tokens="` + want + `"` + "\n"; !strings.HasSuffix(log.String(), text) {
		t.Errorf("got %s, want %s", &log, text)
	}
}

// go-cmp prints what differs. It must not print secrets, even if nothing else differs or if it may see all fields.
func TestSecretsAreNotPrintedByCmp(t *testing.T) {
	values, secrets := secretsOf(t)
	cfg := values[0].(oauth.Config)
	different := map[string]func(*oauth.Config){
		"tenant": func(c *oauth.Config) { c.TenantURL += "/" },
		"id":     func(c *oauth.Config) { c.ClientID += "x" },
		"secret": func(c *oauth.Config) { c.ClientSecret += "x" },
		"user":   func(c *oauth.Config) { c.UserID += "x" },
		"scopes": func(c *oauth.Config) { c.Scopes = []string{"x"} },
		"none":   func(c *oauth.Config) { c.Scopes = []string{} },
		"client": func(c *oauth.Config) { c.HTTPClient = &http.Client{} },
	}
	type holder struct {
		Config   *oauth.Config
		List     []oauth.Config
		Map      map[string]oauth.Config
		Anything any
	}
	hold := func(c oauth.Config) holder {
		return holder{&c, []oauth.Config{c, c}, map[string]oauth.Config{"x": c}, c}
	}
	for name, change := range different {
		other := cfg
		change(&other)
		diff := cmp.Diff(cfg, other) + cmp.Diff(hold(cfg), hold(other)) + cmp.Diff(hold(cfg), holder{})
		if strings.Contains(diff, testSecret) {
			t.Errorf("%s: the difference shows the secret: %s", name, diff)
		}
		if cmp.Equal(cfg, other) {
			t.Errorf("%s: the two are equal", name)
		}
	}
	if same := cfg; !cmp.Equal(cfg, same) || cmp.Diff(hold(cfg), hold(same)) != "" {
		t.Error("a Config does not equal its copy")
	}
	all := cmp.Exporter(func(reflect.Type) bool { return true })
	first, second := source(t, cfg), source(t, cfg)
	for _, s := range []reloads.TokenSource{first, second} {
		secrets = append(secrets, mustToken(t, s))
	}
	diff := cmp.Diff(first, second, all) + cmp.Diff(struct{ x any }{first}, struct{ x any }{second}, all)
	func() {
		defer func() { diff += fmt.Sprint(recover()) }()
		diff += cmp.Diff(first, second)
	}()
	for _, secret := range secrets {
		if strings.Contains(diff, secret) {
			t.Errorf("the difference of token sources shows a secret: %s", diff)
		}
	}
}

// TestSecretsAreNotPrintedByPanic runs this test in processes that panic with the values.
func TestSecretsAreNotPrintedByPanic(t *testing.T) {
	const variable = "OAUTH_TEST_PANIC"
	values, secrets := secretsOf(t)
	if n := os.Getenv(variable); n != "" {
		panic(values[int(n[0]-'0')])
	}
	for i := range values {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSecretsAreNotPrintedByPanic$")
		cmd.Env = append(os.Environ(), fmt.Sprint(variable, "=", i))
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "panic: ") {
			t.Fatalf("the process did not panic: %v\n%s", err, out)
		}
		for _, secret := range secrets {
			if strings.Contains(string(out), secret) {
				t.Errorf("%T: the panic shows a secret:\n%s", values[i], out)
			}
		}
	}
}
