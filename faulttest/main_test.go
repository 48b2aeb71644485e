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

// proxies makes the proxies, which run in a process of their own.
var proxies *toxics.Client

// proxyAddress names the environment variable that makes this program the process of the proxies: their API's address.
const proxyAddress = "FAULTTEST_PROXY_ADDRESS"

func TestMain(m *testing.M) {
	if address := os.Getenv(proxyAddress); address != "" {
		serveProxies(address)
		return
	}
	flag.Parse()
	// The tests wait more than they compute: those of triggers half a minute each.
	if err := flag.Set("test.parallel", "200"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

// run runs the tests, and fails if they leave a goroutine or a descriptor behind.
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
	// What the tests gave up ends a little later: a look-up of a name with its own timeout, an answer that drips.
	var left error
	settled := func() bool {
		left = goleak.Find()
		return left == nil && descriptors() == before
	}
	for deadline := time.Now().Add(20 * time.Second); !settled() && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	if left != nil {
		fmt.Fprintln(os.Stderr, "goroutines are left:", left)
		return 1
	}
	if after := descriptors(); after != before {
		fmt.Fprintf(os.Stderr, "%d descriptors are open, there were %d before the tests\n", after, before)
		return 1
	}
	return 0
}

// descriptors is how many files and sockets the process has open.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}

// startProxies starts the process of the proxies, and waits until it answers.
func startProxies() (stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	listener.Close()
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
		stdin.Close() // the process ends with it, and so with this one whatever ends that
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

// serveProxies is the process of the proxies. It ends with its standard input.
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
