package redislimit_test

import (
	"context"
	"encoding"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"github.com/reloads-go/reloads/redislimit"
)

var outages = flag.Int("outages", 40, "how many random series of outages TestModelOfOutages tries")

// model is a Redis that runs the script in the fake time of synctest. Its processes lose it at the same time.
type model struct {
	mu      sync.Mutex
	lua     *lua.LState
	script  *lua.FunctionProto
	hash    map[string]string
	expires time.Time
	down    error         // what a call gets: nil, errRefused, or errHung
	changed chan struct{} // closed when down changes
	late    []func()      // calls that Redis received while it hung; it runs them when it continues
}

var (
	errRefused = errors.New("connection refused")
	errHung    = errors.New("no response")
)

func newModel(t *testing.T) *model {
	t.Helper()
	source, err := os.ReadFile("script.lua")
	if err != nil {
		t.Fatal(err)
	}
	chunk, err := parse.Parse(strings.NewReader(string(source)), "script.lua")
	if err != nil {
		t.Fatal(err)
	}
	proto, err := lua.Compile(chunk, "script.lua")
	if err != nil {
		t.Fatal(err)
	}
	m := &model{lua: lua.NewState(), script: proto, hash: map[string]string{}, changed: make(chan struct{})}
	api := m.lua.NewTable()
	api.RawSetString("call", m.lua.NewFunction(m.command))
	m.lua.SetGlobal("redis", api)
	return m
}

// set changes what the calls get.
func (m *model) set(down error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down = down; down == nil {
		for _, run := range m.late {
			run()
		}
	}
	m.late = nil
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *model) isDown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down != nil
}

// command is redis.call of the script.
func (m *model) command(l *lua.LState) int {
	name, value := l.CheckString(1), func(i int) lua.LValue {
		if v, ok := m.hash[l.CheckString(i)]; ok {
			return lua.LString(v)
		}
		return lua.LFalse
	}
	result := l.NewTable()
	// Fake time starts in 2000. Its microseconds have 15 digits, but those of today have 16.
	switch now := time.Now().AddDate(26, 0, 0); name {
	case "TIME":
		result.Append(lua.LString(fmt.Sprint(now.Unix())))
		result.Append(lua.LString(fmt.Sprint(now.Nanosecond() / 1000)))
	case "HMGET":
		for i := 3; i <= l.GetTop(); i++ {
			result.Append(value(i))
		}
	case "HGET":
		l.Push(value(3))
		return 1
	case "HSET":
		for i := 3; i < l.GetTop(); i += 2 {
			m.hash[l.CheckString(i)] = l.CheckString(i + 1)
		}
	case "PEXPIRE":
		ttl, err := strconv.Atoi(l.CheckString(3))
		if err != nil {
			l.RaiseError("PEXPIRE: %v", err)
		}
		m.expires = now.Add(time.Duration(ttl) * time.Millisecond)
	default:
		l.RaiseError("unknown command %s", name)
	}
	l.Push(result)
	return 1
}

// run runs the script. The caller holds mu.
func (m *model) run(keys []string, args []any) (any, error) {
	if !time.Now().AddDate(26, 0, 0).Before(m.expires) {
		clear(m.hash)
	}
	for name, list := range map[string][]any{"KEYS": {keys[0]}, "ARGV": args} {
		table := m.lua.NewTable()
		for _, x := range list {
			if m, ok := x.(encoding.BinaryMarshaler); ok {
				text, err := m.MarshalBinary()
				if err != nil {
					return nil, err
				}
				x = string(text)
			}
			table.Append(lua.LString(fmt.Sprint(x)))
		}
		m.lua.SetGlobal(name, table)
	}
	m.lua.Push(m.lua.NewFunctionFromProto(m.script))
	if err := m.lua.PCall(0, 1, nil); err != nil {
		return nil, err
	}
	defer m.lua.Pop(1)
	return reply(m.lua.Get(-1)), nil
}

// reply converts a value as Redis does.
func reply(v lua.LValue) any {
	switch v := v.(type) {
	case lua.LNumber:
		return int64(v)
	case *lua.LTable:
		list := []any{}
		for i := 1; i <= v.Len(); i++ {
			list = append(list, reply(v.RawGetInt(i)))
		}
		return list
	}
	return v.String()
}

// connection is the Redis client of a process.
type connection struct {
	redis.Scripter // other methods are not called
	model          *model
	dials          time.Time // go-redis does not dial for a second after many failures
	calls          atomic.Int64
}

func (c *connection) EvalSha(ctx context.Context, _ string, keys []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	v, err := c.call(ctx, keys, args)
	cmd.SetVal(v)
	if err != nil {
		cmd.SetErr(err)
	}
	return cmd
}

func (c *connection) call(ctx context.Context, keys []string, args []any) (v any, err error) {
	c.calls.Add(1)
	time.Sleep(time.Millisecond) // to the server
	defer time.Sleep(time.Millisecond)
	m := c.model
	for {
		m.mu.Lock()
		down, changed := m.down, m.changed
		switch {
		case down == errRefused, time.Now().Before(c.dials):
			if !time.Now().Before(c.dials) {
				c.dials = time.Now().Add(time.Second)
			}
			m.mu.Unlock()
			return nil, errRefused
		case down == nil:
			v, err = m.run(keys, args)
			m.mu.Unlock()
			return v, err
		}
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			m.mu.Lock()
			if m.down == errHung && rand.IntN(2) == 0 {
				m.late = append(m.late, func() { _, _ = m.run(keys, args) })
			}
			m.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}

// It does not run in parallel, because other tests depend on timing.
//
// Whatever series of outages there is, with LocalShare the limit holds in every window: Redis is killed, hangs, or is
// available only for moments.
func TestModelOfOutages(t *testing.T) {
	var through, local int
	for seed := range *outages {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(seed), 0))
			per := []time.Duration{5, 10, 60}[seed%3] * time.Second
			starts := modelFleet(t, rnd, newModel(t), per, &through, &local)
			closest := closestOf(starts, modelLimit)
			t.Logf("seed %d: %d starts, the closest %d within %v of %v", seed, len(starts), modelLimit+1, closest, per)
			if closest < per {
				t.Errorf("seed %d: %d requests started within %v, less than %v", seed, modelLimit+1, closest, per)
			}
		})
	}
	t.Logf("%d starts while Redis was available, %d during outages", through, local)
	if through == 0 || local == 0 {
		t.Error("want both kinds of starts")
	}
}

const (
	modelLimit     = 12
	modelProcesses = 3
)

// modelFleet runs processes with many waiting requests through outages, and returns when requests started.
func modelFleet(t *testing.T, rnd *rand.Rand, m *model, per time.Duration, through, local *int) (starts []time.Time) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range modelProcesses {
		l := newLimiter(t, &connection{model: m}, modelLimit, per, redislimit.WithTimeout(time.Second), redislimit.LocalShare(modelProcesses))
		for range 1 + rnd.IntN(20) {
			wg.Go(func() {
				for l.Wait(ctx) == nil {
					mu.Lock()
					starts = append(starts, time.Now())
					if m.isDown() {
						*local++
					} else {
						*through++
					}
					mu.Unlock()
				}
			})
		}
	}
	// Times around those of the rules are tried more often.
	times := []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second, per / 2, per, per + 10*time.Second, 3 * per}
	for range 20 {
		down := []error{errRefused, errHung}[rnd.IntN(2)]
		for _, state := range []error{nil, down} {
			m.set(state)
			time.Sleep(time.Duration((0.1 + 1.9*rnd.Float64()) * float64(times[rnd.IntN(len(times))])))
		}
	}
	m.set(nil)
	time.Sleep(3 * per)
	cancel()
	wg.Wait()
	time.Sleep(time.Minute) // the test fails if a Limiter leaves a goroutine behind
	return starts
}

// The requests of one process sleep until their slots during the whole outage, and these come right after its end. The
// process must notice the outage all the same, because another process has started requests on its own.
func TestModelOfASleepingProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const per = 10 * time.Second
		m := newModel(t)
		began := time.Now()
		var mu sync.Mutex
		var wg sync.WaitGroup
		var starts []time.Time
		local := 0
		wait := func(requests int) {
			l := newLimiter(t, &connection{model: m}, modelLimit, per, redislimit.WithTimeout(time.Second), redislimit.LocalShare(modelProcesses))
			for range requests {
				wg.Go(func() {
					if err := l.Wait(t.Context()); err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					starts = append(starts, time.Now())
					if m.isDown() {
						local++
					}
				})
			}
			time.Sleep(time.Second / 2)
		}
		wait(3 * modelLimit) // the slots of three windows
		wait(modelLimit)     // those of the fourth, after 31.2 s
		m.set(errRefused)
		time.Sleep(time.Until(began.Add(31*time.Second + 100*time.Millisecond)))
		m.set(nil)
		wg.Wait()
		time.Sleep(time.Minute)
		if closest := closestOf(starts, modelLimit); closest < per || local == 0 {
			t.Errorf("%d requests started within %v, less than %v; %d started during the outage", modelLimit+1, closest, per, local)
		}
	})
}

// Requests that give up do not delay the calls that watch Redis: the rules of LocalShare depend on one every second.
func TestModelOfRequestsThatGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t)
		m.set(errRefused)
		c := &connection{model: m}
		l := newLimiter(t, c, modelLimit, time.Minute, redislimit.WithTimeout(time.Second), redislimit.LocalShare(modelProcesses))
		var cancels []context.CancelFunc
		var wg sync.WaitGroup
		for range 25 {
			ctx, cancel := context.WithCancel(t.Context())
			cancels = append(cancels, cancel)
			wg.Go(func() { _ = l.Wait(ctx) })
		}
		time.Sleep(5 * time.Second)
		before := c.calls.Load()
		for _, cancel := range cancels {
			time.Sleep(400 * time.Millisecond)
			cancel()
		}
		if n := c.calls.Load() - before; n < 9 {
			t.Errorf("%d calls in 10 s, want one every second", n)
		}
		wg.Wait()
		time.Sleep(time.Minute)
	})
}

// A process reports its local starts even if no request waits in it any more.
func TestModelOfLocalStartsThatAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const per = time.Minute
		m := newModel(t)
		m.set(errRefused)
		l := newLimiter(t, &connection{model: m}, modelLimit, per, redislimit.WithTimeout(time.Second), redislimit.LocalShare(1))
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		local := time.Now()
		m.set(nil)
		time.Sleep(3 * time.Second) // the settling time
		other := newLimiter(t, &connection{model: m}, modelLimit, per, redislimit.WithTimeout(time.Second), redislimit.LocalShare(1))
		if err := other.Wait(t.Context()); err != nil || time.Since(local) < per {
			t.Errorf("%v after the local start, another process got %v", time.Since(local), err)
		}
		time.Sleep(time.Minute)
	})
}
