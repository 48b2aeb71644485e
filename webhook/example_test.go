package webhook_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
	"github.com/reloads-go/reloads/webhook"
)

// A server that receives events, so that the waits of a client notice the end of a reload at once. ReadTimeout ends a
// delivery that does not arrive.
func ExampleNew() {
	client, err := reloads.NewClient(os.Getenv("QLIK_TENANT_URL"), reloads.APIKey(os.Getenv("QLIK_API_KEY")),
		reloads.WithPolling(reloads.PollPolicy{MinInterval: time.Minute, MaxInterval: 5 * time.Minute})) // in case events are lost
	if err != nil {
		log.Fatal(err)
	}
	handler, err := webhook.New(os.Getenv("WEBHOOK_SECRET"), func(e webhook.Event) { client.Poll(e.Data.ID) })
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: ":8443", Handler: handler, ReadTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServeTLS("cert.pem", "key.pem"))
}

// In a test, the fake tenant delivers the events.
func Example() {
	const secret = "a-secret-with-32-to-64-characters"
	events := make(chan webhook.Event, 1) // with room, because the function must not block
	handler, err := webhook.New(secret, func(e webhook.Event) { events <- e })
	if err != nil {
		log.Fatal(err)
	}
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{Outcome: reloads.StatusFailed, ErrorMessage: "no such table"})
	tenant.AddWebhook(reloadstest.Webhook{Secret: secret, Handler: handler})

	if _, err := tenant.NewClient().Trigger(context.Background(), reloads.Request{AppID: "sales"}); err != nil {
		log.Fatal(err)
	}
	e := <-events
	fmt.Println(e.Data.AppID, e.Data.Status, e.Data.ErrorMessage)
	// Output: sales FAILED no such table
}
