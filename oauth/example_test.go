package oauth_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/reloadstest"
)

// Sign in with an OAuth2 client, as itself or on behalf of a user.
func ExampleNewTokenSource() {
	signedIn := func(tenantURL, clientID, secret, userID string, hc *http.Client) (*reloads.Client, error) {
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
	client, err := signedIn("https://tenant.example.com", "nightly", "test-secret", "", &http.Client{Transport: tenant})
	if err != nil {
		fmt.Println(err)
		return
	}
	reload, err := client.Run(context.Background(), reloads.Request{AppID: "sales"})
	fmt.Println(reload.Status, err)
	// Output: SUCCEEDED <nil>
}
