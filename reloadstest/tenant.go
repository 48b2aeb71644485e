// Package reloadstest has a fake tenant of the Reloads API, for the tests of programs that use package reloads.
//
// A [Tenant] is an [http.Handler] and an in-memory [http.RoundTripper]. It keeps the rules of the service: the states
// of a reload, one pending reload per app, quotas, filters, order, cursors, rate limits, roles and the bodies of
// errors. What is not known of the service, such as the code of a 404, is the platform's general form ("HTTP-404").
//
// It does nothing by itself: the state of a reload follows from the time at which somebody looks. So it works
// inside [testing/synctest], where a reload of three hours takes no time.
package reloadstest

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/reloads-go/reloads"
)

// DefaultToken is the token that every tenant knows, a TenantAdmin's. It is no secret.
const DefaultToken = "test-token-of-a-tenant-admin"

// Role is what a token allows.
type Role int

// The roles.
const (
	TenantAdmin Role = iota // everything
	User                    // everything but a list without appId: 400
	Forbidden               // nothing: 403, RELOADS-003
	Expired                 // nothing: 401
)

// Tenant is a fake tenant. It is made by [NewTenant] and safe for concurrent use; there is nothing to close.
type Tenant struct {
	skew          time.Duration
	relativeLinks bool
	roles         map[[sha256.Size]byte]Role // by the hash of the token, so that nothing can print one

	mu       sync.Mutex
	apps     map[string]*app
	records  []*record // by time of creation
	byID     map[string]*record
	byApp    map[string][]*record
	late     []lateTrigger
	faults   []*Fault
	meters   map[Operation]*meter
	requests []Request
	lastID   int
	oauth    map[string]*oauthClient
	expires  map[[sha256.Size]byte]time.Time // of the tokens that were issued, by their hash
	issued   int
}

// Option sets up a [Tenant].
type Option func(*Tenant)

// WithToken adds a token of a role.
func WithToken(token string, role Role) Option {
	return func(t *Tenant) { t.roles[sha256.Sum256([]byte(token))] = role }
}

// WithClockSkew sets the tenant's clock, so its Date headers and the times of its records, ahead by d; behind if d is
// negative.
func WithClockSkew(d time.Duration) Option { return func(t *Tenant) { t.skew = d } }

// WithRelativeLinks writes links as paths. Without it they are whole URLs.
func WithRelativeLinks() Option { return func(t *Tenant) { t.relativeLinks = true } }

// WithMetering sets how, and over which period, the tenant counts requests against its limits; see [Metering]. The
// default is SlidingWindow over one minute. A period of 0 or less limits nothing. All tokens are one user's, so they
// share the limits.
func WithMetering(m Metering, period time.Duration) Option {
	return func(t *Tenant) { t.meters = newMeters(m, period) }
}

// NewTenant returns a tenant without apps.
func NewTenant(opts ...Option) *Tenant {
	t := &Tenant{
		roles:   map[[sha256.Size]byte]Role{},
		apps:    map[string]*app{},
		byID:    map[string]*record{},
		byApp:   map[string][]*record{},
		oauth:   map[string]*oauthClient{},
		expires: map[[sha256.Size]byte]time.Time{},
		meters:  newMeters(SlidingWindow, time.Minute),
	}
	WithToken(DefaultToken, TenantAdmin)(t)
	for _, opt := range opts {
		opt(t)
	}
	return t
}

// Token returns [DefaultToken].
func (t *Tenant) Token() string { return DefaultToken }

// NewClient returns a client of the tenant that uses the default token and no socket. It polls every 10 ms at first,
// so that tests in real time do not wait; opts come after that and may say otherwise. As with other mistakes in
// the setup of a test, an option that is refused panics.
func (t *Tenant) NewClient(opts ...reloads.Option) *reloads.Client {
	opts = slices.Concat([]reloads.Option{
		reloads.WithHTTPClient(&http.Client{Transport: t}),
		reloads.WithPolling(reloads.PollPolicy{MinInterval: 10 * time.Millisecond}),
	}, opts)
	client, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey(DefaultToken), opts...)
	if err != nil {
		panic(fmt.Sprintf("reloadstest: %v", err))
	}
	return client
}

// AddApp adds an app whose reloads go by a script; the zero App succeeds at once. A script that is given again holds
// for the reloads that are triggered from then on.
func (t *Tenant) AddApp(id string, script App) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle() // what was triggered before goes by the script of its time
	if a := t.apps[id]; a != nil {
		a.script = script
		return
	}
	t.apps[id] = &app{script: script}
}

// AddReload adds a record to the history and returns it; what it lacks of an id, tenant, user and time of creation is
// made up. Otherwise it stays as it is: one that is active never ends, cannot be cancelled, and is no pending reload of
// its app, which need not have been added. An id that is given must be a new one. See [Tenant.Trigger] for a reload
// that goes by its app's script.
func (t *Tenant) AddReload(r reloads.Reload) reloads.Reload {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.add(r, App{}, false).Reload
}

// Trigger triggers a reload of an app as somebody else would, in the hub: r says what is different about it. It reports
// false if the app is unknown or has a pending reload. It counts against the app's quota, but is not refused by it.
func (t *Tenant) Trigger(appID string, r reloads.Reload) (reloads.Reload, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle()
	a := t.apps[appID]
	if a == nil || a.pending(t.now()) {
		return reloads.Reload{}, false
	}
	r.AppID = appID
	if r.Type == "" {
		r.Type = reloads.TypeHub
	}
	if r.UserID == "" {
		r.UserID = "SomebodyElse"
	}
	rec := t.add(r, a.script, true)
	return rec.at(t.now()), true
}

// Reloads returns all records as they are now, in the order of their creation.
func (t *Tenant) Reloads() []reloads.Reload {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle()
	now := t.now()
	all := make([]reloads.Reload, 0, len(t.records))
	for _, rec := range t.records {
		all = append(all, rec.at(now))
	}
	return all
}

// Requests returns what was received, oldest first.
func (t *Tenant) Requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.requests)
}

// now is the time by the tenant's clock, in the milliseconds that its records have.
func (t *Tenant) now() time.Time { return time.Now().Add(t.skew).UTC().Truncate(time.Millisecond) }
