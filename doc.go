// Package reloads is a client of the Qlik Cloud Reloads API, which refreshes the data of apps: list reloads,
// trigger one, get one, cancel one, and wait for what was triggered.
//
// # Getting started
//
//	client, err := reloads.NewClient("https://your-tenant.us.qlikcloud.com", reloads.APIKey(os.Getenv("QLIK_API_KEY")))
//	if err != nil {
//		return err
//	}
//	reload, err := client.Run(ctx, reloads.Request{AppID: "116dbfae-7fb9-4983-8e23-5ccd8c508722"})
//
// A [Client] is safe for concurrent use and meant to be shared. Each of its methods takes a context, which is the
// only limit on how long the call may take as a whole.
//
// # The calls
//
// [Client.Trigger], [Client.Get], [Client.Cancel] and [Client.List] are the four endpoints. [Client.Pages] and
// [Client.All] iterate over a whole list. [Client.Run] triggers a reload and waits for its end, [Client.Wait] waits
// for one that exists, and [Client.Watch] shows each change of its status on the way. [Client.RunAll] and
// [Client.WaitAll] do so for many at once.
//
// [Client.Log] is the one call outside the four endpoints: it streams the full log of a reload, which the Apps API has.
// The log of a record is only a summary, whose figures [Reload.Summary] reads.
//
// # Errors
//
// An [*Error] is an answer of the service that is not the one that was asked for, a [*ReloadError] a reload that ended
// otherwise than SUCCEEDED. [errors.Is] tells their classes apart, such as [ErrNotFound], [ErrReloadPending] or
// [ErrReloadFailed], and asks for a single [Code]. An argument that the service would refuse is [ErrBadRequest] without
// an [*Error]: nothing was sent. Failures of the network come as net/http reports them, wrapped. Of an answer's body
// at most 64 MiB are read, of an error's 1 MiB ([BodyLimits]); a longer one is [ErrBodyTooLong].
//
// # Retries
//
// What happened to a request decides whether it is sent again, at most [RetryPolicy].MaxRetries times:
//
//   - It was never sent (no connection): again. A certificate that does not fit: not again.
//   - The connection was lost, the attempt timed out, or the answer is 500, 502 or 504: List, Get, Log and Cancel again.
//     A Trigger may have taken effect, so the client looks for the reload first; see below.
//   - 503: as above; with Retry-After, all of them again.
//   - 429 of the rate limit: again, after Retry-After, and every other call of the same tier waits, too.
//   - 429 because a reload of the app is pending, 403, and every other 4xx: not again.
//   - 401: once more, if the [TokenSource] then has another token.
//   - A redirect: an [*Error]. Redirects are not followed.
//
// The wait doubles from 500 ms to 30 s, with jitter, or is what Retry-After says, if that is no more than
// [RetryPolicy].MaxRetryAfter. A retry that could not start before the context's deadline is not waited for. The error
// always tells the service's last answer.
//
// # Triggering once
//
// When it is unclear whether a trigger took effect, the client lists the app's newest reloads, at once and again for
// half a minute (3 s after a 500 or 503 answer), and returns the one that the trigger made. Only if there is none it
// sends the trigger again. The Date header of the service's answers tells how its clock relates to the client's,
// whatever their difference; a reload that was created before the trigger was sent is not taken for it. What cannot be
// decided, or not before ctx ends, is [ErrOutcomeUnknown].
//
// So a call makes one reload at the most, and what it returns was created after it was called, provided that
//
//   - the service lists a reload within half a minute of the trigger that made it, or refuses another trigger while
//     that reload is pending;
//   - nobody else triggers the same app through the API, with the same value of partial, in the 50 ms before the
//     trigger is sent, or in as much time as an answer takes if that is longer. With a [Request].ResourceID that
//     no other trigger has, this does not matter.
//
// Two things no client can prevent. A trigger that takes effect after more than half a minute, and after the reload
// that was triggered in its stead has ended, reloads the app a second time. And where a trigger had no effect, a
// reload that somebody else triggers through the API right after it may be taken for it.
//
// # Rate limits
//
// The service allows each user 1000 requests a minute to List, Get and Log together (Tier 1), and 50 to each of Trigger
// and Cancel (Special). A client never starts more than that in any minute, whatever the pattern of its calls: they wait
// in order of their calls. Each attempt counts, retries too. See [WindowLimiter], and [WithLimiters] to share the
// limits between clients that use the same key. Processes share them through Redis with the module
// github.com/reloads-go/reloads/redislimit.
//
// # Waiting
//
// A reload is looked at in steps of a tenth of its age, between 1 s and 15 s ([PollPolicy]). A look that fails is no
// failed reload: waiting goes on until the reload has ended or the context has. [AttachToPending] waits for a reload
// that somebody else has triggered, [CancelOnAbort] cancels the reload when the context ends.
//
// # Batches
//
// [Client.RunAll] triggers as fast as the rate limit allows and yields each [Result] as its reload ends; requests for the
// same app run one after the other. Many reloads are followed by listing the active ones of the tenant, 100 a request, if
// the token may do so, and else one by one, within four fifths of the rate limit. Every request has a result, whatever
// happens: what was not triggered is [ErrNotStarted].
//
// # Signing in
//
// A [TokenSource] gives the token of each attempt: an [APIKey], or a [TokenFunc] of one's own. The module
// github.com/reloads-go/reloads/oauth has sources for OAuth2: machine to machine, and impersonation of a user.
//
// # Secrets
//
// Nothing here prints, logs or forwards a token: not the client, its options, an error or a panic. The token goes to
// the scheme, host and port of the tenant's URL, and nowhere else. The values of a [Request]'s variables are not
// printed or logged either.
//
// # Testing
//
// Package [github.com/reloads-go/reloads/reloadstest] has a fake tenant that keeps the rules of the service, for
// the tests of programs that use this package.
//
// # Stability
//
// The module follows semantic versioning. The timings above (retries, limits, polls) are no part of the promise, and
// neither are the texts of errors. The two latest versions of Go are supported; a newer minor version may need a newer
// Go. What is deprecated is marked so in a minor version, and goes in the next major one at the earliest.
package reloads
