package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/oauth/filestore"
	"github.com/reloads-go/reloads/reloadstest"
)

// exampleTenant starts a fake tenant with an app and an OAuth client, in place of a real tenant.
func exampleTenant() *httptest.Server {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "nightly", Secret: "test-secret"})
	return httptest.NewServer(tenant)
}

// Sign in as the OAuth client itself and run a reload.
func Example() {
	refresh := func(ctx context.Context, tenantURL, clientID, clientSecret, appID string) error {
		tokens, err := oauth.NewTokenSource(oauth.Config{TenantURL: tenantURL, ClientID: clientID, ClientSecret: clientSecret})
		if err != nil {
			return err
		}
		client, err := reloads.NewClient(tenantURL, tokens)
		if err != nil {
			return err
		}
		reload, err := client.Run(ctx, reloads.Request{AppID: appID})
		if err != nil {
			return err
		}
		fmt.Println(reload.Status)
		return nil
	}
	tenant := exampleTenant()
	defer tenant.Close()
	if err := refresh(context.Background(), tenant.URL, "nightly", "test-secret", "sales"); err != nil {
		fmt.Println(err)
	}
	// Output: SUCCEEDED
}

// A token request that the service rejects is an error of the call that needs the token.
func ExampleError() {
	tenant := exampleTenant()
	defer tenant.Close()
	tokens, err := oauth.NewTokenSource(oauth.Config{TenantURL: tenant.URL, ClientID: "nightly", ClientSecret: "wrong"})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := reloads.NewClient(tenant.URL, tokens)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.Run(context.Background(), reloads.Request{AppID: "sales"})
	var tokenErr *oauth.Error
	if errors.As(err, &tokenErr) && tokenErr.Code == "invalid_client" {
		fmt.Println("the client ID or the client secret is wrong")
	}
	// Output: the client ID or the client secret is wrong
}

// Sign in with an OAuth client, for the client itself or on behalf of a user, with an http.Client of your own.
func ExampleNewTokenSource() {
	newClient := func(tenantURL, clientID, secret, userID string, hc *http.Client) (*reloads.Client, error) {
		tokens, err := oauth.NewTokenSource(oauth.Config{
			TenantURL: tenantURL, ClientID: clientID, ClientSecret: secret,
			UserID:     userID, // "" for the client itself
			HTTPClient: hc,     // nil for the usual one
		})
		if err != nil {
			return nil, err
		}
		return reloads.NewClient(tenantURL, tokens, reloads.WithHTTPClient(hc))
	}
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "nightly", Secret: "test-secret"})
	client, err := newClient("https://tenant.example.com", "nightly", "test-secret", "", &http.Client{Transport: tenant})
	if err != nil {
		fmt.Println(err)
		return
	}
	reload, err := client.Run(context.Background(), reloads.Request{AppID: "sales"})
	fmt.Println(reload.Status, err)
	// Output: SUCCEEDED <nil>
}

// Share one token between the processes of a user. Programs that start often would otherwise have too many active tokens.
func ExampleStore() {
	newClient := func(tenantURL, clientID, secret, dir string) (*reloads.Client, error) {
		store, err := filestore.New(dir)
		if err != nil {
			return nil, err
		}
		tokens, err := oauth.NewTokenSource(oauth.Config{TenantURL: tenantURL, ClientID: clientID, ClientSecret: secret, Store: store})
		if err != nil {
			return nil, err
		}
		return reloads.NewClient(tenantURL, tokens)
	}
	tenant := reloadstest.NewTenant()
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "nightly", Secret: "test-secret", MaxTokens: 1})
	server := httptest.NewServer(tenant)
	defer server.Close()
	dir, err := os.MkdirTemp("", "tokens")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for range 3 { // as if these were three processes
		client, err := newClient(server.URL, "nightly", "test-secret", dir)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = client.List(context.Background(), reloads.ListOptions{})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
}
