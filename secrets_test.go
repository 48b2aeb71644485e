package reloads_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// secretVariable is the value of a variable of a request: people put passwords in them.
const secretVariable = "test-password-91c7"

// Neither the token nor the value of a variable is in anything that the package or its fake tenant prints, logs or keeps,
// whatever goes wrong.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		tenant := reloadstest.NewTenant(reloadstest.WithToken(testToken, reloadstest.TenantAdmin))
		tenant.AddApp("app", reloadstest.App{RunFor: time.Second})
		tenant.AddApp("bad", reloadstest.App{RunFor: time.Second, Outcome: reloads.StatusFailed, ErrorMessage: "no data"})
		hc := &http.Client{Transport: tenant}
		opts := []reloads.Option{
			reloads.WithHTTPClient(hc), reloads.WithAttemptTimeout(5 * time.Second),
			reloads.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		}
		client, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey(testToken), opts...)
		if err != nil {
			t.Fatal(err)
		}
		req := reloads.Request{AppID: "app", Variables: map[string]string{"Password": secretVariable}}
		unsendable := reloads.Request{AppID: "app", Variables: map[string]string{"Password": strings.Repeat(secretVariable, 20)}}
		broken := reloads.Request{AppID: "app", Variables: map[string]string{"Password": secretVariable + "\xff"}}
		printedValues := []any{client, opts, hc, req, &req, unsendable}
		for _, fault := range []reloadstest.Fault{
			{}, {LoseBefore: true}, {LoseAfter: true}, {Status: 500}, {Status: 429}, {Status: 200, Body: "<html>"}, {Status: 403}, {CutBody: 20},
			{Delay: 10 * time.Second}, {Status: 302, Header: http.Header{"Location": {"https://elsewhere.example.com/"}}},
		} {
			fault.Times = 3
			for _, op := range []reloadstest.Operation{reloadstest.Trigger, reloadstest.List, reloadstest.Get} {
				fault.Operation = op
				tenant.Inject(fault)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				r, err := client.Run(ctx, req)
				printedValues = append(printedValues, r, err)
				for r := range client.RunAll(ctx, []reloads.Request{req, {AppID: "bad", Variables: req.Variables}, unsendable, broken, {AppID: "no such app", Variables: req.Variables}}) {
					printedValues = append(printedValues, r, &r, r.Err)
				}
				cancel()
			}
		}
		for _, role := range []reloadstest.Role{reloadstest.Expired, reloadstest.Forbidden} {
			other := testToken + fmt.Sprint("-", role)
			denied := tenant.NewClient(reloads.WithHTTPClient(&http.Client{Transport: authorized{tenant, other}}))
			_, err := denied.Trigger(t.Context(), req)
			printedValues = append(printedValues, err)
		}
		printedValues = append(printedValues, tenant, tenant.Requests(), tenant.Reloads())
		secrets := []string{secretVariable, fmt.Sprintf("%x", secretVariable), fmt.Sprintf("%x", testToken)}
		for i, value := range printedValues {
			silent(t, fmt.Sprintf("value %d, a %T,", i, value), printed(value), secrets...)
		}
		for _, r := range tenant.Requests() {
			encoded, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			silent(t, "a recorded request", string(encoded)+string(r.Body), secrets...)
		}
		silent(t, "the log", log.String(), secrets...)
		if n := strings.Count(log.String(), "\n"); n < 100 {
			t.Errorf("the log has %d lines, too few to tell", n)
		}
	})
}

// authorized sends every request with another token.
type authorized struct {
	base  http.RoundTripper
	token string
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+a.token)
	return a.base.RoundTrip(r)
}
