package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// The IDs of the running reloads of the fake tenant.
const (
	fakeShort = "5be59decca62aa00000000fe" // of the app archive
	fakeLong  = "5be59decca62aa00000000ff" // of the app forecast
)

// newFakeTenant returns a fake tenant with 12 finished reloads and these apps:
//
//	sales     reloads succeed after a second
//	stock     reloads fail after a second
//	often     the quota is used up
//	yearly    reloads take an hour
//	archive   a reload of three seconds is running
//	forecast  a reload of an hour is running
func newFakeTenant() *reloadstest.Tenant {
	tenant := reloadstest.NewTenant()
	good := reloadstest.App{QueueFor: 300 * time.Millisecond, RunFor: 700 * time.Millisecond, FullLog: fakeLog("Finished successfully")}
	bad := good
	bad.Outcome, bad.ErrorCode = reloads.StatusFailed, "EngineConnectionError"
	bad.Log = "Connecting to the warehouse\nError: the table STOCK does not exist\nReload failed\n"
	bad.FullLog = fakeLog("Error: the table STOCK does not exist")
	short := reloadstest.App{RunFor: 3 * time.Second, FullLog: good.FullLog}
	long := reloadstest.App{RunFor: time.Hour, CancelFor: 100 * time.Millisecond}
	for id, script := range map[string]reloadstest.App{
		"sales": good, "stock": bad, "often": {Quota: 1}, "yearly": long, "archive": short, "forecast": long,
	} {
		tenant.AddApp(id, script)
	}

	now := time.Now()
	for i := range 12 {
		created := now.Add(-time.Duration(i+1) * time.Hour).Add(-30 * time.Minute)
		r := reloads.Reload{
			AppID: []string{"sales", "stock", "forecast"}[i%3], Type: reloads.TypeChronos, Status: reloads.StatusSucceeded,
			CreationTime: created, StartTime: created.Add(2 * time.Second), EndTime: created.Add(time.Duration(20+i) * time.Second),
			Log: fmt.Sprintf("Reload finished successfully\nIn total %d rows read from sources.\nIn total %d rows stored.\n", 1000*(i+1), 900*(i+1)),
		}
		switch i {
		case 4:
			r.Status, r.ErrorCode, r.Log = reloads.StatusFailed, "EngineConnectionError", "Reload failed\n"
			r.ErrorMessage = "failed to complete reload: unexpected EOF"
		case 8:
			r.Status, r.Log = reloads.StatusCanceled, ""
		}
		tenant.AddReload(r)
	}
	tenant.Trigger("archive", reloads.Reload{ID: fakeShort})
	tenant.Trigger("forecast", reloads.Reload{ID: fakeLong})
	tenant.Trigger("often", reloads.Reload{})
	return tenant
}

// fakeLog returns a full log with the given last line.
func fakeLog(last string) string {
	var b strings.Builder
	b.WriteString("Started loading\n")
	for i := range 20 {
		fmt.Fprintf(&b, "Orders << orders_%02d.csv (%d row(s) fetched)\n", i+1, (i+1)*50)
	}
	return b.String() + last + "\n"
}
