package redislimit_test

import (
	"context"
	"flag"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
)

// TestMain also runs the worker processes: the tests start the test binary with workerEnv or loadEnv set.
func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // the tests stop servers on purpose
	if os.Getenv(workerEnv) != "" {
		os.Exit(work())
	}
	if os.Getenv(loadEnv) != "" {
		os.Exit(runLoad())
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil { // the tests spend most of their time waiting
		panic(err)
	}
	os.Exit(m.Run())
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// startRedis starts a redis-server that runs until the end of the test.
func startRedis(t testing.TB, args ...string) *redisserver.Server {
	t.Helper()
	server, err := redisserver.Start(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// connect returns a client of the server, and a counter of its round trips.
func connect(t testing.TB, server *redisserver.Server) (*redis.Client, *roundTrips) {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr, ContextTimeoutEnabled: true, MaxRetries: -1,
		DialTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute, PoolTimeout: time.Minute,
	})
	t.Cleanup(func() { _ = client.Close() })
	var n roundTrips
	client.AddHook(&n)
	return client, &n
}

// roundTrips is a hook that counts the scripts that a client runs.
type roundTrips struct{ atomic.Int64 }

func (n *roundTrips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (n *roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (n *roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			n.Add(1)
		}
		return next(ctx, cmd)
	}
}

// script returns the source of the script. A test that counts round trips loads it first, because a server that does
// not know the script needs one more round trip.
func script(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("script.lua")
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}
