package redislimit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads/redislimit"
)

var loadPeriod = flag.Duration("period", 5*time.Second, "the period of the tests of outages and failovers; the service's is 1m")

const (
	loadEnv       = "REDISLIMIT_LOAD" // a loadConfig; set in worker processes only
	loadProcesses = 3
	loadWaiters   = 50 // of each process
	loadRequests  = 20

	clusterReload = time.Second // ClusterStateReloadInterval; the default is one minute
)

// loadConfig is what a worker process needs to know.
type loadConfig struct {
	Addrs  []string // of one server, of the nodes of a cluster, or of the Sentinels
	Master string   // the name of the master, with Sentinel only
	Per    time.Duration
	Share  int           // for LocalShare; 0 means without
	Call   time.Duration // the timeout of a call
}

// runLoad is the program of a worker process: many waiting requests. It prints a line for each start, and one for each
// time that Redis is unavailable. It runs until it is killed.
func runLoad() int {
	var c loadConfig
	if err := json.Unmarshal([]byte(os.Getenv(loadEnv)), &c); err != nil {
		fmt.Println("error", err)
		return 1
	}
	var client redis.Scripter
	switch {
	case c.Master != "":
		client = redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: c.Master, SentinelAddrs: c.Addrs, ContextTimeoutEnabled: true, MaxRetries: -1,
		})
	case len(c.Addrs) > 1:
		client = redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: c.Addrs, ContextTimeoutEnabled: true, MaxRetries: -1, ClusterStateReloadInterval: clusterReload,
		})
	default:
		client = redis.NewClient(&redis.Options{Addr: c.Addrs[0], ContextTimeoutEnabled: true, MaxRetries: -1})
	}
	opts := []redislimit.Option{redislimit.WithTimeout(c.Call)}
	if c.Share > 0 {
		opts = append(opts, redislimit.LocalShare(c.Share))
	}
	l, err := redislimit.New(client, key, loadRequests, c.Per, opts...)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	var wg sync.WaitGroup
	for range loadWaiters {
		wg.Go(func() {
			for {
				switch err := l.Wait(context.Background()); {
				case err == nil:
					fmt.Println("start", time.Now().UnixNano())
				case errors.Is(err, redislimit.ErrUnavailable):
					fmt.Println("unavailable", err)
					time.Sleep(100 * time.Millisecond)
				default:
					fmt.Println("error", err)
				}
			}
		})
	}
	wg.Wait()
	return 0
}

// load is a set of worker processes, and what they have printed.
type load struct {
	mu          sync.Mutex
	starts      []time.Time
	unavailable int
	lastError   string
	errors      []string
}

func startLoad(t *testing.T, c loadConfig) *load {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var l load
	var read sync.WaitGroup
	var workers []*exec.Cmd
	t.Cleanup(func() {
		for _, w := range workers {
			_ = w.Process.Kill()
		}
		read.Wait()
		for _, w := range workers {
			_ = w.Wait()
		}
	})
	for range loadProcesses {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), loadEnv+"="+string(config))
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		workers = append(workers, cmd)
		read.Go(func() { l.read(stdout) })
	}
	return &l
}

func (l *load) read(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		event, argument, _ := strings.Cut(lines.Text(), " ")
		l.mu.Lock()
		nanos, err := strconv.ParseInt(argument, 10, 64)
		switch {
		case event == "start" && err == nil:
			l.starts = append(l.starts, time.Unix(0, nanos))
		case event == "unavailable":
			l.unavailable++
			l.lastError = argument
		default:
			l.errors = append(l.errors, lines.Text())
		}
		l.mu.Unlock()
	}
}

// between counts the starts from one time to another.
func (l *load) between(from, to time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.starts {
		if !s.Before(from) && s.Before(to) {
			n++
		}
	}
	return n
}

// waitFor waits until n requests have started since the given time, and returns how long after it the first of them
// did.
func (l *load) waitFor(t *testing.T, n int, since time.Time, limit time.Duration) time.Duration {
	t.Helper()
	for l.between(since, time.Now()) < n {
		if time.Since(since) > limit {
			t.Fatalf("%d of %d requests started within %v; Redis was unavailable %d times: %s",
				l.between(since, time.Now()), n, limit, l.unavailable, l.lastError)
		}
		time.Sleep(50 * time.Millisecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	first := limit
	for _, s := range l.starts {
		if !s.Before(since) {
			first = min(first, s.Sub(since))
		}
	}
	return first
}

// check verifies that no window had more starts than the limit.
func (l *load) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errors) > 0 {
		t.Errorf("errors: %q", l.errors)
	}
	slices.SortFunc(l.starts, time.Time.Compare)
	closest := closestOf(l.starts, loadRequests)
	t.Logf("%d starts, the closest %d within %v of %v; Redis was unavailable %d times",
		len(l.starts), loadRequests+1, closest.Round(time.Millisecond), *loadPeriod, l.unavailable)
	if closest < *loadPeriod {
		t.Errorf("%d requests started within %v, less than the period", loadRequests+1, closest)
	}
}
