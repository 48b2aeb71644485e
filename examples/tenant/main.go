// Tenant serves a fake tenant on a loopback address, for trying out commands and programs:
//
//	go run ./examples/tenant [-addr 127.0.0.1:8080] [APP_ID...]
//
// The tenant has the given apps, or a few if none is given. A reload takes one to two seconds. It fails if the ID of its
// app contains "fail". The output is to be pasted into another terminal, where it selects the tenant. Ctrl-C stops the
// program.
//
// The exit status is 0 if it was stopped, 1 if it could not serve, and 2 if the command line is invalid.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// defaultApps are the apps of the tenant without arguments. The first one is that of the examples in the API reference.
var defaultApps = []string{"116dbfae-7fb9-4983-8e23-5ccd8c508722", "sales", "stock", "report", "failing"}

// run runs the program and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("tenant", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "loopback address to listen on; port 0 means any free port")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	apps := flags.Args()
	if len(apps) == 0 {
		apps = defaultApps
	}
	if slices.ContainsFunc(apps, func(app string) bool { return app == "" || strings.HasPrefix(app, "-") }) {
		fmt.Fprintf(stderr, "tenant: %q: want flags, then app IDs\n", apps)
		return 2
	}
	tcp, err := net.ResolveTCPAddr("tcp", *addr)
	if err != nil || !tcp.IP.IsLoopback() {
		fmt.Fprintf(stderr, "tenant: -addr %s: must be a loopback address with a port, such as 127.0.0.1:0\n", *addr)
		return 2
	}
	listener, err := net.ListenTCP("tcp", tcp)
	if err != nil {
		fmt.Fprintln(stderr, "tenant:", err)
		return 1
	}
	tenant := reloadstest.NewTenant()
	for _, app := range apps {
		tenant.AddApp(app, script(app))
	}
	fmt.Fprintf(stdout, "export QLIK_TENANT_URL=http://%s\nexport QLIK_API_KEY=%s\n", listener.Addr(), tenant.Token())
	fmt.Fprintf(stdout, "# apps: %s\n", strings.Join(apps, " "))
	server := &http.Server{Handler: tenant, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(stderr, "tenant:", err)
		return 1
	}
	return 0
}

// script returns how the reloads of an app proceed. Their time depends on the ID, so that they differ from app to app.
func script(id string) reloadstest.App {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(id))
	app := reloadstest.App{RunFor: time.Second + time.Duration(hash.Sum32()%3)*500*time.Millisecond}
	if strings.Contains(id, "fail") {
		app.Outcome, app.ErrorCode, app.ErrorMessage = reloads.StatusFailed, "EngineConnectionError", "failed to complete reload: unexpected EOF"
		app.Log = "Connecting to the warehouse\nError: the warehouse closed the connection\nReload failed\n"
	}
	return app
}
