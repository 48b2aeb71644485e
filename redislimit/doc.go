// Package redislimit shares the rate limits of package reloads between processes, through Redis.
//
// The service counts the requests of a user, not of a process. Processes that use the same key of the API, on one
// machine or on many, share one budget if each of them gives its client a [Limiter] of the same Redis key:
//
//	rdb := redis.NewClient(&redis.Options{Addr: "redis:6379", ContextTimeoutEnabled: true, MaxRetries: -1})
//	limiters, err := redislimit.NewLimiters(rdb, "your-tenant.us.qlikcloud.com")
//	if err != nil {
//		return err
//	}
//	client, err := reloads.NewClient(tenantURL, tokens, reloads.WithLimiters(limiters))
//
// It works with Redis from version 6, and Valkey: a single server, Sentinel, or Cluster. Each limit is one key.
//
// # What is guaranteed
//
// In no window of the period, wherever it begins, do more than the limit's requests start, over all processes
// together; a fleet that was idle may start all of them at once, and one that is always busy reaches 95.6 % of the limit.
//
// A script hands out slots, the times at which a request may start. Slot number i+N comes no earlier than 104 % of the
// period after number i, and Wait returns at most 2 % of the period after its slot, 1.2 s of a minute, however slow Redis
// or the process is: a slot that it is too late for is not used. That leaves 2 % for the way to the service. It is
// not covered if a request takes so much longer from Wait's return to the service's counter than a later one.
//
// All times are the Redis server's. A process measures only how long it waits; what its clock says does not matter.
//
// # What it costs
//
// A waiter learns from one round trip when its turn is. If that is in more than 2 % of the period, it makes a second one
// when its turn has come, to learn of pauses and losses. So a token costs two round trips at the most, and one more for
// each of these that happens while it is waited for: a pause, a loss of Redis's data, a slot that it was too late for, a
// script that the server has forgotten.
//
// Requests are served in the order of their first round trips, whatever process they are in. One that gives up gives its
// slot back, to the next who asks, who may so overtake those who wait. A process that dies loses the slots that its
// requests held, and no others.
//
// A key takes at most 25 KB for a limit of 50 requests, and 90 KB for one of 1000; of these 16 KB are slots that were given
// back, a thousand at the most, which there mostly are none of (without them, 840 bytes and 73 KB). It expires
// when it is as if it had never been, a period after the last slot at the latest.
//
// # Faults
//
// A call to Redis takes at most as long as its context and [WithTimeout] allow. One that was cut off may have taken
// effect: its slot is lost then, and never used twice. What becomes of the requests is the caller's choice:
//
//   - By default Wait fails with [ErrUnavailable], which says why.
//   - With [LocalShare] the process goes on by itself, with its share of the limit.
//
// While Redis keeps its data, whatever else happens to it, requests that it granted are never more than the limit. It
// loses them in a restart without persistence, by an eviction, or in a failover to a replica that lags behind. Any
// process that was granted a slot within the last period notices that with its next call: the limit then starts anew one
// window after the loss. Only before that call others, which were idle, may start up to N requests that are too many.
// If just the latest slots were lost, such as those of the last second with appendfsync everysec, the loss is noticed
// until as many were handed out again; then there may have been as many requests too many.
//
// The clocks of servers between which Redis fails over should agree to 1 % of the period. One that is behind costs nothing,
// but one that is ahead makes it seem that so much time has passed; the same holds for a server's clock that is set.
package redislimit
