package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/reloadstest"
)

var processes = flag.Int("processes", 20, "how many processes TestProcessesShareAToken starts")

var _ oauth.Store = tokenStore{}

// printToken is the program of a process in TestProcessesShareAToken.
func printToken() error {
	rdb, err := connectRedis(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	defer rdb.Close()
	tokens, err := oauth.NewTokenSource(oauth.Config{
		TenantURL: os.Getenv("QLIK_TENANT_URL"), ClientID: "fleet", ClientSecret: "secret of the fleet", Store: tokenStore{rdb},
	})
	if err != nil {
		return err
	}
	token, err := tokens.Token(context.Background())
	fmt.Print(token)
	return err
}

func TestProcessesShareAToken(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "fleet", Secret: "secret of the fleet", MaxTokens: 1})
	f.tenant.Inject(reloadstest.Fault{Operation: reloadstest.SignIn, DelayAnswer: 500 * time.Millisecond, Times: -1})
	tokens := make([]string, *processes)
	var running sync.WaitGroup
	for i := range tokens {
		running.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "FLEET_TEST_PROCESS=token", "REDIS_URL=redis://"+f.addr, "QLIK_TENANT_URL="+f.web.URL)
			cmd.Stderr = os.Stderr
			token, err := cmd.Output()
			if err != nil {
				t.Errorf("process %d: %v", i, err)
			}
			tokens[i] = string(token)
		})
	}
	running.Wait()
	signIns := 0
	for _, r := range f.tenant.Requests() {
		if r.Operation == reloadstest.SignIn {
			signIns++
		}
	}
	if signIns != 1 {
		t.Errorf("%d processes made %d token requests, want 1", len(tokens), signIns)
	}
	for i, token := range tokens {
		if token == "" || token != tokens[0] {
			t.Errorf("process %d has another token than process 0, or none", i)
		}
	}
}

func TestTokenStore(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	store := tokenStore{f.rdb}
	ctx := t.Context()
	get := func(key string) string {
		t.Helper()
		value, err := store.Get(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return string(value)
	}
	if value, err := store.Get(ctx, "aa"); value != nil || err != nil {
		t.Errorf("a missing value: %q, %v; want nil", value, err)
	}
	for key, expires := range map[string]time.Time{
		"aa": time.Now().Add(time.Hour), "bb": {}, "cc": time.Now().Add(-time.Hour), "dd": time.Now().Add(100 * time.Millisecond),
	} {
		if err := store.Put(ctx, key, []byte("value of "+key), expires); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, 5*time.Second, "the expiry of old values", func() bool { return get("cc") == "" && get("dd") == "" })
	if diff := cmp.Diff([]string{"value of aa", "value of bb"}, []string{get("aa"), get("bb")}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ttl := f.rdb.PTTL(ctx, tokenKey("aa")).Val(); ttl <= 0 || ttl > time.Hour {
		t.Errorf("the value expires in %v, want an hour at most", ttl)
	}
}

// isTimeout reports whether the context ended between two requests, or during one.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// A lock lasts longer than its lease, even if the context of Lock has ended, and that of a dead process does not.
func TestTokenStoreLock(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	store := tokenStore{f.rdb}
	tryLock := func(limit time.Duration) (unlock func(), err error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return store.Lock(ctx, "aa")
	}
	unlock, err := tryLock(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryLock(lockLease + 2*time.Second); !isTimeout(err) {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	unlock2, err := tryLock(time.Second)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}

	// The lock of a process that died. Unlocking the earlier one must not release it.
	if err := f.rdb.Set(t.Context(), tokenKey("aa")+":lock", "dead", lockLease).Err(); err != nil {
		t.Fatal(err)
	}
	unlock2()
	if _, err := tryLock(time.Second); !isTimeout(err) {
		t.Errorf("another process's lock was released: %v", err)
	}
	unlock3, err := tryLock(2 * lockLease)
	if err != nil {
		t.Fatalf("after the lease of a dead process: %v", err)
	}
	unlock3()
}
