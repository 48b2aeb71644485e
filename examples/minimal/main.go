// Minimal reloads the app that its argument names, and tells how that ended.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/reloads-go/reloads"
)

func main() {
	client, err := reloads.NewClient(os.Getenv("QLIK_TENANT_URL"), reloads.APIKey(os.Getenv("QLIK_API_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	reload, err := client.Run(context.Background(), reloads.Request{AppID: os.Args[1]})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reload.Status, "after", reload.RunTime())
}
