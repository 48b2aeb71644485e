// Tenant serves a fake tenant on a loopback address, for trying out curl commands and programs.
//
//	go run ./examples/tenant -addr 127.0.0.1:8080
//
// The first line of its output is the URL, the second is the token, and then there is a line for each app. Stop it with
// Ctrl-C. The exit status is 0 if it was stopped, 1 if it could not serve, and 2 if the command line is invalid.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
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

// apps are the apps of the tenant. The ID of the first one is that of the examples in the API reference.
var apps = []struct {
	id, description string
	script          reloadstest.App
}{
	{"116dbfae-7fb9-4983-8e23-5ccd8c508722", "succeeds after 4 s", reloadstest.App{
		QueueFor: time.Second, RunFor: 3 * time.Second,
	}},
	{"7d0b9a4e-52f6-4f0c-9b1d-3f8b7a6c5e21", "succeeds after 10 s", reloadstest.App{
		QueueFor: 2 * time.Second, RunFor: 8 * time.Second,
	}},
	{"c2a81f35-0e6d-4b57-8c94-d1e2f3a4b5c6", "fails after 3 s", reloadstest.App{
		QueueFor: time.Second, RunFor: 2 * time.Second,
		Outcome: reloads.StatusFailed, ErrorCode: "EngineConnectionError",
		ErrorMessage: "failed to complete reload: unexpected EOF",
	}},
}

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
	if flags.NArg() > 0 {
		fmt.Fprintln(stderr, "tenant: arguments are not supported")
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
	fmt.Fprintf(stdout, "http://%s\ntoken: %s\n", listener.Addr(), tenant.Token())
	for _, app := range apps {
		tenant.AddApp(app.id, app.script)
		fmt.Fprintf(stdout, "app: %s %s\n", app.id, app.description)
	}
	server := &http.Server{Handler: tenant, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(stderr, "tenant:", err)
		return 1
	}
	return 0
}
