package reloads_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"golang.org/x/time/rate"
	"gopkg.in/h2non/gock.v1"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// The examples run against a fake tenant with two apps; sales has been reloaded five times before.
func exampleTenant() *reloadstest.Tenant {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{RunFor: 5 * time.Millisecond, Log: "Reload finished successfully"})
	tenant.AddApp("broken", reloadstest.App{
		Outcome: reloads.StatusFailed, ErrorCode: "EngineConnectionError", ErrorMessage: "unexpected EOF",
	})
	for i := range 5 {
		created := time.Date(2026, 11, 1+i, 3, 0, 0, 0, time.UTC)
		r := reloads.Reload{
			AppID: "sales", Type: reloads.TypeChronos, Status: reloads.StatusSucceeded,
			CreationTime: created, StartTime: created.Add(time.Second), EndTime: created.Add(time.Minute),
		}
		if i == 2 {
			r.Status = reloads.StatusFailed
		}
		tenant.AddReload(r)
	}
	return tenant
}

func ExampleNewClient() {
	refresh := func(ctx context.Context) error {
		client, err := reloads.NewClient(os.Getenv("QLIK_TENANT_URL"), reloads.APIKey(os.Getenv("QLIK_API_KEY")))
		if err != nil {
			return err
		}
		reload, err := client.Run(ctx, reloads.Request{AppID: "116dbfae-7fb9-4983-8e23-5ccd8c508722"})
		if err != nil {
			return err
		}
		fmt.Println(reload.Status, "after", reload.RunTime())
		return nil
	}
	os.Setenv("QLIK_TENANT_URL", "http://your-tenant.us.qlikcloud.com")
	os.Setenv("QLIK_API_KEY", "test-token")
	defer os.Unsetenv("QLIK_TENANT_URL")
	defer os.Unsetenv("QLIK_API_KEY")
	fmt.Println(refresh(context.Background()))
	// Output: reloads: tenant URL "http://your-tenant.us.qlikcloud.com": http is allowed for loopback hosts only; use https
}

// Trigger a reload and wait until it has finished.
func ExampleClient_Run() {
	client := exampleTenant().NewClient() // or reloads.NewClient(tenantURL, reloads.APIKey(key))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()

	reload, err := client.Run(ctx, reloads.Request{AppID: "sales"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reload.Status, reload.Log)

	_, err = client.Run(ctx, reloads.Request{AppID: "broken"})
	var failed *reloads.ReloadError
	if errors.As(err, &failed) {
		fmt.Println(failed.Reload.Status, failed.Reload.ErrorMessage)
	}
	// Output:
	// SUCCEEDED Reload finished successfully
	// FAILED unexpected EOF
}

// Print each change of the status.
func ExampleClient_Watch() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{QueueFor: 20 * time.Millisecond, RunFor: 20 * time.Millisecond})
	client, ctx := tenant.NewClient(), context.Background()

	reload, err := client.Trigger(ctx, reloads.Request{AppID: "sales"})
	if err != nil {
		log.Fatal(err)
	}
	for state, err := range client.Watch(ctx, reload.ID) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(state.Status)
	}
	// Output:
	// QUEUED
	// RELOADING
	// SUCCEEDED
}

// Wait for a reload by its ID, for example one that another process triggered.
func ExampleClient_Wait() {
	tenant := exampleTenant()
	client, ctx := tenant.NewClient(), context.Background()
	triggered, err := client.Trigger(ctx, reloads.Request{AppID: "sales"})
	if err != nil {
		log.Fatal(err)
	}

	reload, err := tenant.NewClient().Wait(ctx, triggered.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reload.Status)
	// Output: SUCCEEDED
}

// Run many apps as fast as the rate limit allows. Each result is yielded when its reload has finished.
func ExampleClient_RunAll() {
	client, ctx := exampleTenant().NewClient(), context.Background()

	requests := []reloads.Request{{AppID: "broken"}, {AppID: "sales"}}
	for result := range client.RunAll(ctx, requests, reloads.AttachToPending()) {
		if result.Err != nil {
			fmt.Println(result.Request.AppID, "failed:", errors.Is(result.Err, reloads.ErrReloadFailed))
			continue
		}
		fmt.Println(result.Request.AppID, result.Reload.Status)
	}
	// Output:
	// broken failed: true
	// sales SUCCEEDED
}

// Reload an app after those that it depends on.
func ExampleClient_RunPlan() {
	client, ctx := exampleTenant().NewClient(), context.Background()

	var plan reloads.Plan
	sales := plan.Add(reloads.Request{AppID: "sales"})
	broken := plan.Add(reloads.Request{AppID: "broken"}, sales)
	plan.Add(reloads.Request{AppID: "report"}, sales, broken)
	for result := range client.RunPlan(ctx, &plan) {
		switch {
		case errors.Is(result.Err, reloads.ErrSkipped):
			fmt.Println(result.Request.AppID, "was skipped, because a reload failed:", errors.Is(result.Err, reloads.ErrReloadFailed))
		case result.Err != nil:
			fmt.Println(result.Request.AppID, "failed")
		default:
			fmt.Println(result.Request.AppID, result.Reload.Status)
		}
	}
	// Output:
	// sales SUCCEEDED
	// broken failed
	// report was skipped, because a reload failed: true
}

// Run an app once a day, no matter how often the program is started.
func ExampleOnce() {
	client, ctx := exampleTenant().NewClient(), context.Background()

	key := "nightly " + time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	first, err := client.Run(ctx, reloads.Request{AppID: "sales"}, reloads.Once(key))
	if err != nil {
		log.Fatal(err)
	}
	again, err := client.Run(ctx, reloads.Request{AppID: "sales"}, reloads.Once(key))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.Status, again.ID == first.ID) // SUCCEEDED true
}

// Wait for reloads that an earlier process triggered, for example after a crash. Their IDs are sufficient.
func ExampleClient_WaitAll() {
	tenant := exampleTenant()
	triggered, err := tenant.NewClient().Trigger(context.Background(), reloads.Request{AppID: "sales"})
	if err != nil {
		log.Fatal(err)
	}
	saved := []string{triggered.ID} // in a file, by the earlier process

	client, ctx := tenant.NewClient(), context.Background()
	var rs []*reloads.Reload
	for _, id := range saved {
		rs = append(rs, &reloads.Reload{ID: id})
	}
	for result := range client.WaitAll(ctx, rs) {
		fmt.Println(result.Reload.AppID, result.Reload.Status, result.Err)
	}
	// Output: sales SUCCEEDED <nil>
}

// If the context ends, the reload is canceled in the service.
func ExampleCancelOnAbort() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{QueueFor: time.Hour})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()

	reload, err := tenant.NewClient().Run(ctx, reloads.Request{AppID: "sales"}, reloads.CancelOnAbort())
	fmt.Println(reload.Status, errors.Is(err, context.DeadlineExceeded))
	// Output: CANCELED true
}

// Wait for the reload that somebody else has triggered, instead of failing with ErrReloadPending.
func ExampleAttachToPending() {
	tenant := exampleTenant()
	tenant.AddApp("sales", reloadstest.App{RunFor: 300 * time.Millisecond})
	client, ctx := tenant.NewClient(), context.Background()
	pending, err := client.Trigger(ctx, reloads.Request{AppID: "sales"})
	if err != nil {
		log.Fatal(err)
	}

	_, err = client.Run(ctx, reloads.Request{AppID: "sales"})
	fmt.Println("pending:", errors.Is(err, reloads.ErrReloadPending))
	reload, err := client.Run(ctx, reloads.Request{AppID: "sales"}, reloads.AttachToPending())
	fmt.Println("attached:", reload.ID == pending.ID, reload.Status, err)
	// Output:
	// pending: true
	// attached: true SUCCEEDED <nil>
}

// Print the progress of a batch.
func ExampleOnChange() {
	client, ctx := exampleTenant().NewClient(), context.Background()

	progress := reloads.OnChange(func(req reloads.Request, reload *reloads.Reload) {
		if reload.Ended() {
			fmt.Println(req.AppID, reload.Status)
		}
	})
	for result := range client.RunAll(ctx, []reloads.Request{{AppID: "sales"}}, progress) {
		fmt.Println("error:", result.Err)
	}
	// Output:
	// sales SUCCEEDED
	// error: <nil>
}

// Retry less often than by default, and accept a short Retry-After only.
func ExampleWithRetry() {
	tenant := exampleTenant()
	tenant.Inject(reloadstest.Fault{Operation: reloadstest.Get, Status: http.StatusBadGateway, Times: -1})
	client := tenant.NewClient(reloads.WithRetry(reloads.RetryPolicy{
		MaxRetries:    2,
		MinBackoff:    10 * time.Millisecond,
		MaxRetryAfter: 10 * time.Second,
	}))

	_, err := client.Get(context.Background(), "5be59decca62aa00097268a4")
	var response *reloads.Error
	if errors.As(err, &response) {
		fmt.Println(response.StatusCode, "after", response.Attempts, "attempts")
	}
	// Output: 502 after 3 attempts
}

func ExampleClient_Cancel() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{QueueFor: time.Hour})
	client, ctx := tenant.NewClient(), context.Background()
	reload, err := client.Trigger(ctx, reloads.Request{AppID: "sales"})
	if err != nil {
		log.Fatal(err)
	}

	status, err := client.Cancel(ctx, reload.ID)
	fmt.Println(status, err)
	_, err = client.Cancel(ctx, reload.ID)
	fmt.Println(errors.Is(err, reloads.ErrNotCancelable))
	// Output:
	// CANCELED <nil>
	// true
}

// Iterate over the whole history of an app.
func ExampleClient_All() {
	client, ctx := exampleTenant().NewClient(), context.Background()

	for reload, err := range client.All(ctx, reloads.ListOptions{AppID: "sales", PageSize: 2}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(reload.CreationTime.Format(time.DateOnly), reload.Status, reload.QueueTime(), reload.RunTime())
	}
	// Output:
	// 2026-11-05 SUCCEEDED 1s 59s
	// 2026-11-04 SUCCEEDED 1s 59s
	// 2026-11-03 FAILED 1s 59s
	// 2026-11-02 SUCCEEDED 1s 59s
	// 2026-11-01 SUCCEEDED 1s 59s
}

// Walk backward from a page in the middle of a list to its beginning.
func ExampleClient_Pages_backward() {
	client, ctx := exampleTenant().NewClient(), context.Background()

	page, err := client.List(ctx, reloads.ListOptions{AppID: "sales", PageSize: 2})
	if err != nil {
		log.Fatal(err)
	}
	last, err := client.List(ctx, reloads.ListOptions{Next: page.Next})
	if err != nil {
		log.Fatal(err)
	}
	for page, err := range client.Pages(ctx, reloads.ListOptions{Prev: last.Prev}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(page.Reloads), "reloads, first", page.Reloads[0].CreationTime.Format(time.DateOnly))
	}
	// Output: 2 reloads, first 2026-11-05
}

// Save the cursor after each page, and resume from it. The cursor of the last page is empty, like that of a walk that
// has not begun. Save separately that the walk is complete.
func ExampleClient_Pages_resume() {
	client, ctx := exampleTenant().NewClient(), context.Background()
	saved := struct { // in a file or a database
		Cursor   string
		Complete bool
	}{}

	step := func(maxPages int) error {
		if saved.Complete {
			return nil
		}
		opts := reloads.ListOptions{AppID: "sales", PageSize: 2, Next: saved.Cursor}
		for page, err := range client.Pages(ctx, opts) {
			if err != nil {
				return err // resume from the cursor later
			}
			fmt.Println(len(page.Reloads), "reloads")
			saved.Cursor, saved.Complete = page.Next, page.Next == ""
			if maxPages--; maxPages == 0 {
				break
			}
		}
		return nil
	}
	for range 3 { // three processes, two pages each
		if err := step(2); err != nil {
			log.Fatal(err)
		}
		fmt.Println("complete:", saved.Complete)
	}
	// Output:
	// 2 reloads
	// 2 reloads
	// complete: false
	// 1 reloads
	// complete: true
	// complete: true
}

// Stream the full log of a reload.
func ExampleClient_Log() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{FullLog: "0001 Started loading\n0002 Orders << orders.csv (1,200 row(s) fetched)\n"})
	client, ctx := tenant.NewClient(), context.Background()
	reload, err := client.Run(ctx, reloads.Request{AppID: "sales"})
	if err != nil {
		log.Fatal(err)
	}

	full, err := client.Log(ctx, reload.AppID, reload.ID)
	if err != nil {
		log.Fatal(err)
	}
	defer full.Close()
	lines := bufio.NewScanner(full) // strips the CRLF
	for lines.Scan() {
		fmt.Println(lines.Text())
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 0001 Started loading
	// 0002 Orders << orders.csv (1,200 row(s) fetched)
}

// A figure is nil if the log does not contain it.
func ExampleReload_Summary() {
	reload := &reloads.Reload{Log: "Reload finished successfully\nIn total 1200 rows read from sources.\n"}
	summary := reload.Summary()
	if summary.RowsRead != nil {
		fmt.Println("read:", *summary.RowsRead)
	}
	fmt.Println("stored is known:", summary.RowsStored != nil)
	// Output:
	// read: 1200
	// stored is known: false
}

// Save a cursor, and continue from there later.
func ExampleClient_List() {
	client, ctx := exampleTenant().NewClient(), context.Background()

	page, err := client.List(ctx, reloads.ListOptions{AppID: "sales", PageSize: 2})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(page.Reloads), "reloads, more:", page.Next != "")
	page, err = client.List(ctx, reloads.ListOptions{Next: page.Next})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(page.Reloads), "reloads, from", page.Reloads[0].CreationTime.Format(time.DateOnly))
	// Output:
	// 2 reloads, more: true
	// 2 reloads, from 2026-11-03
}

func ExampleFilter() {
	client, ctx := exampleTenant().NewClient(), context.Background()
	bad := reloads.And(
		reloads.StatusIs(reloads.StatusFailed, reloads.StatusExceededLimit),
		reloads.PartialIs(false),
		reloads.TypeIs(reloads.TypeChronos),
	)
	fmt.Println(bad)

	for reload, err := range client.All(ctx, reloads.ListOptions{AppID: "sales", Filter: bad}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(reload.CreationTime.Format(time.DateOnly), reload.Status)
	}
	// Output:
	// (status eq "FAILED" or status eq "EXCEEDED_LIMIT") and (partial eq "false") and (type eq "chronos")
	// 2026-11-03 FAILED
}

// Distinguish the reasons why a trigger was refused. Each needs a different reaction.
func ExampleError() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("busy", reloadstest.App{QueueFor: time.Hour})
	tenant.AddApp("often", reloadstest.App{Quota: 1})
	client, ctx := tenant.NewClient(), context.Background()
	for _, app := range []string{"busy", "busy", "often", "often", "unknown"} {
		_, err := client.Trigger(ctx, reloads.Request{AppID: app})
		var refused *reloads.Error
		switch {
		case err == nil:
			fmt.Println(app, "is triggered")
		case errors.Is(err, reloads.ErrReloadPending):
			fmt.Println(app, "is being reloaded already")
		case errors.Is(err, reloads.ErrQuotaExceeded):
			fmt.Println(app, "was reloaded too often")
		case errors.As(err, &refused):
			fmt.Println(app, "is refused:", refused.StatusCode, refused.Details[0].Code)
		default:
			fmt.Println(app, "could not be triggered:", err)
		}
	}
	// Output:
	// busy is triggered
	// busy is being reloaded already
	// often is triggered
	// often was reloaded too often
	// unknown is refused: 404 RELOADS-004
}

// Clients that use the same key share the limits of the service, so they should also share their limiters. Any type with a
// Wait method is a limiter.
func ExampleWithLimiters() {
	limiters := reloads.Limiters{
		Read:    reloads.NewLimiter(reloads.Tier1PerMinute/2, time.Minute), // the other half is for another program
		Trigger: rate.NewLimiter(rate.Every(2*time.Second), 1),             // gently
	}
	for _, tenantURL := range []string{"https://one.eu.qlikcloud.com", "https://one.eu.qlikcloud.com/"} {
		client, err := reloads.NewClient(tenantURL, reloads.APIKey("test-token"), reloads.WithLimiters(limiters))
		fmt.Println(client != nil, err)
	}
	// Output:
	// true <nil>
	// true <nil>
}

// The vendor describes the limit of triggers as 50 per minute, metered over five minutes: up to 250 in that time. The default
// of a client is 50 in any minute. This client may start 250 triggers at once. The next one then waits until about five minutes
// have passed since the first one.
func ExampleNewLimiter() {
	// A fake tenant also allows 50 per minute by default.
	tenant := reloadstest.NewTenant(reloadstest.WithRateLimit(reloadstest.Trigger, 250, 5*time.Minute))
	tenant.AddApp("sales", reloadstest.App{})
	limiters := reloads.Limiters{Trigger: reloads.NewLimiter(250, 5*time.Minute)}
	client := tenant.NewClient(reloads.WithLimiters(limiters))

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for n := 0; ; n++ {
		if _, err := client.Trigger(ctx, reloads.Request{AppID: "sales"}); err != nil {
			fmt.Println(n, "triggered, then the limiter waits:", errors.Is(err, context.DeadlineExceeded))
			break
		}
	}
	// Output: 250 triggered, then the limiter waits: true
}

// Use a token that expires. The client gets a token from the source for each attempt. After a 401 it gets another one and
// retries once.
func ExampleTokenFunc() {
	tokens := reloads.TokenFunc(func(ctx context.Context) (string, error) {
		return os.Getenv("QLIK_ACCESS_TOKEN"), nil
	})
	client, err := reloads.NewClient("https://your-tenant.us.qlikcloud.com", tokens)
	fmt.Println(client != nil, err)
	// Output: true <nil>
}

// Triggerer is the part of a client that the function below uses. A test can pass any other type with this method.
type Triggerer interface {
	Trigger(ctx context.Context, req reloads.Request) (*reloads.Reload, error)
}

var _ Triggerer = (*reloads.Client)(nil)

type recorder struct{ apps []string }

func (r *recorder) Trigger(_ context.Context, req reloads.Request) (*reloads.Reload, error) {
	r.apps = append(r.apps, req.AppID)
	return &reloads.Reload{ID: "1", AppID: req.AppID, Status: reloads.StatusQueued}, nil
}

// Declare the interface where it is used, with only the methods that are needed there.
func ExampleClient_Trigger_consumerSideInterface() {
	refresh := func(ctx context.Context, t Triggerer, apps ...string) error {
		for _, app := range apps {
			if _, err := t.Trigger(ctx, reloads.Request{AppID: app}); err != nil {
				return err
			}
		}
		return nil
	}

	var r recorder
	err := refresh(context.Background(), &r, "sales", "stock")
	fmt.Println(r.apps, err)
	// Output: [sales stock] <nil>
}

// Test a program against the fake tenant.
func Example_testingWithTheFakeTenant() {
	ctx := context.Background()
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{Outcome: reloads.StatusFailed, ErrorMessage: "no such table"})
	_, err := tenant.NewClient().Run(ctx, reloads.Request{AppID: "sales"})
	fmt.Println(errors.Is(err, reloads.ErrReloadFailed))
	// Output: true
}

// Test a program with gock. A client without its own http.Client uses the default transport, which gock replaces.
func Example_testingWithGock() {
	defer gock.Off()
	gock.New("https://your-tenant.us.qlikcloud.com").
		Post("/api/v1/reloads$").
		MatchHeader("Authorization", "^Bearer test-token$").
		JSON(map[string]string{"appId": "sales"}).
		Reply(http.StatusCreated).
		JSON(map[string]string{"id": "5be59decca62aa00097268a4", "appId": "sales", "status": "QUEUED"})

	client, err := reloads.NewClient("https://your-tenant.us.qlikcloud.com", reloads.APIKey("test-token"))
	if err != nil {
		log.Fatal(err)
	}
	reload, err := client.Trigger(context.Background(), reloads.Request{AppID: "sales"})
	fmt.Println(reload.ID, reload.Status, err)
	// Output: 5be59decca62aa00097268a4 QUEUED <nil>
}
