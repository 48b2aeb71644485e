package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/reloadstest"
)

// memory is a Store for the token sources of one test. Methods that are in fail return an error, and those in hang return
// when their context ends. Those in stuck, which may also contain Unlock, return when released is closed.
type memory struct {
	fail, hang, stuck string
	released          chan struct{}
	called            func(context.Context) // if not nil

	lock   chan struct{}
	mu     sync.Mutex
	values map[string]string
}

func newMemory() *memory { return &memory{lock: make(chan struct{}, 1), values: map[string]string{}} }

func (m *memory) check(ctx context.Context, method string) error {
	if m.called != nil {
		m.called(ctx)
	}
	if strings.Contains(m.stuck, method) {
		<-m.released
		return nil
	}
	if strings.Contains(m.hang, method) {
		<-ctx.Done()
		return ctx.Err()
	}
	if strings.Contains(m.fail, method) {
		return errors.New("the store is broken")
	}
	return nil
}

func (m *memory) Get(ctx context.Context, key string) ([]byte, error) {
	if err := m.check(ctx, "Get"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if value, ok := m.values[key]; ok {
		return []byte(value), nil
	}
	return nil, nil
}

func (m *memory) Put(ctx context.Context, key string, value []byte, _ time.Time) error {
	if err := m.check(ctx, "Put"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = string(value)
	return nil
}

func (m *memory) Lock(ctx context.Context, _ string) (func(), error) {
	if err := m.check(ctx, "Lock"); err != nil {
		return nil, err
	}
	select {
	case m.lock <- struct{}{}:
		return func() { _ = m.check(ctx, "Unlock"); <-m.lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// set replaces all values.
func (m *memory) set(value string) {
	for key := range m.values {
		m.values[key] = value
	}
}

func TestSourcesShareTheTokensInAStore(t *testing.T) {
	for _, user := range flows {
		synctest.Test(t, func(t *testing.T) {
			tenant, cfg := world(reloadstest.OAuthClient{Lifetime: time.Hour})
			tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, DelayAnswer: time.Second, Times: -1})
			cfg.UserID, cfg.Store = user, newMemory()
			var sources []renewer
			for range 20 {
				sources = append(sources, source(t, cfg))
			}
			// all returns the only token that all sources have.
			all := func(get func(renewer) (string, error)) string {
				t.Helper()
				var mu sync.Mutex
				var running sync.WaitGroup
				tokens := map[string]bool{}
				for _, s := range sources {
					running.Go(func() {
						token, err := get(s)
						mu.Lock()
						defer mu.Unlock()
						tokens[token] = true
						if err != nil {
							t.Error(err)
						}
					})
				}
				running.Wait()
				if len(tokens) != 1 {
					t.Errorf("%d different tokens", len(tokens))
				}
				return slices.Collect(maps.Keys(tokens))[0]
			}
			current := func(s renewer) (string, error) { return s.Token(t.Context()) }
			first := all(current)
			if n := signIns(tenant); n != 1 {
				t.Errorf("%d token requests at the start, want 1", n)
			}
			second := all(func(s renewer) (string, error) { return s.Renew(t.Context(), first) })
			if n := signIns(tenant); n != 2 || first == second {
				t.Errorf("%d token requests after the token was refused, want 2", n)
			}
			time.Sleep(56 * time.Minute) // now a renewal is due
			all(current)
			time.Sleep(2 * time.Second)
			if n, third := signIns(tenant), all(current); n != 3 || third == second {
				t.Errorf("%d token requests after 56 min, want 3", n)
			}
		})
	}
}

func TestOtherCredentialsFindNoToken(t *testing.T) {
	tenant, cfg := world(reloadstest.OAuthClient{})
	store := newMemory()
	cfg.Store = store
	mustToken(t, source(t, cfg))
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "client", Secret: testSecret + "2"})
	for _, change := range []func(*oauth.Config){
		func(c *oauth.Config) { c.ClientSecret += "2" },
		func(c *oauth.Config) { c.ClientSecret += "2"; c.UserID = "user" },
		func(c *oauth.Config) { c.ClientSecret += "2"; c.Scopes = []string{"admin_classic"} },
	} {
		other, before := cfg, signIns(tenant)
		change(&other)
		mustToken(t, source(t, other))
		if signIns(tenant) != before+1 {
			t.Error("the token of other credentials was used")
		}
	}
	if n := len(store.values); n != 4 {
		t.Errorf("the store has %d values", n)
	}
	for key := range store.values {
		if strings.Contains(key, testSecret) || strings.Trim(key, "0123456789abcdef") != "" {
			t.Errorf("the key %q is not a hexadecimal number", key)
		}
	}
}

// What is in the store may be of another version, cut off, or old.
func TestAnUnusableValueInAStore(t *testing.T) {
	for name, value := range map[string]string{
		"empty": "", "no JSON": "{", "other JSON": "[1]", "other types": `{"token":"test-token-old","expires":7}`,
		"no token": `{"expires":"2030-01-01T00:00:00Z"}`,
		"expired":  `{"token":"test-token-old","expires":"1999-12-31T23:00:00Z"}`, "about to expire": `{"token":"test-token-old","expires":"2000-01-01T00:01:00Z"}`,
	} {
		synctest.Test(t, func(t *testing.T) { // time begins at 2000-01-01T00:00:00Z
			tenant, cfg := world(reloadstest.OAuthClient{})
			store := newMemory()
			cfg.Store = store
			mustToken(t, source(t, cfg))
			store.set(value)
			if mustToken(t, source(t, cfg)) == "test-token-old" || signIns(tenant) != 2 {
				t.Errorf("%s: %d token requests, want 2", name, signIns(tenant))
			}
			if mustToken(t, source(t, cfg)); signIns(tenant) != 2 {
				t.Errorf("%s: the value was not replaced", name)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		_, cfg := world(reloadstest.OAuthClient{})
		store := newMemory()
		cfg.Store = store
		mustToken(t, source(t, cfg))
		store.set(`{"token":"test-token-eternal"}`)
		if got := mustToken(t, source(t, cfg)); got != "test-token-eternal" {
			t.Error("a token without an expiry time was not used")
		}
	})
}

func TestAStoreThatFailsOrHangs(t *testing.T) {
	for _, broken := range []*memory{{fail: "Lock"}, {fail: "Get"}, {fail: "Put"}, {fail: "Lock Get Put"}, {hang: "Lock"}, {hang: "Get"}, {hang: "Put"}} {
		synctest.Test(t, func(t *testing.T) {
			tenant, cfg := world(reloadstest.OAuthClient{})
			store := newMemory()
			store.fail, store.hang = broken.fail, broken.hang
			cfg.Store = store
			began := time.Now()
			s := source(t, cfg)
			if first := mustToken(t, s); first != mustToken(t, s) || signIns(tenant) != 1 {
				t.Errorf("%+v: %d token requests, want 1", broken, signIns(tenant))
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("%+v: %v", broken, took)
			}
		})
	}
}

func TestAStoreDoesNotHideAnError(t *testing.T) {
	cfg := configOf(responding(503, "", ""))
	store := newMemory()
	cfg.Store = store
	var e *oauth.Error
	if _, err := source(t, cfg).Token(t.Context()); !errors.As(err, &e) || e.StatusCode != 503 || len(store.values) != 0 {
		t.Errorf("got %v, and %d stored values", err, len(store.values))
	}
}

func TestTheContextsOfAStoreEnd(t *testing.T) {
	_, cfg := world(reloadstest.OAuthClient{})
	store := newMemory()
	cfg.Store = store
	var contexts []context.Context
	store.called = func(ctx context.Context) { contexts = append(contexts, ctx) }
	mustToken(t, source(t, cfg))
	for i, ctx := range contexts {
		if ctx.Err() == nil {
			t.Errorf("the context of call %d has not ended", i)
		}
	}
	if len(contexts) != 5 { // Get, Lock, Get, Put, unlock
		t.Errorf("%d calls", len(contexts))
	}
}

// A method may ignore its context, for example because a disk hangs. What it does later has no effect, except that a lock
// that it takes is released.
func TestAStoreThatIgnoresItsContext(t *testing.T) {
	for stuck, want := range map[string]time.Duration{
		"Get": 20 * time.Second, "Lock": 10 * time.Second, "Put": 10 * time.Second, "Unlock": 10 * time.Second,
		"Get Lock Put": 30 * time.Second, "Get Put Unlock": 40 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) { // which fails if goroutines remain
			tenant, cfg := world(reloadstest.OAuthClient{})
			store := newMemory()
			store.stuck, store.released = stuck, make(chan struct{})
			cfg.Store = store
			began := time.Now()
			s := source(t, cfg)
			if first := mustToken(t, s); first != mustToken(t, s) || signIns(tenant) != 1 {
				t.Errorf("%s: %d token requests, want 1", stuck, signIns(tenant))
			}
			if took := time.Since(began); took != want {
				t.Errorf("%s: the token came after %v, want %v", stuck, took, want)
			}
			close(store.released)
			synctest.Wait()
			if len(store.lock) != 0 {
				t.Errorf("%s: the lock is still held", stuck)
			}
		})
	}
}

// The process that holds the lock may wait for a token endpoint that hangs.
func TestAnotherProcessHoldsTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{})
		store := newMemory()
		cfg.Store = store
		store.lock <- struct{}{}
		began := time.Now()
		first := mustToken(t, source(t, cfg))
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("a process without a token waited for %v, want 10 s", took)
		}
		if mustToken(t, source(t, cfg)) != first || signIns(tenant) != 1 {
			t.Error("a token that was requested without the lock was not stored")
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Error("a process that finds a token waited for the lock")
		}
	})
}

// All tokens of a client may have been revoked, not only the one that was refused.
func TestAnOldTokenInAStoreIsNotUsedAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, cfg := world(reloadstest.OAuthClient{Lifetime: time.Hour})
		cfg.Store = newMemory()
		var sources []renewer
		var first string
		for range 4 {
			sources = append(sources, source(t, cfg))
			first = mustToken(t, sources[len(sources)-1])
		}
		renew := func(i int, refused string) string {
			t.Helper()
			token, err := sources[i].Renew(t.Context(), refused)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		second := renew(0, first)
		time.Sleep(2 * time.Minute)
		third := renew(1, first)
		if third == second || signIns(tenant) != 3 {
			t.Errorf("%d token requests, want 3", signIns(tenant))
		}
		time.Sleep(time.Minute) // another process notices later
		if renew(2, first) != third || renew(0, second) != third {
			t.Error("a new token was not shared")
		}
		time.Sleep(57*time.Minute + 30*time.Second) // the first token has expired
		if mustToken(t, sources[3]) == "" || signIns(tenant) != 3 {
			t.Errorf("%d token requests, want 3: without a refusal, an older token is good", signIns(tenant))
		}
	})
}

// funcStore is a Store that cannot be compared.
type funcStore []func()

func (funcStore) Get(context.Context, string) ([]byte, error)             { return nil, nil }
func (funcStore) Put(context.Context, string, []byte, time.Time) error    { return nil }
func (funcStore) Lock(context.Context, string) (unlock func(), err error) { return func() {}, nil }

func TestAConfigWithAStoreCanBeComparedAndPrinted(t *testing.T) {
	_, cfg := world(reloadstest.OAuthClient{})
	other := cfg
	cfg.Store = funcStore{}
	if cfg.Equal(other) || !cfg.Equal(cfg) || fmt.Sprint(cfg) == "" || cfg.String() == other.String() {
		t.Errorf("%v, %v", cfg, other)
	}
	memories := []oauth.Config{other, other}
	memories[0].Store, memories[1].Store = newMemory(), newMemory()
	if memories[0].Equal(memories[1]) {
		t.Error("two stores are equal")
	}
}
