package redislimit_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/redislimit"
)

func TestTheScriptIsForgotten(t *testing.T) {
	t.Parallel()
	client, trips := connect(t, startRedis(t))
	l := newLimiter(t, client, 50, time.Minute)
	for range 3 {
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := trips.Load(); n != 6 {
		t.Errorf("3 requests, each with a script that the server did not know, made %d round trips", n)
	}
}

func TestAReplicaIsRefused(t *testing.T) {
	t.Parallel()
	host, port, err := net.SplitHostPort(startRedis(t).Addr)
	if err != nil {
		t.Fatal(err)
	}
	// Wait until the replica is in sync. Until then it has no data to read.
	replica, _ := connect(t, startRedis(t, "--replicaof", host, port))
	for !strings.Contains(replica.Info(t.Context(), "replication").Val(), "master_link_status:up") {
	}
	err = newLimiter(t, replica, 50, time.Minute).Wait(t.Context())
	if !errors.Is(err, redislimit.ErrUnavailable) || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("got %v, want ErrUnavailable with READONLY", err)
	}
}

func TestRedisIsDown(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	client, _ := connect(t, server)
	l := newLimiter(t, client, 50, time.Minute)
	server.Stop()
	err := l.Wait(t.Context())
	var dial *net.OpError
	if !errors.Is(err, redislimit.ErrUnavailable) || !errors.As(err, &dial) {
		t.Errorf("got %v, want ErrUnavailable that wraps a dial error", err)
	}
	l.Pause(time.Now().Add(time.Minute)) // is reported when Redis is available again
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := within(t, l, 50*time.Second); !isTooLate(err) {
		t.Errorf("got %v, want an error because of the pause", err)
	}
	other, _ := connect(t, server)
	if err := within(t, newLimiter(t, other, 50, time.Minute), 50*time.Second); !isTooLate(err) {
		t.Errorf("another process got %v, want an error because of the pause", err)
	}
}

// A call that is cut off returns an error after the timeout. It may have taken effect. Its slot is then lost, but not
// used twice.
func TestRedisIsSlow(t *testing.T) {
	server := startRedis(t, "--lua-time-limit", "0")
	client, _ := connect(t, server)
	admin, _ := connect(t, server)
	const timeout = 100 * time.Millisecond
	slow := newLimiter(t, client, 2, time.Minute, redislimit.WithTimeout(timeout))
	busy := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		busy <- admin.WithTimeout(time.Minute).Eval(ctx, "local n = 0; for i = 1, 2e8 do n = n + i end; return 'done'", nil).Err()
	}()
	responds := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return client.Ping(ctx).Err() == nil
	}
	for responds() { // until the server is busy
	}
	if err := slow.Wait(t.Context()); !errors.Is(err, redislimit.ErrUnavailable) || errors.Is(err, reloads.ErrRateLimited) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if err := within(t, slow, timeout/10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a deadline: %v, want DeadlineExceeded", err)
	}
	slow.Pause(time.Now().Add(time.Millisecond)) // must return
	if err := <-busy; err != nil {
		t.Fatal(err)
	}
	patient := newLimiter(t, admin, 2, time.Minute)
	started := 0
	for started < 3 && within(t, patient, 50*time.Second) == nil {
		started++
	}
	seq, err := admin.HGet(t.Context(), key, "seq").Int()
	t.Logf("%d of 2 slots were lost", seq-started)
	if err != nil || started > 2 || seq != 2 {
		t.Errorf("%d slots were granted, %d requests started, %v; want 2 slots, at most 2 starts", seq, started, err)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	server := startRedis(t, "--cluster-enabled", "yes")
	admin, _ := connect(t, server)
	if err := admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(admin.ClusterInfo(t.Context()).Val(), "cluster_state:ok") {
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, ContextTimeoutEnabled: true})
	defer client.Close()
	limiters, err := redislimit.NewLimiters(client, "tenant.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := limiters.Trigger.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	if err := limiters.Trigger.Wait(ctx); !isTooLate(err) {
		t.Errorf("request 51: %v", err)
	}
}

// After a failover to a replica that has the data, the budget is unchanged.
func TestFailover(t *testing.T) {
	t.Parallel()
	first := startRedis(t)
	host, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		t.Fatal(err)
	}
	second := startRedis(t, "--replicaof", host, port)
	// Like a client of Sentinel, the client connects to the server that is the master.
	master := first.Addr
	client := redis.NewClient(&redis.Options{
		ContextTimeoutEnabled: true, MaxRetries: -1,
		Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, master)
		},
	})
	defer client.Close()
	l := newLimiter(t, client, 50, time.Minute)
	for range 49 {
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	replica, _ := connect(t, second)
	for replica.HGet(t.Context(), key, "seq").Val() != "49" {
	}
	first.Stop()
	if err := l.Wait(t.Context()); !errors.Is(err, redislimit.ErrUnavailable) {
		t.Errorf("during the failover: %v", err)
	}
	if err := replica.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	master = second.Addr
	if err := within(t, l, 50*time.Second); err != nil {
		t.Errorf("request 50: %v", err)
	}
	if err := within(t, l, 50*time.Second); !isTooLate(err) {
		t.Errorf("request 51: %v", err)
	}
}
