package reloads

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client calls the Reloads API of one tenant. It is safe for concurrent use, and meant to be shared: its rate
// limits hold for all its callers together. It has nothing to close.
type Client struct {
	endpoint       string // of the API, without a slash at its end: https://tenant/api/v1
	token          func(ctx context.Context) (string, error)
	renew          func(ctx context.Context, refused string) (string, error)
	http           *http.Client
	logger         *slog.Logger
	userAgent      string
	header         http.Header // of every request; not modified
	retry          RetryPolicy
	attemptTimeout time.Duration
	limiters       Limiters
	polling        PollPolicy
	bodyLimits     BodyLimits
	bodies         bodies
}

const (
	version               = "0.1.0"
	defaultAttemptTimeout = time.Minute
)

// NewClient returns a client for the tenant at tenantURL, such as https://your-tenant.us.qlikcloud.com, that
// authenticates with tokens of the given source. A path is the prefix of a gateway; a slash or /api/v1 at its end
// changes nothing. http is for loopback hosts only.
//
// It sends nothing. The errors tell which argument is wrong, and match [ErrBadRequest].
func NewClient(tenantURL string, tokens TokenSource, opts ...Option) (*Client, error) {
	endpoint, err := parseTenantURL(tenantURL)
	if err != nil {
		return nil, err
	}
	if f, ok := tokens.(TokenFunc); tokens == nil || ok && f == nil {
		return nil, invalid("tokens", "nil", "a TokenSource is needed, such as an APIKey")
	}
	if key, ok := tokens.(APIKey); ok {
		if err := checkToken(string(key)); err != nil {
			return nil, fmt.Errorf("%w (%w)", err, ErrBadRequest)
		}
	}
	c := &Client{
		endpoint:       endpoint,
		http:           &http.Client{},
		logger:         slog.New(slog.DiscardHandler),
		userAgent:      "reloads-go/" + version,
		retry:          RetryPolicy{MaxRetries: defaultMaxRetries},
		attemptTimeout: defaultAttemptTimeout,
	}
	c.useTokens(tokens)
	for i, opt := range opts {
		if opt == nil {
			return nil, invalid("opts", fmt.Sprintf("[%d]", i), "an option must not be nil")
		}
		if err := opt(c); err != nil {
			return nil, err
		}
	}
	c.complete()
	return c, nil
}

// complete sets what the options left out, and makes the http.Client ours.
func (c *Client) complete() {
	c.retry = c.retry.withDefaults()
	c.polling = c.polling.withDefaults()
	c.bodyLimits = c.bodyLimits.withDefaults()
	if c.limiters.Read == nil {
		c.limiters.Read = NewLimiter(Tier1PerMinute, time.Minute)
	}
	if c.limiters.Trigger == nil {
		c.limiters.Trigger = NewLimiter(SpecialPerMinute, time.Minute)
	}
	if c.limiters.Cancel == nil {
		c.limiters.Cancel = NewLimiter(SpecialPerMinute, time.Minute)
	}
	own := *c.http
	timeout := c.attemptTimeout
	if own.Timeout > 0 && (timeout == 0 || own.Timeout < timeout) {
		timeout = own.Timeout
	}
	own.Timeout = 0 // the transport sees to it, without a goroutine for each request
	own.Transport = newTransport(own.Transport, timeout)
	c.http = &own
	c.header = http.Header{"Accept": {"application/json"}, "User-Agent": {c.userAgent}}
}

// parseTenantURL returns the address that all paths of the API follow.
func parseTenantURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		u = &url.URL{}
	}
	// What else there is may hold a password or a token: it is not repeated.
	shown := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	refuse := func(reason string) (string, error) {
		return "", invalid("tenantURL", strconv.Quote(shown), reason)
	}
	switch {
	case err != nil:
		return refuse("it is no URL")
	case u.User != nil:
		return refuse("it must not hold user info; pass a TokenSource")
	case u.Scheme == "" || u.Opaque != "":
		return refuse("it must begin with https://")
	case u.Scheme != "https" && u.Scheme != "http":
		return refuse("its scheme must be https")
	case u.Hostname() == "":
		return refuse("it has no host")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return refuse("http is for loopback hosts only; use https")
	case u.RawQuery != "" || u.ForceQuery:
		return refuse("it must not have a query")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return refuse("it must not have a fragment")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	path = strings.TrimRight(strings.TrimSuffix(path, "/api/v1"), "/")
	endpoint := (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() + path + "/api/v1"
	if _, err := url.Parse(endpoint); err != nil { // of a zone of an IPv6 address that is not UTF-8, say
		return refuse("its host is none")
	}
	return endpoint, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Option changes a client that is being made. The order of options does not matter; of the same option given
// twice the later one counts. The functions say which values they refuse: NewClient returns that error.
type Option func(*Client) error

// WithHTTPClient sends requests with a copy of hc, which is itself not modified. Its Transport and Jar are used as
// they are, its Timeout holds for each attempt if it is shorter than [WithAttemptTimeout]'s, and its CheckRedirect is
// not: redirects are not followed. Nil is refused. The default has a nil Transport, so [http.DefaultTransport].
func WithHTTPClient(hc *http.Client) Option {
	return func(c *Client) error {
		if hc == nil {
			return invalid("WithHTTPClient", "nil", "an *http.Client is needed")
		}
		c.http = hc
		return nil
	}
}

// WithLogger logs to logger: a line at debug for each attempt, one at warn for each retry, pause and failed poll.
// No line has a token, a query or a body. Nil is refused. The default logs nothing.
func WithLogger(logger *slog.Logger) Option {
	return func(c *Client) error {
		if logger == nil {
			return invalid("WithLogger", "nil", "a *slog.Logger is needed")
		}
		c.logger = logger
		return nil
	}
}

// WithUserAgent puts product, such as "nightly/1.4", before the client's own product in the User-Agent header.
// An empty product, and one with control characters, is refused.
func WithUserAgent(product string) Option {
	return func(c *Client) error {
		if product == "" || strings.ContainsFunc(product, func(r rune) bool { return r < ' ' || r > '~' }) {
			return invalid("WithUserAgent", fmt.Sprintf("%q", product), "it must be printable ASCII, and not empty")
		}
		c.userAgent = product + " reloads-go/" + version
		return nil
	}
}

// WithRetry sets how often and when a request is sent again; see [RetryPolicy], which also tells the default.
func WithRetry(p RetryPolicy) Option {
	return func(c *Client) error {
		if err := p.validate(); err != nil {
			return err
		}
		c.retry = p
		return nil
	}
}

// WithAttemptTimeout limits the time of each attempt, from dialling to the last byte of the answer; waiting for
// the rate limit and between attempts does not count, and neither does reading what [Client.Log] returns. 0 means no
// limit, the default is one minute; a negative one is refused. The error of an attempt that took longer is a
// [net.Error] whose Timeout method returns true; it is no [context.DeadlineExceeded], which is the caller's own deadline.
func WithAttemptTimeout(d time.Duration) Option {
	return func(c *Client) error {
		if d < 0 {
			return invalid("WithAttemptTimeout", d.String(), "it must not be negative")
		}
		c.attemptTimeout = d
		return nil
	}
}

// WithLimiters replaces the client's limiters; one that is nil keeps its default. To share them between clients,
// give the same ones to each.
func WithLimiters(l Limiters) Option {
	return func(c *Client) error {
		c.limiters = l
		return nil
	}
}

// WithPolling sets how often Watch, Wait, Run and the batches look at a reload; see [PollPolicy], which also tells the default.
func WithPolling(p PollPolicy) Option {
	return func(c *Client) error {
		if err := p.validate(); err != nil {
			return err
		}
		c.polling = p
		return nil
	}
}

// WithBodyLimits sets how much is read of an answer; see [BodyLimits], which also tells the default. A negative limit
// is refused.
func WithBodyLimits(l BodyLimits) Option {
	return func(c *Client) error {
		if l.Answer < 0 || l.Error < 0 {
			return invalid("WithBodyLimits", fmt.Sprintf("%+v", l), "a limit must not be negative")
		}
		c.bodyLimits = l
		return nil
	}
}
