package reloadstest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// What a unit test of a program that triggers reloads comes to: an app that fails, and the client to hand over.
func Example() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{Outcome: reloads.StatusFailed, ErrorMessage: "no such table"})
	reload, err := tenant.NewClient().Run(context.Background(), reloads.Request{AppID: "sales"})
	fmt.Println(reload.Status, reload.ErrorMessage)
	fmt.Println(errors.Is(err, reloads.ErrReloadFailed), len(tenant.Reloads()))
	// Output:
	// FAILED no such table
	// true 1
}
