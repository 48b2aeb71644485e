package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reloads-go/reloads/oauth"
	"github.com/reloads-go/reloads/oauth/filestore"
	"github.com/reloads-go/reloads/reloadstest"
)

const secret = "test-secret-77aa"

// TestMain is also the program of the processes that the tests start.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("SIGN_IN_AT") != "":
		os.Exit(signIn(os.Getenv("SIGN_IN_AT"), os.Getenv("STORE")))
	case os.Getenv("HOLD_LOCK") != "":
		os.Exit(holdLock(os.Getenv("STORE")))
	}
	os.Exit(m.Run())
}

// signIn prints a hash of the token that it gets.
func signIn(url, dir string) int {
	store, err := filestore.New(dir)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	tokens, err := oauth.NewTokenSource(oauth.Config{TenantURL: url, ClientID: "client", ClientSecret: secret, Store: store})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if _, err := tokens.Token(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// holdLock takes a lock and keeps it until the process is killed.
func holdLock(dir string) int {
	store, err := filestore.New(dir)
	if err != nil {
		return 1
	}
	if _, err := store.Lock(context.Background(), "ab"); err != nil {
		return 1
	}
	fmt.Println("locked")
	select {}
}

func TestFiftyProcessesShareOneToken(t *testing.T) {
	tenant := reloadstest.NewTenant()
	tenant.AddOAuthClient(reloadstest.OAuthClient{ID: "client", Secret: secret, MaxTokens: 1})
	server := httptest.NewServer(tenant)
	defer server.Close()
	dir := filepath.Join(t.TempDir(), "tokens")
	var running sync.WaitGroup
	for range 50 {
		running.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "SIGN_IN_AT="+server.URL, "STORE="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	running.Wait()
	n := 0
	for _, r := range tenant.Requests() {
		if r.Operation == reloadstest.SignIn {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Mode().Perm() != 0o600 || strings.HasSuffix(entry.Name(), ".tmp") {
			t.Errorf("%s: %v, %v", entry.Name(), info.Mode(), err)
		}
	}
	if len(entries) != 2 { // the token and its lock
		t.Errorf("%d files", len(entries))
	}
}

func TestTheLockOfADeadProcessIsReleased(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	store, err := filestore.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "HOLD_LOCK=1", "STORE="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := store.Lock(ctx, "ab"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another process holds the lock: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	unlock, err := store.Lock(t.Context(), "ab")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if unlock, err = store.Lock(t.Context(), "ab"); err != nil {
		t.Errorf("after unlock: %v", err)
	} else {
		unlock()
	}
}

func TestValues(t *testing.T) {
	store, err := filestore.New(filepath.Join(t.TempDir(), "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if value, err := store.Get(t.Context(), "ab"); value != nil || err != nil {
		t.Errorf("%q, %v", value, err)
	}
	for _, want := range []string{"first", "second"} {
		if err := store.Put(t.Context(), "ab", []byte(want), time.Time{}); err != nil {
			t.Fatal(err)
		}
		if value, err := store.Get(t.Context(), "ab"); string(value) != want || err != nil {
			t.Errorf("%q, %v", value, err)
		}
	}
}

func TestATokenThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	store, err := filestore.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "ab"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), "ab", []byte("token"), time.Time{}); err == nil {
		t.Error("a directory was replaced")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v, want no temporary file left", entries, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), "ab", []byte("token"), time.Time{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v after the directory was removed", err)
	}
}

func TestADirectoryThatOthersCanAccessIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := filestore.New(dir); err == nil || !strings.Contains(err.Error(), "0755") {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, filepath.Join(file, "below")} {
		if _, err := filestore.New(name); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestADirectoryOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, 65534, -1)); err != nil {
		t.Fatal(err)
	}
	if _, err := filestore.New(dir); err == nil || !strings.Contains(err.Error(), "65534") {
		t.Error(err)
	}
}
