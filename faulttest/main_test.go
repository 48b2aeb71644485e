package faulttest

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	toxics "github.com/Shopify/toxiproxy/v2/client"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// proxies is the API client of the proxies, which run in a separate process.
var proxies *toxics.Client

// proxyAddress is the name of an environment variable. If it is set, this program is the process of the proxies, and
// the value is the address of their API.
const proxyAddress = "FAULTTEST_PROXY_ADDRESS"

func TestMain(m *testing.M) {
	if address := os.Getenv(proxyAddress); address != "" {
		serveProxies(address)
		return
	}
	if life := os.Getenv(crashLifeVariable); life != "" {
		runCrashLife(life)
		return
	}
	flag.Parse()
	// The tests spend most of their time waiting, those of triggers half a minute each.
	if err := flag.Set("test.parallel", "200"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

// run runs the tests. It returns 1 if they leave a goroutine or a file descriptor behind.
func run(m *testing.M) int {
	stop, err := startProxies()
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the proxies:", err)
		return 1
	}
	defer stop()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // to the proxies' API
	before := descriptors()
	code := m.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if code != 0 {
		return code
	}
	// Some operations that the tests gave up end a little later: a name lookup with its own timeout, a slow response.
	var left error
	idle := func() bool {
		left = goleak.Find()
		return left == nil && descriptors() == before
	}
	for deadline := time.Now().Add(20 * time.Second); !idle() && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	if left != nil {
		fmt.Fprintln(os.Stderr, "leaked goroutines:", left)
		return 1
	}
	if after := descriptors(); after != before {
		fmt.Fprintf(os.Stderr, "%d file descriptors are open, %d were open before the tests\n", after, before)
		return 1
	}
	return 0
}

// descriptors returns the number of file descriptors, including sockets, that the process has open. It returns 0 where
// the system does not list them, which is on Windows.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		entries, _ = os.ReadDir("/dev/fd")
	}
	return len(entries)
}

// startProxies starts the process of the proxies on a free port. Another process may take the port in between, so it tries
// again.
func startProxies() (stop func(), err error) {
	for range 3 {
		if stop, err = startProxiesOnce(); err == nil {
			break
		}
	}
	return stop, err
}

// startProxiesOnce starts the process of the proxies, and waits until its API responds.
func startProxiesOnce() (stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	_ = listener.Close()
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), proxyAddress+"="+address)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = stdin.Close() // ends the process; so does the end of the test process, even if that crashes
		_ = cmd.Wait()
	}
	proxies = toxics.NewClient("http://" + address)
	for range 1000 {
		if _, err = proxies.Proxies(); err == nil {
			return stop, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	return nil, err
}

// serveProxies is the program of the process of the proxies. It returns when its standard input is closed.
func serveProxies(address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	go server.Listen(host, port)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
