package oauth_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestRefusalsAreExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, cfg := world(reloadstest.OAuthClient{MaxTokens: 1})
		wrong := cfg
		wrong.ClientSecret = "test-secret-wrong"
		mustToken(t, source(t, cfg))
		for _, c := range []struct {
			cfg    oauth.Config
			status int
			says   []string
		}{
			{wrong, 401, []string{"invalid_client", "check the client ID and the client secret"}},
			{cfg, 403, []string{"OAUTH-403", "too many", "share one TokenSource"}},
		} {
			for _, user := range flows {
				c.cfg.UserID = user
				_, err := source(t, c.cfg).Token(t.Context())
				var e *oauth.Error
				if !errors.As(err, &e) || e.StatusCode != c.status {
					t.Fatalf("got %v, want an *Error with status %d", err, c.status)
				}
				for _, text := range c.says {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("the error %q does not contain %q", err, text)
					}
				}
			}
		}
	})
}
