// Downstream is an example of a program outside this repository that imports reloads. Its dependencies show what
// reloads adds to a build, and its test runs without a tenant. Run the test with:
//
//	cd scripts/downstream && go test .
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/reloads-go/reloads"
)

func main() {
	client, err := reloads.NewClient(os.Getenv("QLIK_TENANT_URL"), reloads.APIKey(os.Getenv("QLIK_API_KEY")))
	if err == nil {
		err = refresh(context.Background(), client, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// refresh reloads the apps one after the other and stops at the first failure.
func refresh(ctx context.Context, client *reloads.Client, apps []string) error {
	for _, app := range apps {
		if _, err := client.Run(ctx, reloads.Request{AppID: app}); err != nil {
			return err
		}
	}
	return nil
}
