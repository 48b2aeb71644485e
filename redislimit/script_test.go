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

// A slot is known as soon as it is reserved. The tests therefore check schedules of several hours without waiting.
// Tests with much load do not run in parallel, because other tests depend on timing.

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

// reserve reserves the next slot, however late it is.
func reserve(t *testing.T, l *Limiter) response {
	t.Helper()
	a, err := l.reserve(t.Context(), grant{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// confirm confirms the slot of a request that can wait for d.
func confirm(t *testing.T, l *Limiter, d time.Duration, held grant) (response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return l.reserve(ctx, held)
}

// reserveAll reserves n slots. The limiters take turns.
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
			// The first n slots are a burst, which takes only as long as the round trips. Nine windows follow.
			if took := float64(slots[len(slots)-1] - slots[n-1]); took > 9*perMicros/0.95 {
				t.Errorf("%d slots took %v s, less than 95 %% of the limit", 9*n, took/1e6)
			}
		})
	}
}

// With the window alone, a whole burst would start every minute, without end.
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
	for i := range held { // in a different order
		g := held[i*37%len(held)]
		l.release(g, time.Second)
		want = append(want, g.slot)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, reserveAll(t, len(held), l)); diff != "" {
		t.Errorf("released slots, and slots granted afterwards (-want +got):\n%s", diff)
	}
	if next := reserve(t, l).grant.slot; next < want[99]+60e6 {
		t.Errorf("the next slot is %d µs after the last, want at least a minute", next-want[99])
	}
}

// A client of a cluster repeats a call whose connection breaks after the script has run.
func TestARepeatedCallReleasesASlotOnce(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	l := testLimiter(t, client, 1)
	reserveAll(t, 2, l)
	held := reserve(t, l).grant
	repeating := redis.NewClient(client.Options())
	defer func() { _ = repeating.Close() }()
	repeating.AddHook(repeat{})
	testLimiter(t, repeating, 1).release(held, time.Second)
	first, second := reserve(t, l).grant.slot, reserve(t, l).grant.slot
	if first != held.slot || second == held.slot {
		t.Errorf("got the slots %d and %d, want the released slot %d once", first, second, held.slot)
	}
}

// repeat is a hook that sends each script twice.
type repeat struct{}

func (repeat) DialHook(next redis.DialHook) redis.DialHook { return next }

func (repeat) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (repeat) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

// While the first call hangs, a pause can end: the second must not confirm a slot that the first gave up.
func TestARepeatedCallConfirmsNoReleasedSlot(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	l := testLimiter(t, client, 1)
	reserve(t, l)
	held := reserve(t, l).grant
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r := &request{ctx: ctx, held: held}
	if err := l.call([]*request{r}); err != nil || r.response.grant != (grant{}) {
		t.Fatalf("got %+v, %v, want no slot", r.response, err)
	}
	if free, err := client.HGet(t.Context(), l.key, "free").Result(); err != nil || free != "" {
		t.Errorf("got the released slots %q, %v, want none before the caller releases its own", free, err)
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
	after, err := confirm(t, two, time.Hour, before.grant)
	if err != nil || after.grant != before.grant {
		t.Fatalf("got %+v, %v, want the held slot", after, err)
	}
	if longer := after.wait - before.wait; longer < 8*time.Second || longer > 13*time.Second {
		t.Errorf("a pause of 13 s made the wait %v longer", longer)
	}
	if next := reserve(t, one); next.wait < after.wait {
		t.Errorf("a request after the pause waits %v, less than an earlier one, %v", next.wait, after.wait)
	}
	// A request whose deadline is now too early is refused, and its slot is released.
	if a, err := confirm(t, two, time.Minute, before.grant); err != nil || a.grant != (grant{}) {
		t.Errorf("got %+v, %v, want no slot", a, err)
	}
	if again := reserve(t, one); again.grant.slot != before.grant.slot {
		t.Errorf("got slot %d, want the released slot %d", again.grant.slot, before.grant.slot)
	}
}

// A request whose slot is near does not start either, if the pause began in its own process.
func TestAPauseHoldsARequestThatWaits(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	one, two := testLimiter(t, client, 50), testLimiter(t, client, 50)
	one.Pause(time.Now().Add(time.Second / 2))
	started := make(chan time.Time)
	go func() {
		if err := two.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		started <- time.Now()
	}()
	for client.HGet(t.Context(), two.key, "seq").Val() != "1" { // until it has a slot
	}
	until := time.Now().Add(time.Second)
	two.Pause(until)
	if early := until.Sub(<-started); early > 0 {
		t.Errorf("it started %v before the end of the pause", early)
	}
}

func TestThePauseOfAnIdleFleet(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	one, two := testLimiter(t, client, 50), testLimiter(t, client, 50)
	one.Pause(time.Now().Add(time.Hour))
	for range 50 {
		if a := reserve(t, two); a.wait < 59*time.Minute || a.wait > time.Hour {
			t.Fatalf("during a pause of one hour, a request waits %v", a.wait)
		}
	}
}

func TestASlotThatComesTooLateIsNotUsed(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	l := testLimiter(t, client, 50)
	first := reserve(t, l)
	first.grant.slot -= l.tolerance.Microseconds() + 1 // as if that much time had passed
	second, err := confirm(t, l, time.Hour, first.grant)
	if err != nil || second.grant.slot <= first.grant.slot || second.grant.number != 2 {
		t.Errorf("held %+v, got %+v, %v, want another slot", first.grant, second, err)
	}
}

// The clock of the server is set back, or there was a failover to a server whose clock is behind.
func TestTheServersClockIsSetBack(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	l := testLimiter(t, client, 2)
	reserveAll(t, 2, l)
	held := reserve(t, l)
	l.Pause(time.Now().Add(10 * time.Second))
	// Change the state to that of a server whose clock is five minutes ahead.
	const ahead = 300e6
	for _, field := range []string{"seen", "offset", "paused"} {
		if err := client.HIncrBy(t.Context(), l.key, field, ahead).Err(); err != nil {
			t.Fatal(err)
		}
	}
	a, err := confirm(t, l, time.Hour, held.grant)
	if err != nil || a.grant != held.grant || a.wait < 65*time.Second || a.wait > 73*time.Second {
		t.Errorf("got %+v, %v, want the held slot, about 72.4 s away", a, err)
	}
	seen, err := client.HGet(t.Context(), l.key, "seen").Int64()
	if err != nil || math.Abs(float64(seen-time.Now().UnixMicro())) > 60e6 {
		t.Errorf("got the time %d, %v, want that of the server's clock", seen, err)
	}
}

func TestDataThatAreLost(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	for name, c := range map[string]struct {
		lose  func(key, dump string) error
		first int // slots that are first granted to a process that cannot detect the loss
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
					t.Errorf("limiter %d waits %v after the loss, want about one window", i, a.wait)
				}
			}
			client.FlushAll(t.Context())
		})
	}
}

// A slot can be used later than it was granted for, by the tolerance. A loss is therefore detected for a whole window.
func TestALossIsDetectedForAWindow(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	l := testLimiter(t, client, 50)
	reserve(t, l)
	if ttl, err := client.PTTL(t.Context(), l.key).Result(); err != nil || ttl <= l.window+l.tolerance {
		t.Errorf("the key expires in %v, %v, want later than the last report: that is not a loss", ttl, err)
	}
	l.latestDue = time.Now().Add(time.Second - l.window)
	client.FlushAll(t.Context())
	if a := reserve(t, l); a.wait < 55*time.Second {
		t.Errorf("a request waits %v after the loss, want about one window", a.wait)
	}
}

// The number of a released slot that is granted again is not that of its time.
func TestAReleasedSlotDoesNotHideALaterOne(t *testing.T) {
	t.Parallel()
	l := testLimiter(t, testServer(t), 1)
	reserve(t, l)
	early := reserve(t, l).grant
	reserve(t, l)
	late := l.latestDue
	l.release(early, time.Second)
	if again := reserve(t, l); again.grant.slot != early.slot || l.latestDue.Before(late) {
		t.Errorf("got slot %d, want %d; the latest slot is now %v earlier", again.grant.slot, early.slot, late.Sub(l.latestDue))
	}
}

func TestAnotherLimitOfTheSameKey(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	reserve(t, testLimiter(t, client, 50))
	err := testLimiter(t, client, 40).Wait(t.Context())
	if err == nil || !strings.Contains(err.Error(), "50/1m0s") {
		t.Errorf("got %v, want an error that names the other limit", err)
	}
}

// The key expires, and its size is limited, even with the most released slots.
func TestMemory(t *testing.T) {
	client := testServer(t)
	for requests, most := range map[int]int64{50: 25 << 10, 1000: 100 << 10} {
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
			l.release(g, time.Second)
		}
		n := usage()
		t.Logf("%d requests: %d bytes, %d with the most released slots", requests, busy, n)
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

// A pause also takes effect if the key does not exist yet.
func TestAPauseOutlivesAnEmptyKey(t *testing.T) {
	t.Parallel()
	client := testServer(t)
	l := testLimiter(t, client, 50)
	l.Pause(time.Now().Add(time.Hour))
	ttl, err := client.PTTL(t.Context(), l.key).Result()
	if err != nil || ttl < 59*time.Minute || ttl > time.Hour+time.Second {
		t.Errorf("during a pause of one hour, the key expires in %v, %v", ttl, err)
	}
}
