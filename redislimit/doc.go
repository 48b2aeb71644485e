// Package redislimit shares the rate limits of package reloads between processes, through Redis.
//
// The service counts the requests of a user, not those of a process. Processes that use the same API key, on one
// machine or on several, share one budget if each of them gives its client a [Limiter] with the same Redis key:
//
//	rdb := redis.NewClient(&redis.Options{Addr: "redis:6379", ContextTimeoutEnabled: true, MaxRetries: -1})
//	limiters, err := redislimit.NewLimiters(rdb, "your-tenant.us.qlikcloud.com")
//	if err != nil {
//		return err
//	}
//	client, err := reloads.NewClient(tenantURL, tokens, reloads.WithLimiters(limiters))
//
// The package works with Valkey and with Redis 6 or later: a single server, Sentinel, or Cluster. Each limit is one
// key. Create a client of a cluster with a ClusterStateReloadInterval of one second:
//
//	rdb := redis.NewClusterClient(&redis.ClusterOptions{
//		Addrs: addrs, ContextTimeoutEnabled: true, MaxRetries: -1, ClusterStateReloadInterval: time.Second,
//	})
//
// With the default of one minute, it can call a primary that has died for that long after a replica has taken over.
//
// # Guarantees
//
// In any time window of the length of the period, at most as many requests start as the limit allows, counted over all
// processes. After an idle time, all of them may start at once. Under sustained load, 95.6 % of the limit is reached.
//
// A script in Redis grants slots. A slot is a time at which a request may start. With a limit of N requests, slot i+N
// is at least 104 % of the period after slot i. Wait returns at most 2 % of the period after the slot, which is 1.2 s
// for a period of one minute. If Redis or the process is slower than that, the slot is not used. The remaining 2 %
// cover the network latency between Wait and the service: the service can count too many requests in a window only if
// one request takes more than 2 % of the period longer to reach it than a later request.
//
// All times are those of the Redis server. A process only measures durations, so its clock does not need to be right.
//
// # Cost
//
// The first round trip of a request returns its slot. If the slot is more than 2 % of the period away, the request
// makes a second round trip at the time of the slot, because there may have been a pause or a loss of data. A request
// therefore makes at most two round trips, and one more for each of these events during its wait: a pause, a loss of
// data, a slot that it was too late for, a script that the server has forgotten.
//
// A Limiter makes one call to Redis at a time. Requests that arrive during a call share the next one, so that many
// waiting requests make far fewer round trips. The timeout is that of a call; waiting for the call before is not an
// error.
//
// Requests are served in the order of their first round trips, over all processes. A request that gives up releases its
// slot to the next request that asks for one, which can thus overtake waiting requests. A process that dies loses the
// slots of its own requests only.
//
// A key takes at most 25 KB for a limit of 50 requests, and 100 KB for a limit of 1000. This includes up to 16 KB for at
// most 1024 released slots. Usually there are none, and a key takes 840 bytes or 80 KB. A key expires when its state no
// longer has an effect: 108 % of the period after the last slot, or later if there is a pause.
//
// # Faults
//
// A call to Redis takes at most as long as [WithTimeout] allows. A call that was cut off may have taken effect. The slots
// that it reserved, at most an eighth of the limit or four, are then lost. If go-redis sends the call again, as a client of
// a cluster does up to MaxRedirects times, each repetition can cost as many. Slots that requests give up are released only
// by the first attempt; if Redis rejects it, for example because it has forgotten the script, they are lost, too. None
// is granted twice, provided that only go-redis repeats calls, and no proxy does. All requests that wait for a call
// when one fails get its error. The caller chooses what happens while Redis is unavailable:
//
//   - By default, Wait returns an error that matches [ErrUnavailable] and wraps the cause.
//   - With [LocalShare], the process continues on its own with its share of the limit.
//
// While Redis keeps its data, it never grants more requests than the limit, whatever else fails. Redis loses data in a
// restart without persistence, by an eviction, or in a failover to a lagging replica. Every process that was granted a
// slot within the last window detects the loss in its next call. The limit then starts again one window after the
// loss. Before that call, other processes, which were idle, can start up to N excess requests. If only the latest slots
// were lost, such as those of the last second with appendfsync everysec, the loss is detected only until as many new
// slots have been granted. In that case there are at most as many excess requests as lost slots.
//
// The clocks of servers between which Redis fails over should agree to within 1 % of the period. A clock that is behind
// does no harm. If a clock is ahead, or is set forward, requests can start too early by that difference.
package redislimit
