package reloads_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
	"github.com/reloads-go/reloads/webhook"
)

// The code of docs/recipes.md is in these examples and tests, and in the examples of the module oauth.

// Reload all apps and report those that failed.
func Example_recipeNightlyBatch() {
	nightly := func(ctx context.Context, client *reloads.Client, apps []string) (failed []string) {
		var requests []reloads.Request
		for _, app := range apps {
			requests = append(requests, reloads.Request{AppID: app})
		}
		for result := range client.RunAll(ctx, requests, reloads.AttachToPending()) {
			if result.Err != nil {
				failed = append(failed, fmt.Sprint(result.Request.AppID, ": ", result.Err))
			}
		}
		return failed
	}
	client := exampleTenant().NewClient()
	failed := nightly(context.Background(), client, []string{"sales", "broken"})
	fmt.Println(len(failed), strings.Contains(failed[0], "broken: reloads: reload"))
	// Output: 1 true
}

// Reload a report after the apps that it depends on.
func Example_recipeChain() {
	chain := func(ctx context.Context, client *reloads.Client) {
		var plan reloads.Plan
		sales := plan.Add(reloads.Request{AppID: "sales"})
		stock := plan.Add(reloads.Request{AppID: "stock"})
		plan.Add(reloads.Request{AppID: "report"}, sales, stock)
		for result := range client.RunPlan(ctx, &plan) {
			switch {
			case errors.Is(result.Err, reloads.ErrSkipped):
				fmt.Println(result.Request.AppID, "is skipped")
			case result.Err != nil:
				fmt.Println(result.Request.AppID, "failed")
			default:
				fmt.Println(result.Request.AppID, "was reloaded")
			}
		}
	}
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{Outcome: reloads.StatusFailed, ErrorMessage: "no such table"})
	tenant.AddApp("stock", reloadstest.App{RunFor: 10 * time.Millisecond})
	tenant.AddApp("report", reloadstest.App{})
	chain(context.Background(), tenant.NewClient())
	// Unordered output:
	// sales failed
	// report is skipped
	// stock was reloaded
}

// Run a night's reloads so that it does not matter when the program is killed.
func Example_recipeResume() {
	night := func(ctx context.Context, client *reloads.Client, key string, requests []reloads.Request) error {
		var errs []error
		for result := range client.RunAll(ctx, requests, reloads.Once(key), reloads.Rerun(2), reloads.AfterPending()) {
			if result.Err != nil {
				errs = append(errs, result.Err)
			}
		}
		return errors.Join(errs...)
	}
	tenant := exampleTenant()
	tenant.AddApp("stock", reloadstest.App{RunFor: time.Second})
	requests := []reloads.Request{{AppID: "sales"}, {AppID: "stock"}}
	before := len(tenant.Reloads())

	killed, kill := context.WithTimeout(context.Background(), 4*time.Second)
	defer kill()
	fmt.Println(errors.Is(night(killed, tenant.NewClient(), "2026-11-24", requests), context.DeadlineExceeded))
	fmt.Println(night(context.Background(), tenant.NewClient(), "2026-11-24", requests))
	fmt.Println(len(tenant.Reloads())-before, "reloads") // 2
}

// Spare a data source that several apps load from.
func Example_recipeMaxActive() {
	gently := func(ctx context.Context, client *reloads.Client, requests []reloads.Request) (failed int) {
		for result := range client.RunAll(ctx, requests, reloads.MaxActive(2), reloads.StepTimeout(time.Hour)) {
			if result.Err != nil {
				failed++
			}
		}
		return failed
	}
	tenant := reloadstest.NewTenant()
	var requests []reloads.Request
	for i := range 4 {
		app := fmt.Sprint("app ", i)
		tenant.AddApp(app, reloadstest.App{RunFor: 10 * time.Millisecond})
		requests = append(requests, reloads.Request{AppID: app})
	}
	fmt.Println(gently(context.Background(), tenant.NewClient(), requests), "failed")
	// Output: 0 failed
}

// Each tenant has its own client and therefore its own limits.
func Example_recipeSeveralTenants() {
	everywhere := func(ctx context.Context, clients map[string]*reloads.Client, app string) error {
		var running sync.WaitGroup
		errs := make(chan error, len(clients))
		for tenant, client := range clients {
			running.Go(func() {
				if _, err := client.Run(ctx, reloads.Request{AppID: app}); err != nil {
					errs <- fmt.Errorf("%s: %w", tenant, err)
				}
			})
		}
		running.Wait()
		close(errs)
		var all []error
		for err := range errs {
			all = append(all, err)
		}
		return errors.Join(all...)
	}
	clients := map[string]*reloads.Client{"us": exampleTenant().NewClient(), "eu": reloadstest.NewTenant().NewClient()}
	err := everywhere(context.Background(), clients, "sales")
	fmt.Println(strings.HasPrefix(err.Error(), "eu: "))
	// Output: true
}

// Use a company proxy and its certificate authority.
func Example_recipeProxy() {
	behindProxy := func(tenantURL, key, proxy string, authorities []byte) (*reloads.Client, error) {
		address, err := url.Parse(proxy)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authorities)
		transport := &http.Transport{
			Proxy:             http.ProxyURL(address),
			TLSClientConfig:   &tls.Config{RootCAs: pool},
			ForceAttemptHTTP2: true,
			IdleConnTimeout:   90 * time.Second,
		}
		return reloads.NewClient(tenantURL, reloads.APIKey(key), reloads.WithHTTPClient(&http.Client{Transport: transport}))
	}
	_, err := behindProxy("https://your-tenant.us.qlikcloud.com", "test-token", "http://proxy.example.com:3128", nil)
	fmt.Println(err)
	// Output: <nil>
}

// Test a program with a fake tenant that injects faults.
func Example_recipeTest() {
	// refresh is the program to be tested.
	refresh := func(ctx context.Context, client *reloads.Client, app string) (string, error) {
		reload, err := client.Run(ctx, reloads.Request{AppID: app})
		switch {
		case errors.Is(err, reloads.ErrReloadPending):
			return "somebody else does it", nil
		case err != nil:
			return "", err
		}
		return "done in " + reload.RunTime().String(), nil
	}
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{QueueFor: time.Hour})
	tenant.Trigger("sales", reloads.Reload{}) // by hand, in the hub
	said, err := refresh(context.Background(), tenant.NewClient(), "sales")
	fmt.Println(said, err)

	tenant.AddApp("stock", reloadstest.App{})
	tenant.Inject(reloadstest.Fault{Operation: reloadstest.Trigger, Status: http.StatusUnauthorized, Times: -1})
	said, err = refresh(context.Background(), tenant.NewClient(), "stock")
	fmt.Println(said == "", errors.Is(err, reloads.ErrUnauthorized))
	// Output:
	// somebody else does it <nil>
	// true true
}

// receiveEvents returns a client that polls rarely, and the handler of the events that make it poll at once.
func receiveEvents(tenantURL string, tokens reloads.TokenSource, hc *http.Client, secret string) (*reloads.Client, http.Handler, error) {
	rarely := reloads.WithPolling(reloads.PollPolicy{MinInterval: time.Minute, MaxInterval: 5 * time.Minute})
	client, err := reloads.NewClient(tenantURL, tokens, rarely, reloads.WithHTTPClient(hc))
	if err != nil {
		return nil, nil, err
	}
	handler, err := webhook.New(secret, func(e webhook.Event) { client.Poll(e.Data.ID) })
	return client, handler, err
}

// What docs/recipes.md says about polls with events and without.
func TestRecipeForEvents(t *testing.T) {
	t.Parallel()
	const secret = "a-secret-with-32-to-64-characters"
	for name, c := range map[string]struct {
		lost    bool
		reloads int
		runFor  time.Duration
		late    time.Duration // the longest time until an end is noticed; up to 5 min for the last three of a batch without events
		started time.Duration // the longest time until OnChange sees a start
	}{
		"one":                 {false, 1, 2 * time.Hour, time.Second, 5 * time.Minute},
		"batch":               {false, 20, 2 * time.Hour, time.Second, 5 * time.Minute},
		"one, no events":      {true, 1, 2 * time.Hour, 5 * time.Minute, 5 * time.Minute},
		"young, no events":    {true, 1, 9 * time.Minute, time.Minute, time.Minute},
		"batch, no events":    {true, 20, 2 * time.Hour, time.Minute, 5 * time.Minute},
		"few left, no events": {true, 3, 2 * time.Hour, 5 * time.Minute, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tenant := reloadstest.NewTenant()
				client, handler, err := receiveEvents("https://tenant.example.com", reloads.APIKey(tenant.Token()), &http.Client{Transport: tenant}, secret)
				if err != nil {
					t.Fatal(err)
				}
				fault := func(reloads.Reload) reloadstest.EventFault { return reloadstest.EventFault{Lost: c.lost} }
				tenant.AddWebhook(reloadstest.Webhook{Secret: secret, Handler: handler, Fault: fault})
				var requests []reloads.Request
				for i := range c.reloads {
					app := fmt.Sprint("app ", i)
					tenant.AddApp(app, reloadstest.App{QueueFor: 10 * time.Second, RunFor: c.runFor + time.Duration(i)*7*time.Second})
					requests = append(requests, reloads.Request{AppID: app})
				}
				seen := map[string]bool{}
				started := reloads.OnChange(func(_ reloads.Request, r *reloads.Reload) {
					if r.Status != reloads.StatusReloading || seen[r.ID] {
						return
					}
					seen[r.ID] = true
					if late := time.Since(r.StartTime); late > c.started+time.Second {
						t.Errorf("the start of %s was seen after %v", r.AppID, late)
					}
				})
				left := c.reloads
				for result := range client.RunAll(context.Background(), requests, started) {
					if result.Err != nil {
						t.Fatal(result.Err)
					}
					longest := c.late
					if c.lost && left < 4 && c.reloads >= 4 {
						longest = 5 * time.Minute
					}
					left--
					if late := time.Since(result.Reload.EndTime); late > longest+time.Second {
						t.Errorf("the end of %s was noticed after %v", result.Request.AppID, late)
					}
				}
				if len(seen) != c.reloads {
					t.Errorf("OnChange saw %d starts, want %d", len(seen), c.reloads)
				}
			})
		})
	}
}

// The examples with Once wait for seconds, because reloads may be listed late. So they run in a synctest bubble.
func TestExamplesWithOnce(t *testing.T) {
	for name, c := range map[string]struct {
		example func()
		want    string
	}{
		"Once":   {ExampleOnce, "SUCCEEDED true\n"},
		"resume": {Example_recipeResume, "true\n<nil>\n2 reloads\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := printed(t, c.example); got != c.want {
				t.Errorf("it prints %q, want %q", got, c.want)
			}
		})
	}
}

// All code of docs/recipes.md is in the examples, and its commands are in the checks.
func TestRecipesMatchExamples(t *testing.T) {
	t.Parallel()
	read := func(files ...string) (text string) {
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text += string(b)
		}
		return text
	}
	unindent := func(text string) string { return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(text, "") }
	recipes, examples, checks := read("docs/recipes.md"), unindent(read("recipes_test.go", "oauth/example_test.go")), read(".ci/run")
	code := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(recipes, -1)
	commands := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(recipes, -1)
	if len(code) < 9 || len(commands) < 2 {
		t.Errorf("%d blocks of code and %d of commands", len(code), len(commands))
	}
	for _, block := range code {
		if !strings.Contains(examples, unindent(block[1])) {
			t.Errorf("no example has this code:\n%s", block[1])
		}
	}
	for _, block := range commands {
		for _, line := range slices.Collect(strings.Lines(block[1])) {
			if !strings.Contains(checks, "in_docs '"+strings.TrimSpace(line)+"'") {
				t.Errorf("the checks do not run this command: %s", line)
			}
		}
	}
}

// All code of the README is in the examples, which are compiled and run.
func TestReadmeMatchesExamples(t *testing.T) {
	t.Parallel()
	unindent := func(text string) string { return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(text, "") }
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples []byte
	for _, file := range []string{"example_test.go", "examples/minimal/main.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		examples = append(examples, text...)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) < 2 {
		t.Errorf("the README has %d blocks of code", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(unindent(string(examples)), unindent(block[1])) {
			t.Errorf("no Example has this code of the README:\n%s", block[1])
		}
	}
	if n := strings.Count(string(readme), "\n"); n > 160 {
		t.Errorf("the README has %d lines, want at most 160", n)
	}
}
