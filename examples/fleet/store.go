package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
)

// tokenStore is an [oauth.Store] in Redis, so that all workers use the same token. Whoever can read the keys
// reloads:token:* can act as the OAuth client.
type tokenStore struct{ rdb redis.UniversalClient }

// The lock of a dead process ends after lockLease. Others wait longer for the lock than that: 10 s.
const (
	lockLease = 5 * time.Second
	lockRetry = 50 * time.Millisecond
)

func tokenKey(key string) string { return "reloads:token:" + key }

func (s tokenStore) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := s.rdb.Get(ctx, tokenKey(key)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return value, err
}

func (s tokenStore) Put(ctx context.Context, key string, value []byte, expires time.Time) error {
	var ttl time.Duration // 0 means that it does not expire
	if !expires.IsZero() {
		ttl = max(time.Until(expires), time.Millisecond)
	}
	return s.rdb.Set(ctx, tokenKey(key), value, ttl).Err()
}

// Lock renews its lease until unlock, because a token request may take longer.
func (s tokenStore) Lock(ctx context.Context, key string) (unlock func(), err error) {
	lock, err := redislock.Obtain(ctx, s.rdb, tokenKey(key)+":lock", lockLease,
		&redislock.Options{RetryStrategy: redislock.LinearBackoff(lockRetry)})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // ctx limits the wait for the lock only
	var renewing sync.WaitGroup
	renewing.Go(func() {
		tick := time.NewTicker(lockLease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = lock.Refresh(ctx, lockLease, nil) // if it fails, another process may request a token, too
			}
		}
	})
	return func() {
		stop()
		renewing.Wait()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockLease)
		defer cancel()
		_ = lock.Release(ctx) // if it fails, the lease ends
	}, nil
}
