package reloads

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Client calls the Reloads API of one tenant. It is safe for concurrent use and meant to be shared: its rate limits
// apply to all its callers together. It does not need to be closed. Create one with [NewClient]; the zero value cannot
// be used. For an invalid argument, such as an empty ID, a method returns an error that matches [ErrBadRequest].
type Client struct {
	request        *http.Request // what all requests have in common
	path           string        // of the API, escaped, without a trailing slash: /api/v1
	tokens         tokens
	http           *http.Client
	logger         *slog.Logger
	userAgent      string
	retry          RetryPolicy
	attemptTimeout time.Duration
	limiters       Limiters
	polling        PollPolicy
	calls          sync.Pool // of *call
	records        recordClock
	seen           seenReloads
	hints          hints
}

const version = "0.1.0"

// NewClient returns a client for the tenant at tenantURL, such as https://your-tenant.us.qlikcloud.com. It
// authenticates with the tokens of source.
//
// tenantURL may have a path, the prefix of a gateway. A slash or /api/v1 at its end is ignored. The scheme http is
// allowed for loopback hosts only.
//
// NewClient sends nothing. Its errors name the invalid argument, and match [ErrBadRequest].
func NewClient(tenantURL string, source TokenSource, opts ...Option) (*Client, error) {
	endpoint, err := parseTenantURL(tenantURL)
	if err != nil {
		return nil, err
	}
	request, _ := http.NewRequest(http.MethodGet, endpoint, nil) //nolint:noctx // each call has its context; the endpoint is valid
	tokens, err := newTokens(source)
	if err != nil {
		return nil, err
	}
	c := &Client{
		request:        request,
		path:           request.URL.EscapedPath(),
		tokens:         tokens,
		http:           &http.Client{},
		logger:         slog.New(slog.DiscardHandler),
		userAgent:      "reloads-go/" + version,
		retry:          RetryPolicy{MaxRetries: defaultMaxRetries},
		attemptTimeout: defaultAttemptTimeout,
		hints:          hints{listeners: map[*func(string)]struct{}{}},
		seen:           seenReloads{byID: map[string]seenReload{}, calls: map[string]appCalls{}},
	}
	for i, opt := range opts {
		if opt == nil {
			return nil, invalid("opts", fmt.Sprintf("[%d]", i), "an option must not be nil")
		}
		if err := opt(c); err != nil {
			return nil, err
		}
	}
	c.retry = c.retry.withDefaults()
	c.polling = c.polling.withDefaults()
	c.limiters = c.limiters.withDefaults()
	c.http = withTransport(c.http, c.attemptTimeout)
	c.request.Header = http.Header{"Accept": {"application/json"}, "User-Agent": {c.userAgent}}
	return c, nil
}

// parseTenantURL returns the endpoint: the address that the paths of the API are appended to.
func parseTenantURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		u = &url.URL{}
	}
	// The other parts may contain a password or a token, so the error does not show them.
	shown := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.Host == "" && len(s) > 64 { // it may be an API key
		shown = shorten(shown, 4)
	}
	refuse := func(reason string) (string, error) {
		return "", invalid("tenant URL", strconv.Quote(shown), reason)
	}
	switch {
	case err != nil:
		return refuse("is not a valid URL")
	case u.User != nil:
		return refuse("must not contain user info; pass a TokenSource")
	case u.Scheme == "" || u.Opaque != "":
		return refuse("must begin with https://")
	case u.Scheme != "https" && u.Scheme != "http":
		return refuse("the scheme must be https")
	case u.Hostname() == "":
		return refuse("must have a host")
	case u.Scheme == "http" && !strings.EqualFold(u.Hostname(), "localhost") && !net.ParseIP(u.Hostname()).IsLoopback():
		return refuse("http is allowed for loopback hosts only; use https")
	case u.RawQuery != "" || u.ForceQuery:
		return refuse("must not have a query")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return refuse("must not have a fragment")
	}
	u.Host = strings.ToLower(u.Host) // net/http sends requests to Localhost through a proxy, but not those to localhost
	path := strings.TrimRight(u.EscapedPath(), "/")
	path = strings.TrimRight(strings.TrimSuffix(path, "/api/v1"), "/")
	endpoint := (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() + path + "/api/v1"
	if _, err := url.Parse(endpoint); err != nil { // for example an IPv6 zone that is not UTF-8
		return refuse("the host is not valid")
	}
	return endpoint, nil
}

// Option configures a client. The order of options does not matter. If an option is given twice, the later one applies.
// Each option documents which values it refuses; NewClient returns the error.
type Option func(*Client) error

// WithHTTPClient sends requests with a copy of hc. hc itself is not modified. Its Transport and Jar are used. Its
// Timeout applies to each attempt if it is shorter than that of [WithAttemptTimeout]. Its CheckRedirect is ignored,
// because redirects are not followed. Nil is refused. The default uses [http.DefaultTransport]. If a Transport reports to
// [net/http/httptrace] that a trigger requested a connection, it must report the one that sends the trigger, too.
// Otherwise, the client assumes that the trigger was not sent.
//
// An [http.Transport] does not end a dial or handshake with its request. Clone the default one, or set a timeout in its
// DialContext, and TLSHandshakeTimeout. Otherwise, or if a SOCKS proxy does not respond, each attempt can leave a connection.
func WithHTTPClient(hc *http.Client) Option {
	return func(c *Client) error {
		if hc == nil {
			return invalid("WithHTTPClient", "nil", "an *http.Client is required")
		}
		c.http = hc
		return nil
	}
}

// WithLogger logs to logger: each attempt at level debug; each retry, pause and failed poll at level warn. No record
// contains a token or a body, or a query unless the base transport's error quotes it. Nil is refused. By default nothing is logged.
func WithLogger(logger *slog.Logger) Option {
	return func(c *Client) error {
		if logger == nil {
			return invalid("WithLogger", "nil", "a *slog.Logger is required")
		}
		c.logger = logger
		return nil
	}
}

// WithUserAgent prefixes the User-Agent header with product, such as "nightly/1.4". An empty product is refused, and
// so is one with characters other than printable ASCII.
func WithUserAgent(product string) Option {
	return func(c *Client) error {
		if product == "" || strings.ContainsFunc(product, func(r rune) bool { return r < ' ' || r > '~' }) {
			return invalid("WithUserAgent", strconv.Quote(product), "must be printable ASCII and not empty")
		}
		c.userAgent = product + " reloads-go/" + version
		return nil
	}
}

// WithRetry sets how often and when a request is retried. See [RetryPolicy] for the default. Negative values are
// refused, and so is a MinBackoff above MaxBackoff.
func WithRetry(p RetryPolicy) Option {
	return func(c *Client) error {
		c.retry = p
		return p.validate()
	}
}

// WithAttemptTimeout limits the duration of each attempt, from dialing to the last byte of the response. It does not
// limit waiting for the rate limit, waiting between attempts, or reading the result of [Client.Log]. 0 means no limit.
// The default is one minute. A negative duration is refused. The body of an error is read for at most 5 s, even without a
// limit, unless ctx has a deadline that ends the attempt before its limit.
//
// The error of an attempt that took too long is a [net.Error] whose Timeout method returns true. It does not match
// [context.DeadlineExceeded], which means the caller's own deadline.
func WithAttemptTimeout(d time.Duration) Option {
	return func(c *Client) error {
		if d < 0 {
			return invalid("WithAttemptTimeout", d.String(), mustNotBeNegative)
		}
		c.attemptTimeout = d
		return nil
	}
}

// WithLimiters replaces the client's limiters. A nil limiter means the default, see [Limiters]. Give several clients
// the same limiters to share them.
func WithLimiters(l Limiters) Option {
	return func(c *Client) error {
		c.limiters = l
		return nil
	}
}

// WithPolling sets how often Watch, Wait, Run and the batches poll a reload. See [PollPolicy] for the default.
// Negative values are refused, and so is a MinInterval above MaxInterval.
func WithPolling(p PollPolicy) Option {
	return func(c *Client) error {
		c.polling = p
		return p.validate()
	}
}

// seenReloads remembers the reloads in the responses to triggers, and in the lists after them.
type seenReloads struct {
	mu        sync.Mutex
	byID      map[string]seenReload // the ID in lower case, because responses may spell it differently
	calls     map[string]appCalls   // by the app, in lower case
	resources atomic.Bool           // the service returns the ResourceID of a request
}

type seenReload struct {
	at          time.Time // of the first response that contained it; zero if there was none
	own         bool      // it belongs to a trigger: it was the response, or was found afterwards
	end, failed bool      // it has finished, and did not succeed
}

// appCalls are the triggers of an app.
type appCalls struct {
	running int
	unknown time.Time // when the most recent one ended whose outcome stayed unknown; zero if none did
}

// rememberSeen is how long a reload is remembered at least. It is longer than a trigger takes.
const rememberSeen = 3 * time.Hour

// add remembers a reload. It returns false if the reload belongs to another trigger.
func (n *seenReloads) add(id string, own bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if len(n.byID)%1000 == 999 {
		maps.DeleteFunc(n.byID, func(_ string, r seenReload) bool { return now.Sub(r.at) > rememberSeen })
	}
	id = strings.ToLower(id)
	known, ok := n.byID[id]
	if !ok {
		known.at = now
	}
	free := !known.own
	known.own = known.own || own
	n.byID[id] = known
	return free
}

func (n *seenReloads) get(id string) seenReload {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byID[strings.ToLower(id)]
}

// end records that a reload has finished, if it is remembered.
func (n *seenReloads) end(r *Reload) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known, ok := n.byID[strings.ToLower(r.ID)]; ok {
		known.end, known.failed = true, r.Err() != nil
		n.byID[strings.ToLower(r.ID)] = known
	}
}

// call counts the triggers in progress of an app: change is 1 or -1. unknown means that the outcome of the one that ends
// is unknown.
func (n *seenReloads) call(app string, change int, unknown bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	app, now := strings.ToLower(app), time.Now()
	c := n.calls[app]
	if c.running += change; unknown {
		c.unknown = now
	}
	if n.calls[app] = c; len(n.calls)%1000 == 999 {
		maps.DeleteFunc(n.calls, func(_ string, c appCalls) bool { return c.running == 0 && now.Sub(c.unknown) > lateEffect })
	}
}

// lateEffect is how long after the end of a call whose outcome is unknown its reload may be created: half a minute, like in
// a reconciliation, and how much later its creation time may be, because of the clocks and its precision.
const lateEffect = 30*time.Second + clockTolerance + time.Second

// alone reports whether no other trigger of the app may have a reload that is not known, since one that is in progress began.
func (n *seenReloads) alone(app string, since time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.calls[strings.ToLower(app)]
	return c.running == 1 && since.Sub(c.unknown) > lateEffect
}
