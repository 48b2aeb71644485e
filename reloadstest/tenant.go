// Package reloadstest provides a fake tenant of the Reloads API. It is for testing programs that use package reloads.
//
// A [Tenant] is both an [http.Handler] and an [http.RoundTripper] that works in memory. It follows the rules of the
// service: the statuses of a reload, one pending reload per app, quotas, filters, sorting, cursors, rate limits, roles
// and error bodies. Where the API documentation does not specify an error code, the tenant uses the general form of the
// platform, such as HTTP-404.
//
// A Tenant does nothing in the background, except that it delivers events if it has a [Webhook]. It computes the status of a
// reload from the current time when it handles a request. It therefore works inside a [testing/synctest] bubble, where a
// reload of three hours takes no time.
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

// DefaultToken is a token that every tenant accepts. Its role is TenantAdmin, unless [WithToken] sets another one. It is
// not a secret.
const DefaultToken = "test-token-of-a-tenant-admin"

// Role determines which requests a token allows. The zero value is TenantAdmin.
type Role int

// The roles.
const (
	// TenantAdmin allows every request.
	TenantAdmin Role = iota
	// User allows every request except a list without appId, which gets a 400 response.
	User
	// Forbidden allows no request. The response is 403 with code RELOADS-003.
	Forbidden
	// Expired allows no request. The response is 401.
	Expired
)

// Tenant is a fake tenant. Create one with [NewTenant]; the zero value is not usable. It is safe for concurrent use and
// does not need to be closed.
type Tenant struct {
	settings
	roles map[[sha256.Size]byte]Role // by hash of the token, so that printing a Tenant reveals no token

	mu         sync.Mutex
	apps       map[string]*app
	records    []*record            // in order of creation time, then ID
	byID       map[string]*record   // the same records by reload ID
	byApp      map[string][]*record // the same records by app ID, in the same order
	late       []lateTrigger        // in the order in which they take effect
	faults     []*Fault             // not used up yet, in the order in which they were injected
	meters     map[Operation]*meter // by operation; List, Get and Log share one
	requests   []Request
	webhooks   []func(reloads.Reload) // each delivers the event of a finished reload
	deliveries []Delivery
	lastID     int // the number in the most recent generated reload ID
	oauth      map[string]*oauthClient
	expires    map[[sha256.Size]byte]time.Time // expiry of each token issued by OAuth2, by hash of the token
	issued     int                             // how many tokens were issued
}

// NewTenant returns a tenant without apps and reloads.
func NewTenant(opts ...Option) *Tenant {
	t := &Tenant{
		roles:   map[[sha256.Size]byte]Role{},
		apps:    map[string]*app{},
		byID:    map[string]*record{},
		byApp:   map[string][]*record{},
		oauth:   map[string]*oauthClient{},
		expires: map[[sha256.Size]byte]time.Time{},
	}
	t.settings = settings{period: time.Minute, limits: map[Operation]rate{}, triggerType: reloads.TypeExternal}
	WithToken(DefaultToken, TenantAdmin)(t)
	for _, opt := range opts {
		opt(t)
	}
	t.meters = newMeters(t.metering, t.period, t.limits)
	return t
}

// Token returns [DefaultToken].
func (t *Tenant) Token() string { return DefaultToken }

// NewClient returns a client of the tenant. It authenticates with [DefaultToken] and calls the tenant in memory, without a
// network connection. Its minimum poll interval is 10 ms, so that tests in real time are fast. The options in opts are
// applied last and override these settings. NewClient panics if an option is invalid, because that is a mistake in the
// test.
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

// AddApp adds an app whose reloads behave as script says. With the zero App, every reload succeeds immediately. Calling
// AddApp again with the same id replaces the script for reloads that are triggered later. Reloads that exist keep theirs.
func (t *Tenant) AddApp(id string, script App) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.applyLateTriggers() // triggers that took effect before this call use the previous script
	if a := t.apps[id]; a != nil {
		a.script = script
		return
	}
	t.apps[id] = &app{script: script}
}

// AddReload adds a reload to the history and returns it. A missing ID, TenantID, UserID or CreationTime is generated. The
// app does not need to exist. If there is a reload with the ID of r, AddReload replaces it, even if it was triggered and
// is pending.
//
// The added reload never changes. If its status is not terminal, it never finishes, it cannot be canceled, and it does
// not count as a pending reload of its app. Use [Tenant.Trigger] for a reload that follows the script of its app.
func (t *Tenant) AddReload(r reloads.Reload) reloads.Reload {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(r.ID)
	return t.add(r, App{}, false).Reload
}

// Trigger triggers a reload of an app without a request, as another user would in the hub. The reload follows the script
// of the app. Fields that the script does not determine, such as ID or ResourceID, are taken from r. If r has no Type, it
// is "hub"; if r has no UserID, it is "SomebodyElse".
//
// Trigger returns false if the app does not exist or has a pending reload, or if there is a reload with the ID of r. The
// reload counts toward the quota of the app, but Trigger also works when the quota is used up.
func (t *Tenant) Trigger(appID string, r reloads.Reload) (reloads.Reload, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.applyLateTriggers()
	a := t.apps[appID]
	if a == nil || a.pending(t.now()) || t.byID[r.ID] != nil {
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

// Reloads returns all reloads in their current state, in order of their creation times. They are complete, even if the
// responses of the tenant are not; see [WithListLag], [WithOmittedFields] and [WithTimePrecision]. The caller owns the
// result.
func (t *Tenant) Reloads() []reloads.Reload {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.applyLateTriggers()
	now := t.now()
	all := make([]reloads.Reload, 0, len(t.records))
	for _, rec := range t.records {
		all = append(all, rec.at(now))
	}
	return all
}

// Requests returns all requests that the tenant received, oldest first. It includes requests that were refused or hit by
// a [Fault]. The caller owns the slice, but must not modify the bodies.
func (t *Tenant) Requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.requests)
}

// clock returns the time of the tenant's clock.
func (t *Tenant) clock() time.Time { return time.Now().Add(t.clockSkew).UTC() }

// now returns the time of the clock that determines the times in records. They have a precision of one millisecond.
func (t *Tenant) now() time.Time { return t.clock().Add(t.recordClockSkew).Truncate(time.Millisecond) }
