// Quickstart triggers a reload of an app and shows its status until it finishes. Then it shows the log of the reload and
// the history of the app. It uses a fake tenant in the process:
//
//	go run ./examples/quickstart
//
// With -app, it uses the tenant in QLIK_TENANT_URL with the API key in QLIK_API_KEY instead:
//
//	go run ./examples/quickstart -app 116dbfae-7fb9-4983-8e23-5ccd8c508722
//
// The exit status is 0 if the reload succeeded, 1 if it did not or there was another error, and 2 if the flags or the
// environment variables are invalid. "go run" turns 2 into 1.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"
	"unicode"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("quickstart: ")
	log.SetOutput(printable{os.Stderr})
	app := flag.String("app", "", "reload this `app` of the tenant in QLIK_TENANT_URL with the API key in QLIK_API_KEY")
	flag.Parse()
	if flag.NArg() > 0 || flag.NFlag() > 0 && *app == "" {
		log.Print("want -app with an app ID, or nothing")
		os.Exit(2)
	}
	var client *reloads.Client
	if *app == "" {
		fmt.Println("This is a fake tenant in the process. To reload an app of the tenant in QLIK_TENANT_URL, use -app.")
		tenant := reloadstest.NewTenant()
		*app = "sales"
		tenant.AddApp(*app, reloadstest.App{QueueFor: time.Second, RunFor: 3 * time.Second})
		client = tenant.NewClient()
	} else {
		var err error
		client, err = reloads.NewClient(os.Getenv("QLIK_TENANT_URL"), reloads.APIKey(os.Getenv("QLIK_API_KEY")))
		if err != nil {
			log.Print("QLIK_TENANT_URL, QLIK_API_KEY: ", err)
			os.Exit(2)
		}
	}
	if err := show(context.Background(), client, *app, printable{os.Stdout}); err != nil {
		log.Fatal(err)
	}
}

// show triggers a reload and shows its status until it finishes, then its log and the history of the app.
func show(ctx context.Context, client *reloads.Client, app string, w io.Writer) error {
	reload, err := client.Trigger(ctx, reloads.Request{AppID: app})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "reload %s of app %s\n", reload.ID, reload.AppID)

	began := time.Now()
	for r, err := range client.Watch(ctx, reload.ID) {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%6.1fs  %s\n", time.Since(began).Seconds(), r.Status)
		reload = r
	}
	fmt.Fprintf(w, "\nlog:\n%s\nhistory:\n", reload.Log)

	page, err := client.List(ctx, reloads.ListOptions{AppID: app, PageSize: 5})
	if err != nil {
		return err
	}
	for _, r := range page.Reloads {
		fmt.Fprintf(w, "%s  %s  queued %v, ran %v\n", r.CreationTime.Format(time.DateTime), r.Status, r.QueueTime(), r.RunTime())
	}
	return reload.Err()
}

// printable writes text without control characters, so that a log cannot control the terminal.
type printable struct{ io.Writer }

func (p printable) Write(text []byte) (int, error) {
	_, err := p.Writer.Write(bytes.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return ' '
		}
		return r
	}, text))
	return len(text), err
}
