// Package reloads is a client for the Qlik Cloud Reloads API. It triggers reloads of apps, waits for them, lists them
// and cancels them.
//
// # Getting started
//
//	key := reloads.APIKey(os.Getenv("QLIK_API_KEY"))
//	client, err := reloads.NewClient(os.Getenv("QLIK_TENANT_URL"), key)
//	if err != nil {
//		return err
//	}
//	reload, err := client.Run(ctx, reloads.Request{AppID: appID})
//	if err != nil {
//		return err
//	}
//	fmt.Println(reload.Status, "after", reload.RunTime())
//
// A [Client] is safe for concurrent use and meant to be shared. Each method takes a context, which limits the duration
// of the whole call. [WithAttemptTimeout] limits each attempt.
//
// # Calls
//
// [Client.Trigger], [Client.Get], [Client.Cancel] and [Client.List] call the four endpoints. [Client.Pages] and
// [Client.All] iterate over a whole list. [Client.Run] triggers a reload and waits until it has finished. [Client.Wait]
// waits for an existing reload, and [Client.Watch] yields each change of its status. [Client.RunAll] runs many reloads,
// [Client.RunPlan] runs reloads that depend on each other, and [Client.WaitAll] waits for many.
//
// [Client.Log] streams the full log of a reload, from the Apps API. The log in the record of a reload is only a
// summary; [Reload.Summary] reads its figures.
//
// # Errors
//
// An [*Error] is an unsuccessful or invalid API response. A [*ReloadError] is a reload that did not succeed. Use [errors.Is]
// with the classes, such as [ErrNotFound], [ErrReloadPending] or [ErrReloadFailed], or with a [Code]. If the client refuses an
// argument before sending anything, the error matches [ErrBadRequest] and is not an [*Error]. Network errors wrap the cause
// that net/http reports, without its [net/url.Error]. If ctx was canceled with a cause, only its text is shown. Response
// bodies are limited to 64 MiB, and to 1 MiB outside 2xx; the error of a longer one matches [ErrBodyTooLong]. [Client.Log] has no limit.
//
// # Retries
//
// A request is retried at most [RetryPolicy].MaxRetries times, depending on its outcome:
//
//   - No connection: retried, unless the host does not exist, does not speak TLS or has no valid certificate.
//   - Connection lost, attempt timed out, or a status from 500 on other than 501, 505 and 511: List, Get, Log and Cancel
//     are retried. A Trigger may have taken effect; see below.
//   - 503 with Retry-After: every call is retried.
//   - 429 because of the rate limit: every call is retried. All other calls of the same tier wait, too, except those that
//     start within half a second because their turn has come before.
//   - 401: retried once, if the [TokenSource] then returns another token.
//   - 429 because a reload of the app is pending, 403, and every other 4xx: not retried.
//   - An invalid 2xx response, or an error of the [TokenSource]: not retried.
//   - Redirects are not followed; they are returned as an [*Error].
//
// The backoff doubles from 500 ms to 30 s, with jitter. If the response has Retry-After, that is the wait instead. A
// request is not retried if Retry-After exceeds [RetryPolicy].MaxRetryAfter, or if the retry would start after the
// deadline of the context. If the last attempt had an unsuccessful response, the returned error contains it.
//
// # Triggering once
//
// If the outcome of a trigger is unknown, the client lists the app's newest reloads, several times with waits of half a
// minute in all, and returns the oldest one that was created after the trigger was sent, unless an older one may be it.
// Slow lists and their retries take additional time. Only if every listed reload was created before, it retries the
// trigger. [RetryPolicy].MaxRetries limits all retries of a trigger together. The client never retries one that the
// service responded to with a 2xx.
//
// The client's clock and those of the service may differ. The creation times of the reloads that the client has triggered show
// how the clock of the records differs from its own, as long as the Date header shows that its clock was not set since.
// Otherwise, or if its triggers took long, it assumes that the records have the clock of the Date header, and determines the
// difference to 50 ms and the time of a response, with more lists if necessary. It assumes that the clocks of the service
// are at most 2 s apart, that no clock is set during a call, and that the client's clock is not set by 2 s to 4 s between
// calls if those of the Date header differ. Among several reloads, one with the ResourceID of the request comes first.
//
// The error matches [ErrOutcomeUnknown], and contains the IDs of up to three reloads that may be the triggered one, if
// the outcome cannot be determined:
//
//   - A reload was created up to 2 s before the trigger was sent (up to 3 s, if creation times are whole seconds), or has
//     no creation time, or one in the future. Only a later one with the ResourceID of the request is returned nevertheless.
//   - The oldest possible reload was created more than 33 s after the last attempt had ended.
//   - A reload was created after the trigger, but its partial or ResourceID contradicts the request. A field that the
//     service did not send is not a contradiction, unless it has returned the ResourceID of another request before.
//   - With [Once], a reload that may be the triggered one has no ResourceID.
//   - The possible reload may belong to another call of this client for the same app, which is in progress, or ended in
//     the 33 s before with an outcome that is unknown, too.
//   - A reload was created before a retry of the trigger whose outcome is unknown, too, and is listed only after it.
//   - The two oldest possible reloads were created at the same time.
//   - The clock of the records cannot be determined: the service sends no Date header, or the creation times of the
//     client's own reloads contradict it or each other. Without it, the clocks must be at most 5 minutes apart.
//   - The list has several pages and is visibly not sorted, or more than 200 reloads of the app were created since.
//   - The retry was refused because a reload is pending, or for another final reason, or Retry-After exceeds MaxRetryAfter.
//   - The outcome of the last retry is unknown, too, and no reload is listed.
//   - The service accepted the trigger, but no reload is listed.
//   - The last list failed, came from a cache, or contains an invalid record but no possible reload, or ctx ended before
//     the outcome was determined.
//
// So a call triggers at most one reload, provided that nothing below the client, such as a proxy or the transport of
// [WithHTTPClient], repeats requests, or sends lists from a cache whose Age is 0 or missing although the client forbids that, and
// provided that the service lists a reload within half a minute of the trigger, or refuses another trigger while that reload is
// pending. A trigger that takes effect later, when the reload of its retry has already finished, reloads the app a second time.
// So does one that took effect although the response is a 429 of the rate limit, or a 503 with Retry-After: the client takes
// these for refusals.
//
// The client takes the record of a 2xx response to a trigger for its reload, whatever app that names. Otherwise, what
// the call returns is its own reload, unless somebody else triggers the same app at the same time: if a trigger has no
// effect yet, or its reload is listed late, a reload that somebody else triggers right afterwards can be taken for it. So
// can one that was triggered shortly before, within the precision of creation times (a second, if they are whole seconds)
// and of the clocks (2 s, if one was set since the client's previous trigger). A reload that belongs to another trigger of
// this client, because the service returned it or the client found it, is not taken for it. A [Request].ResourceID that no
// other trigger uses prevents the rest if the service has returned that of an earlier trigger to this client. By its OpenAPI
// document it does, but that is not confirmed. With [Once], the ResourceID alone identifies the reload.
//
// # Rate limits
//
// The service allows each user of a tenant 1000 requests per minute to List, Get and Log together (Tier 1), and 50 each to
// Trigger and Cancel (Special). A client does not start more than that in any minute, unless [WithLimiters] says so. Calls wait
// in order. Each attempt counts, including retries, at its start: before its connection is made, so attempts that wait for
// connections may reach the service together. A read or cancel that net/http repeats by itself, because the service closed a
// reused connection or refused an HTTP/2 stream, counts once. The client gets the token before it waits for the rate limit, so
// that a slow sign-in does not delay requests which then start together. See [WindowLimiter], and [WithLimiters] to share the
// limits between clients that use the same key. The module github.com/reloads-go/reloads/redislimit shares them between
// processes through Redis.
//
// # Waiting
//
// A reload is polled at intervals of 10 % of its age, between 1 s and 15 s ([PollPolicy]). A temporary failure of a
// poll does not end the wait. A wait ends when the reload has finished, when the context ends, after a final refusal,
// after three or more invalid responses in a row over at least a minute, or after an hour in which all polls failed;
// [Client.Watch] has the details. [AttachToPending] waits for a reload that somebody else triggered. [CancelOnAbort]
// cancels the reload when the context ends.
//
// # Batches
//
// [Client.RunAll] triggers reloads as fast as the rate limit allows and yields each [Result] when its reload has finished.
// [Client.RunPlan] does the same for a [Plan], whose steps start after others have succeeded. Steps with the same app run one
// after another. Every step has a result. The error of a step that had no effect because ctx ended matches [ErrNotStarted],
// and that of a step whose predecessor did not succeed matches [ErrSkipped]. [Client.Run] is a batch of one step.
//
// [MaxActive] limits how many reloads are active at once, [StepTimeout] how long each may take, and [Rerun] triggers
// those that FAILED again. [AttachToPending] and [AfterPending] say what to do if an app already has a pending reload.
// With [Once], a program can be killed at any moment and started again without triggering a reload twice.
//
// While a batch tracks four or more reloads, it reads the list of the tenant's reloads that finished last, up to 100 per
// request, if the token may do that and the service sorts the list. In addition, and otherwise instead, it polls the reloads
// one by one, least recently polled first: while the list can be used, one every [PollPolicy].MinInterval, so that a reload
// that the list does not show is noticed late if there are many. Together with the lists of [Once], [AttachToPending] and
// [AfterPending], a batch takes at most 80 % of Tier 1 in any minute for this, plus the retries after a 401. After a poll got a
// 429 or 503 with Retry-After, no further one of these requests starts before that, or MaxRetryAfter, has passed, except the few
// that already wait for the token or the client's rate limit. After a list of the tenant got one, no further such list does.
//
// # Authentication
//
// A [TokenSource] provides the token of each attempt: an [APIKey], a [TokenFunc], or your own. The module
// github.com/reloads-go/reloads/oauth has sources for OAuth 2.0: machine to machine, and impersonation of a user.
//
// # Secrets
//
// This package never prints, logs or forwards a token by itself: not in a client, an option, an error or a panic. The
// token is sent to the scheme, host and port of the tenant URL only. If a failed or invalid response, or an error of the
// transport, repeats the token of an attempt or, after a retry, that of the attempt before it, the token is removed, unless it
// is shorter than 8 bytes. A valid record is returned as the service sent it: if a load script writes a token to the log or to
// an error, the [Reload] and its [ReloadError] contain it. The client does not print or log the values of a [Request]'s
// variables either, but an error of the service may quote one.
//
// # Testing
//
// Package [github.com/reloads-go/reloads/reloadstest] has a fake tenant that follows the rules of the service, for
// tests of programs that use this package.
//
// # Stability
//
// The module follows semantic versioning. Timings (retries, limits, polls) and the texts of errors may change at any
// time. The two latest versions of Go are supported. A newer minor version may require a newer Go. A deprecated
// identifier is marked in a minor version and removed in the next major version at the earliest.
package reloads
