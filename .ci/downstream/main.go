// Downstream is a program of somebody else's: it shows what importing reloads brings into a build, and how its own
// tests do without a tenant.
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

// refresh reloads the apps, one after the other, and stops at the first that fails.
func refresh(ctx context.Context, client *reloads.Client, apps []string) error {
	for _, app := range apps {
		if _, err := client.Run(ctx, reloads.Request{AppID: app}); err != nil {
			return err
		}
	}
	return nil
}
