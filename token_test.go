package reloads_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
)

func TestAPIKeyDoesNotPrintItself(t *testing.T) {
	t.Parallel()
	key := reloads.APIKey(testToken)
	encoded, err := json.Marshal(map[string]any{"key": key, "pointer": &key, "list": []reloads.APIKey{key}})
	if err != nil {
		t.Fatal(err)
	}
	type config struct {
		URL string
		Key reloads.APIKey
	}
	for what, text := range map[string]string{
		"fmt": printAll(key), "pointer": printAll(&key), "struct": printAll(config{"u", key}), "slice": printAll([]reloads.APIKey{key}),
		"as an interface": printAll(struct{ T reloads.TokenSource }{key}), "map": printAll(map[string]reloads.APIKey{"k": key}),
		"JSON": string(encoded),
	} {
		checkNoSecrets(t, what, text, fmt.Sprintf("%x", testToken), fmt.Sprintf("%X", testToken))
		if what != "pointer" && !strings.Contains(text, "REDACTED") {
			t.Errorf("%s does not contain REDACTED: %s", what, text)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, key); got != "REDACTED" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if got := key.String(); !regexp.MustCompile("^REDACTED-[0-9a-f]{8}$").MatchString(got) {
		t.Errorf("the text is %q", got)
	}
	if got, err := key.Token(t.Context()); got != testToken || err != nil {
		t.Errorf("the key has another token, or %v", err)
	}
}

// TestPanicDoesNotPrintKey runs itself in another process, which panics.
func TestPanicDoesNotPrintKey(t *testing.T) {
	t.Parallel()
	const variable = "RELOADS_TEST_PANIC"
	key := reloads.APIKey(testToken)
	type config struct {
		Key reloads.APIKey
	}
	values := map[string]any{
		"key": key, "pointer": &key, "source": reloads.TokenSource(key), "struct": config{key}, "pointer to a struct": &config{key},
		"error": fmt.Errorf("with %v and %s and %q", key, &key, []reloads.APIKey{key}), "slice": []reloads.APIKey{key}, "text": fmt.Sprintf("%+v", config{key}),
	}
	if value, ok := values[os.Getenv(variable)]; ok {
		panic(value)
	}
	for name := range values {
		command := exec.Command(os.Args[0], "-test.run=^TestPanicDoesNotPrintKey$")
		command.Env = append(os.Environ(), variable+"="+name, "GOTRACEBACK=all")
		output, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(output), "panic: ") {
			t.Errorf("%s: the process did not panic: %v\n%s", name, err, output)
		}
		checkNoSecrets(t, "a panic with a "+name, string(output), fmt.Sprintf("%x", testToken))
	}
}

// go-cmp prints the values behind equal texts, so the texts of different keys differ.
func TestDiffDoesNotPrintKey(t *testing.T) {
	t.Parallel()
	type config struct {
		URL    string
		Key    reloads.APIKey
		Ptr    *reloads.APIKey
		Source reloads.TokenSource
		List   []reloads.APIKey
		Map    map[string]reloads.APIKey
	}
	newConfig := func(text string) config {
		key := reloads.APIKey(text)
		return config{text[len(text)-1:], key, &key, key, slices.Repeat([]reloads.APIKey{"test-same-key", key}, 40), map[string]reloads.APIKey{"k": key}}
	}
	long := strings.Repeat(testToken, 10) // go-cmp has another format for texts of 32 bytes
	one, two := newConfig(long+"1"), newConfig(long+"2")
	for name, c := range map[string]struct{ x, y any }{
		"keys": {one.Key, two.Key}, "structs": {one, two}, "a struct and none": {one, config{}}, "pointers": {&one, &two},
		"lists": {one.List, two.List}, "lists of two lengths": {one.List[:3], two.List}, "short lists": {one.List[:3], two.List[1:4]}, "maps": {one.Map, two.Map},
		"types": {one.Key, string("text")}, "sources": {[]reloads.TokenSource{one.Source, &one.Key}, []reloads.TokenSource{two.Source, &two.Key}}, "a list and none": {[]config{one}, []config{}},
		"short keys": {reloads.APIKey(testToken + "1"), reloads.APIKey(testToken + "2")},
		"lines":      {reloads.APIKey(strings.Repeat(testToken+"\n", 50) + "1"), reloads.APIKey(strings.Repeat(testToken+"\n", 50) + "2")},
	} {
		diff := cmp.Diff(c.x, c.y)
		if diff == "" {
			t.Errorf("%s: no difference", name)
		}
		checkNoSecrets(t, "the difference of "+name, diff, "test-same-key")
	}
	if diff := cmp.Diff(one, newConfig(long+"1")); diff != "" {
		t.Errorf("the difference of equal structs: %s", diff)
	}
}

// tokenList is a source that returns its tokens in order, and then the last one again and again.
type tokenList struct {
	list    []string
	fetched int
}

func (s *tokenList) Token(context.Context) (string, error) {
	token := s.list[min(s.fetched, len(s.list)-1)]
	s.fetched++
	return token, nil
}

// clientWithTokens returns a client that uses the source.
func clientWithTokens(t testing.TB, source reloads.TokenSource, wire http.RoundTripper, opts ...reloads.Option) *reloads.Client {
	t.Helper()
	client, err := reloads.NewClient("https://t.example.com", source, append(opts, reloads.WithHTTPClient(&http.Client{Transport: wire}))...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestTokenIsFetchedForEveryAttempt(t *testing.T) {
	t.Parallel()
	unauthorized := respond(401, testdata(t, "error_401.json"))
	retries := reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 5})
	for _, c := range []struct {
		name     string
		tokens   []string
		outcomes []outcome // before the successful response
		opt      reloads.Option
		sent     []string
		fetched  int
		err      error
	}{
		{"fetched for each attempt", []string{"a", "b", "c"}, []outcome{fails(errDial), fails(errDNS)}, retries, []string{"a", "b", "c"}, 3, nil},
		{"renewed after a 401", []string{"a", "b"}, []outcome{unauthorized}, retries, []string{"a", "b"}, 2, nil},
		{"renewed even without retries", []string{"a", "b"}, []outcome{unauthorized}, noRetries, []string{"a", "b"}, 2, nil},
		{"the same token is not retried", []string{"a"}, []outcome{unauthorized}, retries, []string{"a"}, 2, reloads.ErrUnauthorized},
		{"a second 401 is final", []string{"a", "b", "c"}, []outcome{unauthorized, unauthorized}, retries, []string{"a", "b"}, 2, reloads.ErrUnauthorized},
		{"the renewal is not a retry", []string{"a", "b", "c"}, []outcome{unauthorized, fails(errDial)}, reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 1}), []string{"a", "b", "c"}, 3, nil},
		{"the renewed token is invalid", []string{"a", "b c"}, []outcome{unauthorized}, retries, []string{"a"}, 2, reloads.ErrUnauthorized},
	} {
		for _, e := range endpoints {
			synctest.Test(t, func(t *testing.T) {
				source := &tokenList{}
				for _, name := range c.tokens {
					source.list = append(source.list, "test-token-"+name)
				}
				wire := scripted(append(append([]outcome(nil), c.outcomes...), e.ok)...)
				err := e.call(t.Context(), clientWithTokens(t, source, wire, c.opt))
				if !errors.Is(err, c.err) {
					t.Errorf("%s, %s: %v", c.name, e.name, err)
				}
				var sent []string
				for _, r := range wire.requests() {
					sent = append(sent, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer test-token-"))
				}
				if diff := cmp.Diff(c.sent, sent); diff != "" || source.fetched != c.fetched {
					t.Errorf("%s, %s: fetched %d times, want %d; sent (-want +got):\n%s", c.name, e.name, source.fetched, c.fetched, diff)
				}
			})
		}
	}
}

// renewableSource is a source whose token can be renewed.
type renewableSource struct {
	mu      sync.Mutex
	n       int
	renewed []string // the refused tokens
}

func (s *renewableSource) Token(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(testToken, s.n), nil
}

func (s *renewableSource) Renew(ctx context.Context, refused string) (string, error) {
	s.mu.Lock()
	if refused == fmt.Sprint(testToken, s.n) {
		s.renewed = append(s.renewed, refused)
		s.n++
	}
	s.mu.Unlock()
	return s.Token(ctx)
}

// Renew receives the refused token, so that many concurrent calls cause one renewal only.
func TestRenewReceivesRefusedToken(t *testing.T) {
	t.Parallel()
	source := &renewableSource{}
	wire := refuseToken{testToken + "0"}
	client := clientWithTokens(t, source, wire, noRetries)
	var calling sync.WaitGroup
	for range 50 {
		calling.Go(func() {
			if _, err := client.Get(t.Context(), reloadID); err != nil {
				t.Error(err)
			}
		})
	}
	calling.Wait()
	if diff := cmp.Diff([]string{testToken + "0"}, source.renewed); diff != "" {
		t.Errorf("renewed (-want +got):\n%s", diff)
	}
}

// refuseToken is a transport that responds with 401 to one token.
type refuseToken struct{ refused string }

func (a refuseToken) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "Bearer "+a.refused {
		return respond(401, "")(r)
	}
	return respond(200, queued)(r)
}

func TestRenewalThatFails(t *testing.T) {
	t.Parallel()
	n := 0
	source := reloads.TokenFunc(func(context.Context) (string, error) {
		if n++; n > 1 {
			return "", errDial
		}
		return testToken, nil
	})
	_, err := clientWithTokens(t, source, scripted(respond(401, "")), noRetries).Get(t.Context(), reloadID)
	if !errors.Is(err, reloads.ErrUnauthorized) || !errors.Is(err, errDial) || !strings.Contains(err.Error(), "; renewing the token: ") || n != 2 {
		t.Errorf("got %v after %d calls of the source, want the response and the failed renewal", err, n)
	}
}

func TestInvalidTokens(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]string{
		"empty": "", "newline": "test-bad\ntoken", "space": "test-bad token", "control": "test-bad\x00", "DEL": "test-bad\x7f", "not ASCII": "test-bäd",
	} {
		_, err := reloads.NewClient("https://t.example.com", reloads.APIKey(token))
		refusedBeforeSending(t, err, "token")
		checkNoSecrets(t, "the error", err.Error(), "test-b")

		wire := scripted(respond(200, queued))
		_, err = clientWithTokens(t, &tokenList{list: []string{token}}, wire).Get(t.Context(), reloadID)
		if err == nil || len(wire.requests()) != 0 || !strings.Contains(err.Error(), "token") {
			t.Errorf("%s: %d requests, %v", name, len(wire.requests()), err)
		}
		checkNoSecrets(t, "the error", fmt.Sprint(err), "test-b")
	}
	down := errors.New("the identity provider is down")
	wire := scripted(respond(200, queued))
	source := reloads.TokenFunc(func(context.Context) (string, error) { return testToken, down })
	if _, err := clientWithTokens(t, source, wire).Get(t.Context(), reloadID); !errors.Is(err, down) || len(wire.requests()) != 0 {
		t.Errorf("%d requests, %v", len(wire.requests()), err)
	}
}

// The text of a refused key has the prefix of the package once, says what is wrong, and does not contain the key.
func TestRefusedKeyNamesPackageOnce(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", " ", "test-bad\n", "Bearer test-bad", "test-b\u00e4d"} {
		_, err := reloads.NewClient("https://t.example.com", reloads.APIKey(key))
		refusedBeforeSending(t, err, "API key", "token")
		checkNoSecrets(t, "the error", err.Error(), "test-b")
		if n := strings.Count(err.Error(), "reloads:"); n != 1 || !strings.HasPrefix(err.Error(), "reloads: ") {
			t.Errorf("the prefix is there %d times: %v", n, err)
		}
		_, err = clientWithTokens(t, reloads.TokenFunc(func(context.Context) (string, error) { return key, nil }), scripted(respond(200, queued))).Get(t.Context(), reloadID)
		if n := strings.Count(fmt.Sprint(err), "reloads:"); n != 1 {
			t.Errorf("the prefix is there %d times: %v", n, err)
		}
	}
}

// If the context ends while the token is fetched, nothing is sent and the outcome is known.
func TestContextEndsDuringTokenFetch(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			wire := scripted(e.ok)
			err := e.call(ctx, clientWithTokens(t, reloads.TokenFunc(func(context.Context) (string, error) {
				cancel()
				return testToken, nil
			}), wire))
			if !errors.Is(err, context.Canceled) || errors.Is(err, reloads.ErrOutcomeUnknown) || len(wire.requests()) != 0 {
				t.Errorf("%s: %d requests, %v", e.name, len(wire.requests()), err)
			}
		})
	}
}

// A source that blocks delays only its own call, until the context ends.
func TestBlockingTokenSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fetched atomic.Int32
		wire := scripted(respond(200, queued))
		client := clientWithTokens(t, reloads.TokenFunc(func(ctx context.Context) (string, error) {
			if fetched.Add(1) == 1 {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return testToken, nil
		}), wire)
		blocked := make(chan error)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			_, err := client.Get(ctx, reloadID)
			blocked <- err
		}()
		synctest.Wait()
		if _, err := client.Get(t.Context(), reloadID); err != nil {
			t.Error(err)
		}
		if err := <-blocked; !errors.Is(err, context.DeadlineExceeded) || len(wire.requests()) != 1 {
			t.Errorf("%d requests, %v", len(wire.requests()), err)
		}
	})
}

// recordingTransport keeps the requests. A transport may still read a request when the next one is sent.
type recordingTransport struct {
	*scriptedTransport
	requests []*http.Request
}

func (k *recordingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	k.requests = append(k.requests, r)
	return k.scriptedTransport.RoundTrip(r)
}

func TestSentRequestIsNotModified(t *testing.T) {
	t.Parallel()
	wire := &recordingTransport{scriptedTransport: scripted(respond(http.StatusUnauthorized, ""), respond(http.StatusOK, queued))}
	n := 0
	client, err := reloads.NewClient("https://tenant.example.com", reloads.TokenFunc(func(context.Context) (string, error) {
		n++
		return fmt.Sprint(testToken, n), nil
	}), reloads.WithHTTPClient(&http.Client{Transport: wire}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(t.Context(), reloadID); err != nil {
		t.Fatal(err)
	}
	for i, r := range wire.requests {
		if got, want := r.Header.Get("Authorization"), fmt.Sprint("Bearer ", testToken, i+1); got != want {
			t.Errorf("request %d now has the header %q, want %q", i, got, want)
		}
	}
	if len(wire.requests) != 2 {
		t.Errorf("%d requests, want 2", len(wire.requests))
	}
}

// The token source, or the name of the host, fails when the first poll is due. The service has responded before, so that
// does not end a run.
func TestTokenFetchFailsAtFirstPoll(t *testing.T) {
	t.Parallel()
	attach := reloads.AttachToPending()
	run := func(opts ...reloads.RunOption) func(context.Context, *world, *reloads.Client) []reloads.Result {
		return func(ctx context.Context, _ *world, client *reloads.Client) []reloads.Result {
			r, err := client.Run(ctx, reloads.Request{AppID: "app0"}, opts...)
			return []reloads.Result{{Reload: r, Err: err}}
		}
	}
	runAll := func(n int, opts ...reloads.RunOption) func(context.Context, *world, *reloads.Client) []reloads.Result {
		return func(ctx context.Context, _ *world, client *reloads.Client) []reloads.Result {
			return slices.Collect(client.RunAll(ctx, requestsFor(eightApps[:n]...), opts...))
		}
	}
	waitAll := func(ctx context.Context, w *world, client *reloads.Client) []reloads.Result {
		return slices.Collect(client.WaitAll(ctx, w.foreignReloads(eightApps)))
	}
	for name, c := range map[string]struct {
		run     func(context.Context, *world, *reloads.Client) []reloads.Result
		pending bool
		before  int // requests before the first poll
		fails   int // token fetches
	}{
		"Run":                              {run(), false, 1, 1},
		"Run, attached":                    {run(attach), true, 2, 1},
		"RunAll of one":                    {runAll(1), false, 1, 1},
		"RunAll of one, attached":          {runAll(1, attach), true, 2, 1},
		"RunAll of three":                  {runAll(3), false, 3, 3},
		"RunAll of eight":                  {runAll(8), false, 8, 20},
		"RunAll of eight, attached":        {runAll(8, attach), true, 16, 20},
		"WaitAll, after the first request": {waitAll, false, 1, 20},
	} {
		for _, dns := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, DNS %v", name, dns), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &world{latency: 20 * time.Millisecond, runFor: time.Minute}
					if c.pending {
						w.foreignReloads(eightApps)
					}
					var n, failed atomic.Int32
					now := func() bool { // reports whether it fails
						if k := int(n.Add(1)); k <= c.before || k > c.before+c.fails {
							return false
						}
						failed.Add(1)
						return true
					}
					source := reloads.TokenSource(reloads.TokenFunc(func(context.Context) (string, error) {
						if now() {
							return "", errors.New("the identity provider is down")
						}
						return testToken, nil
					}))
					if dns {
						source = reloads.APIKey(testToken)
						w.instead = func(*http.Request) outcome {
							if now() {
								return fails(&net.DNSError{Err: "no such host", Name: "tenant.example.com", IsNotFound: true})
							}
							return nil
						}
					}
					for _, r := range c.run(t.Context(), w, clientWithTokens(t, source, w)) {
						if r.Err != nil || r.Reload == nil || r.Reload.Status != reloads.StatusSucceeded {
							t.Errorf("got %v, %v, want a reload that succeeded", r.Reload, r.Err)
						}
					}
					if int(failed.Load()) != c.fails {
						t.Errorf("%d failures, want %d", failed.Load(), c.fails)
					}
				})
			})
		}
	}
}

// The error of a source that quotes the refused token, as that of net/http quotes a URL, is redacted.
func TestRefusedTokenIsRedactedInErrorOfSource(t *testing.T) {
	t.Parallel()
	source := renewingSource{renew: func(_ context.Context, refused string) (string, error) {
		return "", &url.Error{Op: "Get", URL: "https://idp.example.com/check?token=" + refused, Err: errDial}
	}}
	_, err := clientWithTokens(t, source, scripted(respond(401, ""))).Get(t.Context(), reloadID)
	if text := fmt.Sprint(err); !errors.Is(err, errDial) || strings.Contains(text, testToken) || !strings.Contains(text, "check?token=REDACTED") {
		t.Errorf("got %s", text)
	}
}

// renewingSource is a source of testToken.
type renewingSource struct {
	renew func(ctx context.Context, refused string) (string, error)
}

func (s renewingSource) Token(context.Context) (string, error) { return testToken, nil }
func (s renewingSource) Renew(ctx context.Context, refused string) (string, error) {
	return s.renew(ctx, refused)
}

// A token that was refused and then renewed is not printed either.
func TestRefusedTokenIsRedacted(t *testing.T) {
	t.Parallel()
	n := 0
	source := reloads.TokenFunc(func(context.Context) (string, error) {
		n++
		return fmt.Sprint("test-token-number-", n), nil
	})
	wire := scripted(respond(401, ""), respond(403, "the token test-token-number-1 was replaced by test-token-number-2"))
	_, err := clientWithTokens(t, source, wire).Get(t.Context(), reloadID)
	if text := fmt.Sprint(err); strings.Contains(text, "number-") || !strings.Contains(text, "the token REDACTED was replaced by REDACTED") {
		t.Errorf("got %s", text)
	}
}
