// Minimal reloads an app of the tenant in QLIK_TENANT_URL with the API key in QLIK_API_KEY. It prints the terminal status.
//
//	go run ./examples/minimal APP_ID
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
