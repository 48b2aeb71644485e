// Package filestore keeps OAuth tokens in files, so that the processes of a user on one machine share them.
//
//	store, err := filestore.New(dir)
//	if err != nil {
//		return err
//	}
//	tokens, err := oauth.NewTokenSource(oauth.Config{TenantURL: url, ClientID: id, ClientSecret: secret, Store: store})
package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"

	"github.com/reloads-go/reloads/oauth"
)

// New returns a Store that keeps each token in a file in dir, which only the user can read (mode 0600). It creates dir with
// mode 0700 if it does not exist. The directory must be on a local file system, because locks may not work on others. The
// files of expired tokens remain until they are replaced; they are small and useless.
//
// New returns an error if dir cannot be created, or if other users can access or own it (except on Windows, whose access
// control lists it does not read).
func New(dir string) (oauth.Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("filestore: %s has mode %#o, but only its owner may access it: use 0700", dir, mode)
	}
	if owner := ownerOf(info); owner != os.Getuid() {
		return nil, fmt.Errorf("filestore: %s belongs to the user with the ID %d, not to this one", dir, owner)
	}
	return &store{dir}, nil
}

type store struct{ dir string }

// retryInterval is the time between two tries to take a lock that another process holds.
const retryInterval = 20 * time.Millisecond

func (s *store) Get(_ context.Context, key string) ([]byte, error) {
	value, err := os.ReadFile(s.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return value, err
}

// Put writes a new file and renames it, so that a reader sees the old value or the new one.
func (s *store) Put(_ context.Context, key string, value []byte, _ time.Time) error {
	f, err := os.CreateTemp(s.dir, key+".*.tmp") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(value)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.path(key))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Lock locks a file. The operating system releases the lock when the process dies. The file remains, because removing it
// would let two processes lock two different files.
func (s *store) Lock(ctx context.Context, key string) (unlock func(), err error) {
	lock := flock.New(s.path(key)+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, retryInterval); err != nil {
		return nil, err
	}
	return func() { _ = lock.Unlock() }, nil
}

func (s *store) path(key string) string { return filepath.Join(s.dir, key) }
