package redislimit_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
)

// until waits up to 20 s until done returns true.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

func split(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

// startCluster starts a cluster of 3 primaries and 3 replicas.
func startCluster(t *testing.T) map[string]*redisserver.Server {
	t.Helper()
	var nodes []*redis.Client
	servers := map[string]*redisserver.Server{}
	for range 6 {
		s := startRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		servers[s.Addr] = s
		node, _ := connect(t, s)
		nodes = append(nodes, node)
	}
	do := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	for i, first := range []int{0, 5461, 10923} {
		do(nodes[i].ClusterAddSlotsRange(t.Context(), first, []int{5460, 10922, 16383}[i]).Err())
	}
	host, port := split(t, nodes[0].Options().Addr)
	for i, node := range nodes[1:] {
		do(node.Do(t.Context(), "CLUSTER", "SET-CONFIG-EPOCH", i+2).Err())
		do(node.ClusterMeet(t.Context(), host, port).Err())
	}
	for i, node := range nodes {
		until(t, "all nodes know each other", func() bool {
			return strings.Contains(node.ClusterInfo(t.Context()).Val(), "cluster_known_nodes:6")
		})
		if i >= 3 {
			id, err := nodes[i-3].ClusterMyID(t.Context()).Result()
			do(err)
			until(t, "a replica of its primary", func() bool { return node.ClusterReplicate(t.Context(), id).Err() == nil })
		}
	}
	for i, node := range nodes {
		until(t, "the cluster works", func() bool {
			link := i < 3 || strings.Contains(node.Info(t.Context(), "replication").Val(), "master_link_status:up")
			return link && strings.Contains(node.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
		})
	}
	return servers
}

// The primary of the limit's key is killed under load. Its replica takes over.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	var addrs []string
	for addr := range servers {
		addrs = append(addrs, addr)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	defer client.Close()
	primary, err := client.MasterForKey(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, loadConfig{Addrs: addrs, Per: *loadPeriod, Call: time.Second})
	failover(t, l, servers[primary.Options().Addr])
}

// The master is killed under load. Sentinel makes one of the two replicas the master.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	master := startRedis(t)
	host, port := split(t, master.Addr)
	for range 2 {
		replica, _ := connect(t, startRedis(t, "--replicaof", host, port))
		until(t, "the replica is in sync", func() bool {
			return strings.Contains(replica.Info(t.Context(), "replication").Val(), "master_link_status:up")
		})
	}
	var sentinels []string
	for range 3 {
		config := filepath.Join(t.TempDir(), "sentinel.conf") // Sentinel writes to it
		text := fmt.Sprintf("sentinel monitor main %s %s 2\n", host, port) +
			"sentinel down-after-milliseconds main 2000\nsentinel failover-timeout main 10000\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := redisserver.StartSentinel(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		sentinels = append(sentinels, s.Addr)
	}
	for _, addr := range sentinels {
		sentinel := redis.NewSentinelClient(&redis.Options{Addr: addr})
		defer sentinel.Close()
		until(t, "the Sentinel knows all others", func() bool {
			main, err := sentinel.Master(t.Context(), "main").Result()
			return err == nil && main["num-slaves"] == "2" && main["num-other-sentinels"] == "2"
		})
	}
	l := startLoad(t, loadConfig{Addrs: sentinels, Master: "main", Per: *loadPeriod, Call: time.Second})
	failover(t, l, master)
}

// failover kills a server that processes use, and checks that they continue after the failover, within the limit.
func failover(t *testing.T, l *load, primary *redisserver.Server) {
	t.Helper()
	l.waitFor(t, 2*loadRequests, time.Now(), 4**loadPeriod+20*time.Second)
	primary.Stop()
	killed := time.Now()
	time.Sleep(time.Second) // a start just before the kill does not count
	most := 20*time.Second + 2**loadPeriod
	first := l.waitFor(t, 1, killed.Add(time.Second), most)
	l.waitFor(t, 3*loadRequests, killed.Add(time.Second), most+4**loadPeriod)
	t.Logf("the first start %v after the kill", (first + time.Second).Round(100*time.Millisecond))
	l.check(t)
}
