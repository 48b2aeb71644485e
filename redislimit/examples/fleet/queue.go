package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// queue is a list of apps in Redis that workers share: each app waits, is taken or done. One that is taken is leased, and
// waits again when its lease was not renewed. So a worker that dies loses no app.
//
// All times are the Redis server's.
type queue struct {
	rdb   redis.UniversalClient
	name  string
	lease time.Duration
}

// The keys, which are of one slot of a cluster: the apps that are not done, by the time at which they may be taken; who
// has taken them; the reloads that were triggered for them; and how they ended.
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

	// Only who has taken the app renews its lease, notes its reload, and finishes it.
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

// add puts apps on the list that are not on it yet, neither done nor to be done.
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

// take leases the next app to the worker. Of one whose worker died, reload is the reload that it had triggered, if it
// came to note it. If all apps are taken, app is "", and wait the time until the first lease ends; 0 if all are done.
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

var errLeaseLost = errors.New("the lease has ended, another worker has the app")

// renew prolongs the lease of an app, and notes its reload unless that is "".
func (q queue) renew(ctx context.Context, worker, app, reload string) error {
	return owned(renewScript.Run(ctx, q.rdb, q.keys(), worker, app, q.lease.Milliseconds(), reload))
}

// finish says how an app ended.
func (q queue) finish(ctx context.Context, worker, app, outcome string) error {
	return owned(finishScript.Run(ctx, q.rdb, q.keys(), worker, app, outcome))
}

func owned(cmd *redis.Cmd) error {
	n, err := cmd.Int()
	if err == nil && n == 0 {
		return errLeaseLost
	}
	return err
}

// outcomes are the apps that are done, and how they ended.
func (q queue) outcomes(ctx context.Context) (map[string]string, error) {
	return q.rdb.HGetAll(ctx, q.keys()[3]).Result()
}

// left is how many apps are not done.
func (q queue) left(ctx context.Context) (int64, error) {
	return q.rdb.ZCard(ctx, q.keys()[0]).Result()
}
