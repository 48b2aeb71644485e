package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// home writes contexts of qlik-cli to a new home directory and returns the environment variable for it.
func home(t *testing.T, contexts string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".qlik"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".qlik", "contexts.yml"), []byte(contexts), 0o400); err != nil {
		t.Fatal(err)
	}
	return "HOME=" + dir
}

func TestSettings(t *testing.T) {
	t.Parallel()
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.TenantAdmin))
	mine := tenant.AddReload(reloads.Reload{AppID: "sales", Status: reloads.StatusSucceeded}).ID
	mux := http.NewServeMux()
	mux.Handle("/api/", tenant)
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		id, password, ok := r.BasicAuth()
		if !ok {
			id, password = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
		}
		if id != "client" || password != secret+"of-a-client" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"bearer","expires_in":21600}`, testKey)
	})
	server, env := serve(t, mux)
	elsewhere, _ := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("got a request that is for another tenant")
	}))

	contexts := home(t, fmt.Sprintf(`contexts:
  by-key:
    server: %[1]s
    server-type: cloud
    headers:
      Authorization: Bearer %[2]s
    comment: written by qlik context init
  by-client:
    server: %[1]s/
    server-type: cloud
    oauth-client-id: client
    oauth-client-secret: %[3]sof-a-client
  windows:
    server: %[1]s
    server-type: windows
    headers:
      X-Qlik-User: me
  half:
    server: %[1]s
    oauth-client-id: client
  nowhere:
    server-type: cloud
    headers:
      Authorization: Bearer %[2]s
  basic:
    server: %[1]s
    headers:
      Authorization: Basic %[3]s
  wrong:
    server: %[1]s
    headers:
      Authorization: Bearer %[3]sthat-is-wrong
current-context: by-key
`, server, testKey, secret))
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(testKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url, apiKey := env[0], env[1]
	client := []string{"QLIK_CLIENT_ID=client", "QLIK_CLIENT_SECRET=" + secret + "of-a-client"}

	for name, c := range map[string]struct {
		env    []string
		args   []string
		status int
		says   string
	}{
		"environment":             {env, nil, statusOK, ""},
		"environment, OAuth2":     {append(client, url), nil, statusOK, ""},
		"active context":          {[]string{contexts}, nil, statusOK, ""},
		"context, OAuth2":         {[]string{contexts}, []string{"--context", "by-client"}, statusOK, ""},
		"flags":                   {nil, []string{"--server", server, "--api-key-file", key}, statusOK, ""},
		"flag before environment": {[]string{"QLIK_TENANT_URL=" + elsewhere, apiKey}, []string{"--server", server}, statusOK, ""},
		"file before environment": {[]string{url, "QLIK_API_KEY=" + secret + "x"}, []string{"--api-key-file", key}, statusOK, ""},
		"environment before":      {[]string{url, "QLIK_API_KEY=" + secret + "x", contexts}, nil, statusRefused, "HTTP-401"},
		"context before":          {[]string{"QLIK_TENANT_URL=" + elsewhere, apiKey, contexts}, []string{"--context", "by-key"}, statusOK, ""},
		"the context's tenant":    {[]string{url, contexts}, nil, statusOK, ""},
		"file for the context":    {[]string{contexts}, []string{"--context", "wrong", "--api-key-file", key}, statusOK, ""},
		"another tenant":          {[]string{contexts}, []string{"--server", elsewhere}, statusUsage, "another tenant"},
		"a key without a tenant":  {[]string{apiKey, contexts}, nil, statusUsage, "QLIK_TENANT_URL is not set"},
		"a client without secret": {[]string{url, client[0]}, nil, statusUsage, "needs an ID and a secret"},
		"half a client":           {[]string{contexts}, []string{"--context", "half"}, statusUsage, "needs an ID and a secret"},
		"an unknown context":      {[]string{contexts}, []string{"--context", "none"}, statusUsage, `no context "none"`},
		"another server type":     {[]string{contexts}, []string{"--context", "windows"}, statusUsage, "expected server type cloud"},
		"no server":               {[]string{contexts}, []string{"--context", "nowhere"}, statusUsage, `context "nowhere": server is not set`},
		"another scheme":          {[]string{contexts}, []string{"--context", "basic"}, statusUsage, "expected an Authorization header with scheme Bearer"},
		"no home":                 {[]string{"HOME="}, []string{"--context", "by-key"}, statusUsage, "$HOME is not defined"},
		"a key is a directory":    {[]string{url}, []string{"--api-key-file", os.TempDir()}, statusUsage, "is a directory"},
		"a wrong key":             {[]string{contexts}, []string{"--context", "wrong"}, statusRefused, "HTTP-401"},
		"an invalid file":         {[]string{home(t, "contexts:\n  a: "+testKey+"\ncurrent-context: a\n")}, nil, statusUsage, "invalid format of qlik-cli contexts"},
		"an empty file":           {[]string{home(t, "")}, nil, statusUsage, "QLIK_TENANT_URL is not set"},
		"an empty key":            {[]string{url}, []string{"--api-key-file", os.DevNull}, statusUsage, "the API key is empty"},
		"a password in the URL":   {[]string{"QLIK_TENANT_URL=https://u:" + testKey + "@tenant.example.com"}, nil, statusUsage, "QLIK_API_KEY is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, c.env, append(c.args, "ls", "--quiet")...)
			want := ""
			if c.status == statusOK {
				want = mine + "\n"
			}
			if r.status != c.status || r.stdout != want || !strings.Contains(r.stderr, c.says) {
				t.Errorf("%+v, want status %d, stdout %q, and %q in stderr", r, c.status, want, c.says)
			}
		})
	}
}

// Without a tenant, every command fails. It names variables that look misspelt, but not their values.
func TestNoTenant(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"ls"}, {"create", "--appId", "a", "--wait"}, {"get", "a"}, {"cancel", "a"}, {"wait", "a"}, {"watch", "a"}, {"log", "a"},
	} {
		if r := run(t, nil, args...); r.status != statusUsage || r.stdout != "" || !strings.HasPrefix(r.stderr, "reload: QLIK_TENANT_URL is not set; set it, or use") || strings.Contains(r.stderr, "variables") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	const notUsed = "; the command does not use these variables: "
	url, key := "QLIK_TENANT_URL=https://tenant.example.com", "QLIK_API_KEY="+testKey
	for _, c := range []struct {
		env  []string
		says string
	}{
		{[]string{"QLIK_TENANT=https://tenant.example.com", "QLIK_APIKEY=" + testKey}, notUsed + "QLIK_APIKEY, QLIK_TENANT\n"},
		{[]string{"QLIK_URL=https://tenant.example.com", key}, "QLIK_API_KEY or QLIK_CLIENT_ID is; set the tenant that it belongs to" + notUsed + "QLIK_URL\n"},
		{[]string{"qlik_tenant_url=https://tenant.example.com"}, notUsed + "qlik_tenant_url\n"},
		{[]string{url, "QLIK_APIKEY=" + testKey}, "QLIK_API_KEY is not set; set it, or use --api-key-file (qlik-cli has no active context)" + notUsed + "QLIK_APIKEY\n"},
		{[]string{url, "QLIK_TOKEN=" + testKey, home(t, "current-context: a\ncontexts: {a: {server: https://other.example.com}}\n")}, "for another tenant; set it, or use --api-key-file" + notUsed + "QLIK_TOKEN\n"},
	} {
		if r := run(t, c.env, "ls"); r.status != statusUsage || r.stdout != "" || !strings.HasSuffix(r.stderr, c.says) {
			t.Errorf("%+v, want %q", r, c.says)
		}
	}
}
