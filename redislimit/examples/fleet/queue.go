package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// queue is a list of apps in Redis that workers share. An app is waiting, leased to a worker, or done. An app whose
// lease is not renewed is waiting again, so that no app is lost when a worker dies. Its methods are safe for concurrent
// use.
//
// All times are those of the Redis server.
type queue struct {
	rdb   redis.UniversalClient
	name  string
	lease time.Duration
}

// keys returns the keys of the list, which have the same hash slot in a cluster: the apps that are not done, with the
// time from which they may be taken; their owners; the reloads that were triggered for them; and the outcomes of those
// that are done.
func (q queue) keys() []string {
	prefix := "fleet:{" + q.name + "}:"
	return []string{prefix + "open", prefix + "owner", prefix + "reload", prefix + "done"}
}

const prelude = `
if redis.replicate_commands then redis.replicate_commands() end
local open, owner, reload, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

var (
	takeScript = redis.NewScript(prelude + `
local first = redis.call('ZRANGE', open, 0, 0, 'WITHSCORES')
if not first[1] then return {'', '', 0} end
if tonumber(first[2]) > now then return {'', '', tonumber(first[2]) - now} end
redis.call('ZADD', open, now + ARGV[2], first[1])
redis.call('HSET', owner, first[1], ARGV[1])
return {first[1], redis.call('HGET', reload, first[1]) or '', 0}`)

	// Only the owner of an app renews the lease, stores the reload, and finishes the app.
	renewScript = redis.NewScript(prelude + `
if redis.call('HGET', owner, ARGV[2]) ~= ARGV[1] then return 0 end
redis.call('ZADD', open, 'XX', now + ARGV[3], ARGV[2])
if ARGV[4] ~= '' then redis.call('HSET', reload, ARGV[2], ARGV[4]) end
return 1`)

	finishScript = redis.NewScript(prelude + `
if redis.call('HGET', owner, ARGV[2]) ~= ARGV[1] then return 0 end
redis.call('ZREM', open, ARGV[2])
redis.call('HDEL', owner, ARGV[2])
redis.call('HSET', done, ARGV[2], ARGV[3])
return 1`)
)

// add adds the apps that are not on the list yet. An app that is done stays done.
func (q queue) add(ctx context.Context, apps []string) error {
	k := q.keys()
	for _, app := range apps {
		done, err := q.rdb.HExists(ctx, k[3], app).Result()
		if err != nil {
			return err
		}
		if !done {
			if err := q.rdb.ZAddNX(ctx, k[0], redis.Z{Member: app}).Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// take leases the next app to the worker. If an earlier worker died, reload is the ID of the reload that it triggered,
// or "" if it did not store one. If no app is waiting, app is "" and wait is the time until the first lease ends. If
// all apps are done, wait is 0.
func (q queue) take(ctx context.Context, worker string) (app, reload string, wait time.Duration, err error) {
	reply, err := takeScript.Run(ctx, q.rdb, q.keys(), worker, q.lease.Milliseconds()).Slice()
	if err != nil {
		return "", "", 0, err
	}
	app, _ = reply[0].(string)
	reload, _ = reply[1].(string)
	millis, _ := reply[2].(int64)
	return app, reload, time.Duration(millis) * time.Millisecond, nil
}

var errLeaseLost = errors.New("the lease has expired, and another worker has the app")

// renew extends the lease of an app, and stores the ID of its reload unless that is "". It returns errLeaseLost if the
// worker is not the owner of the app.
func (q queue) renew(ctx context.Context, worker, app, reload string) error {
	return ownerError(renewScript.Run(ctx, q.rdb, q.keys(), worker, app, q.lease.Milliseconds(), reload))
}

// finish marks an app as done and stores its outcome. It returns errLeaseLost if the worker is not the owner of the
// app.
func (q queue) finish(ctx context.Context, worker, app, outcome string) error {
	return ownerError(finishScript.Run(ctx, q.rdb, q.keys(), worker, app, outcome))
}

// ownerError returns the error of a script that returns 0 if the worker is not the owner of the app.
func ownerError(cmd *redis.Cmd) error {
	n, err := cmd.Int()
	if err == nil && n == 0 {
		return errLeaseLost
	}
	return err
}

// outcomes returns the outcomes of the apps that are done, by app.
func (q queue) outcomes(ctx context.Context) (map[string]string, error) {
	return q.rdb.HGetAll(ctx, q.keys()[3]).Result()
}

// remaining returns the number of apps that are not done.
func (q queue) remaining(ctx context.Context) (int64, error) {
	return q.rdb.ZCard(ctx, q.keys()[0]).Result()
}
