package redislimit

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/reloads-go/reloads/redislimit/internal/redisserver"
)

// A slot is known as soon as it is reserved, so the schedule of hours is tested without waiting for it. What makes much
// work is not run in parallel, beside tests in which processes have to be in time.

func testServer(t *testing.T) *redis.Client {
	t.Helper()
	server, err := redisserver.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func testLimiter(t *testing.T, client redis.Scripter, requests int, opts ...Option) *Limiter {
	t.Helper()
	l, err := New(client, "reloads:{test}:trigger", requests, time.Minute, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// reserve reserves the next slot, however far away it is.
func reserve(t *testing.T, l *Limiter) answer {
	t.Helper()
	a, err := l.run(t.Context(), take, math.MaxInt64-time.Microsecond, grant{})
	if err != nil || a.outcome != granted {
		t.Fatalf("outcome %d, %v", a.outcome, err)
	}
	return a
}

// reserveAll reserves so many slots by turns.
func reserveAll(t *testing.T, n int, limiters ...*Limiter) (slots []int64) {
	t.Helper()
	for i := range n {
		slots = append(slots, reserve(t, limiters[i%len(limiters)]).grant.slot)
	}
	return slots
}

func TestScheduleOfManyProcesses(t *testing.T) {
	for _, n := range []int{1, 50, 1000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			client := testServer(t)
			fleet := []*Limiter{testLimiter(t, client, n), testLimiter(t, client, n), testLimiter(t, client, n)}
			slots := reserveAll(t, 10*n, fleet...)
			if !slices.IsSorted(slots) {
				t.Error("a later call got an earlier slot")
			}
			const perMicros = 60e6
			for i := range slots[n:] {
				if apart := slots[i+n] - slots[i]; float64(apart) < perMicros*(1+guardMargin) {
					t.Fatalf("slots %d and %d are %d µs apart", i, i+n, apart)
				}
			}
			// The idle fleet's burst, which takes as long as the round trips do, and nine windows.
			if took := float64(slots[len(slots)-1] - slots[n-1]); took > 9*perMicros/0.95 {
				t.Errorf("%d slots took %v s, which is less than 95 %% of the limit", 9*n, took/1e6)
			}
		})
	}
}

// The window alone would send a whole burst every minute for ever.
func TestASustainedLoadIsEvenedOut(t *testing.T) {
	slots := reserveAll(t, 10000, testLimiter(t, testServer(t), 50))
	most := 0
	for i := 9000; i < len(slots); i++ {
		n := 0
		for j := i; j < len(slots) && slots[j] < slots[i]+1e6; j++ {
			n++
		}
		most = max(most, n)
	}
	if most > 25 {
		t.Errorf("after three hours, %d requests still start within a second", most)
	}
}

func TestSlotsThatAreGivenBackAreUsed(t *testing.T) {
	t.Parallel()
	l := testLimiter(t, testServer(t), 1)
	reserve(t, l)
	var held []grant
	for range 100 {
		held = append(held, reserve(t, l).grant)
	}
	want := make([]int64, 0, len(held))
	for i := range held { // in some other order
		g := held[i*37%len(held)]
		l.giveBack(t.Context(), g)
		want = append(want, g.slot)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, reserveAll(t, len(held), l)); diff != "" {
		t.Errorf("the slots that were given back, and then handed out (-want +got):\n%s", diff)
	}
	if next := reserve(t, l).grant.slot; next < want[99]+60e6 {
		t.Errorf("the next slot is %d µs after the last, want a minute", next-want[99])
	}
}

func TestAPauseIsAsIfTimeStoodStill(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	one, two := testLimiter(t, client, 2), testLimiter(t, client, 2)
	reserveAll(t, 2, one, two)
	before := reserve(t, two)
	one.Pause(time.Now().Add(13 * time.Second))
	one.Pause(time.Now().Add(5 * time.Second)) // does not shorten the first
	two.Pause(time.Now().Add(7 * time.Second))
	after, err := two.run(t.Context(), take, time.Hour, before.grant)
	if err != nil || after.outcome != granted || after.grant != before.grant {
		t.Fatalf("%+v, %v: want the slot that is held", after, err)
	}
	if longer := after.wait - before.wait; longer < 8*time.Second || longer > 13*time.Second {
		t.Errorf("a pause of 13 s made the wait %v longer", longer)
	}
	if next := reserve(t, one); next.wait < after.wait {
		t.Errorf("one who came after the pause waits %v, one who came before %v", next.wait, after.wait)
	}
	// One whose deadline is too early now is told so, and its slot is free again.
	if a, err := two.run(t.Context(), take, time.Minute, before.grant); err != nil || a.outcome != refused {
		t.Errorf("%+v, %v: want a refusal", a, err)
	}
	if again := reserve(t, one); again.grant.slot != before.grant.slot {
		t.Errorf("the free slot %d was not handed out, but %d", before.grant.slot, again.grant.slot)
	}
}

func TestThePauseOfAnIdleFleet(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	one, two := testLimiter(t, client, 50), testLimiter(t, client, 50)
	one.Pause(time.Now().Add(time.Hour))
	for range 50 {
		if a := reserve(t, two); a.wait < 59*time.Minute || a.wait > time.Hour {
			t.Fatalf("in a pause of an hour a request waits %v", a.wait)
		}
	}
}

func TestASlotThatComesTooLateIsNotUsed(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	l := testLimiter(t, client, 50)
	first := reserve(t, l)
	first.grant.slot -= l.tolerance.Microseconds() + 1 // as if so much time had passed
	second, err := l.run(t.Context(), take, time.Hour, first.grant)
	if err != nil || second.grant.slot <= first.grant.slot || second.grant.number != 2 {
		t.Errorf("held %+v, got %+v, %v, want another slot", first.grant, second, err)
	}
}

// A server's clock that is set back, or a failover to a server whose clock is behind.
func TestTheServersClockIsSetBack(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	l := testLimiter(t, client, 2)
	reserveAll(t, 2, l)
	held := reserve(t, l)
	l.Pause(time.Now().Add(10 * time.Second))
	// The state as a server would have left it whose clock is five minutes ahead.
	const ahead = 300e6
	for _, field := range []string{"seen", "offset", "paused"} {
		if err := client.HIncrBy(t.Context(), l.key, field, ahead).Err(); err != nil {
			t.Fatal(err)
		}
	}
	a, err := l.run(t.Context(), take, time.Hour, held.grant)
	if err != nil || a.grant != held.grant || a.wait < 65*time.Second || a.wait > 73*time.Second {
		t.Errorf("%+v, %v: want the slot held, about 72.4 s away", a, err)
	}
	seen, err := client.HGet(t.Context(), l.key, "seen").Int64()
	if err != nil || math.Abs(float64(seen-time.Now().UnixMicro())) > 60e6 {
		t.Errorf("the clock is not that of the server: %d, %v", seen, err)
	}
}

func TestDataThatAreLost(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	for name, c := range map[string]struct {
		lose  func(key, dump string) error
		first int // so many are handed out to one who cannot know, first
	}{
		"all of them": {func(string, string) error { return client.FlushAll(context.Background()).Err() }, 30},
		"the latest":  {func(key, dump string) error { return client.RestoreReplace(context.Background(), key, 0, dump).Err() }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			one, two, idle := testLimiter(t, client, 50), testLimiter(t, client, 50), testLimiter(t, client, 50)
			reserveAll(t, 10, one, two)
			dump, err := client.Dump(t.Context(), one.key).Result()
			if err != nil {
				t.Fatal(err)
			}
			reserveAll(t, 10, one, two)
			if err := c.lose(one.key, dump); err != nil {
				t.Fatal(err)
			}
			reserveAll(t, c.first, idle)
			for i, l := range []*Limiter{one, two, idle} {
				if a := reserve(t, l); a.wait < 55*time.Second || a.wait > l.window {
					t.Errorf("limiter %d waits %v after the loss, want about a window", i, a.wait)
				}
			}
			client.FlushAll(t.Context())
		})
	}
}

func TestAnotherLimitOfTheSameKey(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	reserve(t, testLimiter(t, client, 50))
	err := testLimiter(t, client, 40).Wait(t.Context())
	if err == nil || !strings.Contains(err.Error(), "50/1m0s") {
		t.Errorf("got %v, want an error that tells the other limit", err)
	}
}

// Whatever happens, the key has an end, and no more bytes than this.
func TestMemory(t *testing.T) {
	client := testServer(t)
	for requests, most := range map[int]int64{50: 25 << 10, 1000: 90 << 10} {
		l := testLimiter(t, client, requests)
		var held []grant
		for range 2000 {
			held = append(held, reserve(t, l).grant)
		}
		usage := func() int64 {
			n, err := client.MemoryUsage(t.Context(), l.key, 0).Result()
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		busy := usage()
		for _, g := range held {
			l.giveBack(t.Context(), g)
		}
		n := usage()
		t.Logf("%d requests: %d bytes, with the most slots given back %d", requests, busy, n)
		if n > most {
			t.Errorf("%d requests: %d bytes, want at most %d", requests, n, most)
		}
		ttl, err := client.PTTL(t.Context(), l.key).Result()
		if want := time.Duration(2000/requests+2) * time.Minute * 11 / 10; err != nil || ttl <= 0 || ttl > want {
			t.Errorf("the key expires in %v, %v, want at most %v", ttl, err, want)
		}
		client.FlushAll(t.Context())
	}
}

// A pause that is told to nobody's state lasts, too.
func TestAPauseOutlivesAnEmptyKey(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	l := testLimiter(t, client, 50)
	l.Pause(time.Now().Add(time.Hour))
	ttl, err := client.PTTL(t.Context(), l.key).Result()
	if err != nil || ttl < 59*time.Minute || ttl > time.Hour+time.Second {
		t.Errorf("in a pause of an hour the key expires in %v, %v", ttl, err)
	}
}
