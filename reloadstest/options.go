package reloadstest

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/reloads-go/reloads"
)

// Option configures a [Tenant]. Without options, a tenant behaves as the service is documented or was observed. Options can
// be combined in any order. No value is invalid. If an option is given more than once, the last one counts, unless its
// comment says otherwise.
type Option func(*Tenant)

// settings are what options configure, except for tokens. They do not change after [NewTenant].
type settings struct {
	clockSkew         time.Duration // the tenant's clock minus the clock of the process
	recordClockSkew   time.Duration // the clock of the times in records minus the tenant's clock
	relativeLinks     bool
	metering          Metering
	period            time.Duration
	limits            map[Operation]rate // the limits of WithRateLimit
	listLag           time.Duration
	timePrecision     time.Duration
	triggerType       reloads.Type
	omittedFields     []string
	ignoredParameters []string
}

// WithToken makes the tenant accept token, with the given role. It can be given more than once. If it is given more than
// once with the same token, the last role counts; this includes [DefaultToken].
func WithToken(token string, role Role) Option {
	return func(t *Tenant) { t.roles[sha256.Sum256([]byte(token))] = role }
}

// WithClockSkew sets the tenant's clock ahead of the clock of the process by d, or behind it if d is negative. The clock
// determines the Date headers and the times in records. The default is 0. See also [WithRecordClockSkew].
func WithClockSkew(d time.Duration) Option { return func(t *Tenant) { t.clockSkew = d } }

// WithRecordClockSkew sets the clock of the times in records ahead of the tenant's clock by d, or behind it if d is negative.
// The Date headers keep showing the tenant's clock, which [WithClockSkew] sets. d is rounded down to milliseconds, like all
// times that the tenant generates. Times that are given to [Tenant.AddReload] are not changed. The default is 0.
func WithRecordClockSkew(d time.Duration) Option { return func(t *Tenant) { t.recordClockSkew = d } }

// WithRelativeLinks makes the links in responses paths without a scheme and host. By default, they are absolute URLs.
func WithRelativeLinks() Option { return func(t *Tenant) { t.relativeLinks = true } }

// WithMetering sets the algorithm and the period of the rate limits. In each period the tenant accepts 1000 List, Get and
// Log requests together, 50 Trigger requests and 50 Cancel requests. The default is [SlidingWindow] over one minute. A
// period of 0 or less disables the rate limits. All tokens share the limits, as if they belonged to one user. Signing in
// is not limited. [WithRateLimit] sets the requests and the period of one operation.
func WithMetering(m Metering, period time.Duration) Option {
	return func(t *Tenant) { t.metering, t.period = m, period }
}

// WithRateLimit sets the rate limit of an operation: in each period the tenant accepts that many requests. It takes
// precedence over [WithMetering], which still sets the algorithm. A number below 1 counts as 1. A period of 0 or less
// disables the rate limit of the operation.
//
// List, Get and Log share one rate limit, so each of them sets it for all three. The other operations with a rate limit are
// Trigger and Cancel; for any other value of op, the option has no effect. It can be given once for each rate limit.
//
// The service is documented to meter triggers over five minutes, and to accept up to 250 of them in that time:
//
//	reloadstest.WithRateLimit(reloadstest.Trigger, 250, 5*time.Minute)
func WithRateLimit(op Operation, requests int, period time.Duration) Option {
	return func(t *Tenant) {
		for _, tier := range tiers {
			if slices.Contains(tier.operations, op) {
				t.limits[tier.operations[0]] = rate{max(1, requests), period}
			}
		}
	}
}

// WithListLag delays the appearance of new reloads in lists: a list contains a reload from d after its creation time on.
// Everything else knows the reload immediately: it can be read and canceled, and the app has a pending reload. Lists show the
// current state of the reloads that they contain. The option also applies to reloads that [Tenant.AddReload] and
// [Tenant.Trigger] add. The default is 0; 0 or less means that a reload is listed immediately.
func WithListLag(d time.Duration) Option { return func(t *Tenant) { t.listLag = d } }

// WithTimePrecision rounds the times of records in responses down to multiples of d, such as [time.Second]. It does not change
// what [Tenant.Reloads] returns, the order of lists, or when the status of a reload changes. The default is 0; 0 or less
// means full precision, which is one millisecond for times that the tenant generates.
func WithTimePrecision(d time.Duration) Option { return func(t *Tenant) { t.timePrecision = d } }

// WithTriggerType sets the type of reloads that are triggered by a request. The default is [reloads.TypeExternal], as the API
// reference says; "" means the default, too. Examples of the vendor also show [reloads.TypeHub] and [reloads.TypeChronos].
func WithTriggerType(typ reloads.Type) Option {
	return func(t *Tenant) {
		if t.triggerType = typ; typ == "" {
			t.triggerType = reloads.TypeExternal
		}
	}
}

// WithOmittedFields leaves fields out of the records in all responses. The names are those of the JSON, such as "partial",
// "resourceId", "type" or "links". The case of letters matters. A name that a record does not have has no effect. Fields
// that the API requires, such as "id", can be left out, too. Filters and sorting still use the values, and [Tenant.Reloads]
// returns them. If the option is given more than once, all names count. By default, no field is left out.
func WithOmittedFields(names ...string) Option {
	return func(t *Tenant) { t.omittedFields = append(t.omittedFields, names...) }
}

// WithIgnoredParameters makes List ignore query parameters, such as "sort" or "filter", as if the request did not contain
// them. An invalid value is not refused then. The links to other pages still contain the parameters. The case of letters
// matters. A name that is not a parameter of List has no effect. If the option is given more than once, all names count. By
// default, no parameter is ignored.
func WithIgnoredParameters(names ...string) Option {
	return func(t *Tenant) { t.ignoredParameters = append(t.ignoredParameters, names...) }
}
