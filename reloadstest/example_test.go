package reloadstest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
	"github.com/reloads-go/reloads/webhook"
)

// Test a program with an app whose reloads fail.
func Example() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{Outcome: reloads.StatusFailed, ErrorMessage: "no such table"})
	client := tenant.NewClient() // pass it to the code under test
	reload, err := client.Run(context.Background(), reloads.Request{AppID: "sales"})
	fmt.Println(reload.Status, reload.ErrorMessage)
	fmt.Println(errors.Is(err, reloads.ErrReloadFailed), len(tenant.Reloads()))
	// Output:
	// FAILED no such table
	// true 1
}

// A script with durations and a full log. Real-time tests should use short durations.
func ExampleApp() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{
		QueueFor: 20 * time.Millisecond,
		RunFor:   50 * time.Millisecond,
		FullLog:  "Orders << orders.csv\nFinished successfully\n",
	})
	reload, err := tenant.NewClient().Run(context.Background(), reloads.Request{AppID: "sales"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reload.Status, "queued", reload.QueueTime(), "ran", reload.RunTime())
	// Output: SUCCEEDED queued 20ms ran 50ms
}

// Two requests get a 503 response. The client retries, and the third attempt succeeds.
func ExampleTenant_Inject() {
	tenant := reloadstest.NewTenant()
	added := tenant.AddReload(reloads.Reload{AppID: "sales", Status: reloads.StatusSucceeded})
	tenant.Inject(reloadstest.Fault{Operation: reloadstest.Get, Status: http.StatusServiceUnavailable, Times: 2})

	client := tenant.NewClient(reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 5, MinBackoff: time.Millisecond}))
	reload, err := client.Get(context.Background(), added.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reload.Status)
	for _, r := range tenant.Requests() {
		fmt.Println(r.Operation, r.Status)
	}
	// Output:
	// SUCCEEDED
	// get 503
	// get 503
	// get 200
}

// A trigger takes effect, but its response is lost. The client does not trigger the app again. It lists the reloads of the
// app and finds the one with the ResourceID of the request. Without a ResourceID, it has to compare creation times, which
// can take several requests.
func ExampleTenant_Inject_lostConnection() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	tenant.Inject(reloadstest.Fault{Operation: reloadstest.Trigger, LoseAfter: true})

	req := reloads.Request{AppID: "sales", ResourceID: "nightly-42"}
	reload, err := tenant.NewClient().Trigger(context.Background(), req)
	if err != nil {
		log.Fatal(err)
	}
	triggers := 0
	for _, r := range tenant.Requests() {
		if r.Operation == reloadstest.Trigger {
			triggers++
		}
	}
	fmt.Println(reload.ResourceID, "triggers:", triggers, "reloads:", len(tenant.Reloads())) // nightly-42 triggers: 1 reloads: 1
}

// The tenant enforces the rate limits of the service. A client stays below them, unless other programs use the same key. To
// provoke a 429 response, disable the limiter of the client.
func ExampleWithMetering() {
	tenant := reloadstest.NewTenant(reloadstest.WithMetering(reloadstest.FixedWindow, time.Hour))
	tenant.AddApp("sales", reloadstest.App{})
	client := tenant.NewClient(
		reloads.WithLimiters(reloads.Limiters{Trigger: &reloads.WindowLimiter{}}), // the zero value does not limit
		reloads.WithRetry(reloads.RetryPolicy{}))                                  // no retries

	var err error
	for err == nil {
		_, err = client.Trigger(context.Background(), reloads.Request{AppID: "sales"})
	}
	fmt.Println(errors.Is(err, reloads.ErrRateLimited))
	// Output: true
}

// The vendor describes the limit of triggers as up to 250 in five minutes. A client stays below it with a limiter of the same
// numbers.
func ExampleWithRateLimit() {
	tenant := reloadstest.NewTenant(reloadstest.WithRateLimit(reloadstest.Trigger, 250, 5*time.Minute))
	tenant.AddApp("sales", reloadstest.App{})
	client := tenant.NewClient(reloads.WithLimiters(reloads.Limiters{
		Trigger: reloads.NewLimiter(250, 5*time.Minute), // the default is 50 per minute
	}))

	for range 250 {
		if _, err := client.Trigger(context.Background(), reloads.Request{AppID: "sales"}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(len(tenant.Reloads()))
	// Output: 250
}

// Test with records that have fewer fields and less precise times than usual.
func ExampleOption() {
	tenant := reloadstest.NewTenant(
		reloadstest.WithOmittedFields("partial", "resourceId"),
		reloadstest.WithTimePrecision(time.Second),
	)
	tenant.AddApp("sales", reloadstest.App{})
	req := reloads.Request{AppID: "sales", ResourceID: "nightly-42"}
	reload, err := tenant.NewClient().Trigger(context.Background(), req)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q %d\n", reload.ResourceID, reload.CreationTime.Nanosecond())
	fmt.Printf("%q\n", tenant.Reloads()[0].ResourceID) // is complete
	// Output:
	// "" 0
	// "nightly-42"
}

// A Tenant is an http.Handler. Behind a server, it can test the connections of a client, and programs in other processes.
func ExampleTenant_ServeHTTP() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{})
	server := httptest.NewServer(tenant)
	defer server.Close()
	client, err := reloads.NewClient(server.URL, reloads.APIKey(tenant.Token()))
	if err != nil {
		log.Fatal(err)
	}
	reload, err := client.Trigger(context.Background(), reloads.Request{AppID: "sales"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reload.AppID, reload.Status)
	// Output: sales SUCCEEDED
}

// In a synctest bubble, a reload of three hours takes no time. This is a test, because an Example cannot use synctest.
func TestAReloadOfThreeHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant()
		tenant.AddApp("sales", reloadstest.App{RunFor: 3 * time.Hour})
		reload, err := tenant.NewClient().Run(t.Context(), reloads.Request{AppID: "sales"})
		if err != nil || reload.RunTime() != 3*time.Hour {
			t.Errorf("got %+v, %v", reload, err)
		}
	})
}

// Deliver events to a webhook: every event twice, and those of one app late.
func ExampleTenant_AddWebhook() {
	const secret = "a-secret-with-32-to-64-characters"
	events := make(chan webhook.Event, 10)
	handler, err := webhook.New(secret, func(e webhook.Event) { events <- e })
	if err != nil {
		log.Fatal(err)
	}
	tenant := reloadstest.NewTenant()
	tenant.AddWebhook(reloadstest.Webhook{
		Secret:  secret,
		Handler: handler, // or a URL
		Fault: func(r reloads.Reload) reloadstest.EventFault {
			if r.AppID == "sales" {
				return reloadstest.EventFault{Delay: 50 * time.Millisecond}
			}
			return reloadstest.EventFault{Repeats: 1}
		},
	})
	tenant.AddApp("sales", reloadstest.App{})
	tenant.AddApp("board", reloadstest.App{})
	for result := range tenant.NewClient().RunAll(context.Background(), []reloads.Request{{AppID: "sales"}, {AppID: "board"}}) {
		if result.Err != nil {
			log.Fatal(result.Err)
		}
	}
	for range 3 {
		fmt.Println((<-events).Data.AppID) // board, board, sales
	}
}

// Examples that wait for seconds, or in which the order of short times counts, run in a synctest bubble.
func TestExamplesThatWait(t *testing.T) {
	for name, c := range map[string]struct {
		example func()
		want    string
	}{
		"lost connection": {ExampleTenant_Inject_lostConnection, "nightly-42 triggers: 1 reloads: 1\n"},
		"webhook":         {ExampleTenant_AddWebhook, "board\nboard\nsales\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer func(stdout *os.File) { os.Stdout = stdout }(os.Stdout)
			os.Stdout = w
			synctest.Test(t, func(*testing.T) { c.example() })
			_ = w.Close()
			if got, err := io.ReadAll(r); err != nil || string(got) != c.want {
				t.Errorf("it prints %q, %v, want %q", got, err, c.want)
			}
		})
	}
}
