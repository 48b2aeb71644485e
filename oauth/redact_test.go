package oauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/oauth"
)

// spellings are the ways in which a text may contain a secret.
var spellings = map[string]func(string) string{
	"literal": func(s string) string { return s },
	"query":   url.QueryEscape,
	"path":    url.PathEscape,
	"lower-case hex": func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			if isPlain(rune(c)) {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02x", c)
			}
		}
		return b.String()
	},
	"escaped twice": func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"JSON":          encodeJSON,
	"JSON in JSON":  func(s string) string { return encodeJSON(encodeJSON(s)) },
	"JSON, ASCII": func(s string) string {
		var b strings.Builder
		for _, c := range s {
			if isPlain(c) {
				b.WriteRune(c)
			} else {
				fmt.Fprintf(&b, `\u%04X`, c)
			}
		}
		return b.String()
	},
	"JSON, slashes": func(s string) string { return strings.ReplaceAll(encodeJSON(s), "/", `\/`) },
	"Go":            func(s string) string { return fmt.Sprintf("%q", s) },
	"HTML":          html.EscapeString,
	"HTML, names":   strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace,
	"JavaScript":    strings.NewReplacer(`\`, `\\`, `"`, `\"`, "'", `\'`).Replace,
	"form in JSON":  func(s string) string { return encodeJSON(url.QueryEscape(s)) },
}

// isPlain reports whether no encoding changes a character.
func isPlain(c rune) bool {
	return c < 128 && (unicode.IsLetter(c) || unicode.IsDigit(c) || strings.ContainsRune("-._", c))
}

func encodeJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b[1 : len(b)-1])
}

var secrets = []string{
	testSecret, "p4ss/w+rd=&?#%", `quote"back\slash'<tag>`, "with a space 1", "100%25%2F+%zz", "ümläut-secret", "\\\\\\\\\\\\\\\\", "$^.*+?()[]{}|", "it's a secret",
}

// An error never contains the secret, in whatever spelling the service or a proxy repeats it.
func TestASecretInAResponse(t *testing.T) {
	for _, secret := range secrets {
		for name, spell := range spellings {
			for _, user := range flows {
				text := spell(secret)
				body, err := json.Marshal(map[string]string{"error": "before " + text, "error_description": "client_secret=" + text + "&after"})
				if err != nil {
					t.Fatal(err)
				}
				for _, status := range []int{200, 400} {
					cfg := configOf(responding(status, "application/json", string(body)))
					cfg.ClientSecret, cfg.UserID = secret, user
					_, err = source(t, cfg).Token(t.Context())
					var e *oauth.Error
					if !errors.As(err, &e) || !strings.HasPrefix(e.Code, "before ") || !strings.HasSuffix(e.Description, "&after") || !strings.Contains(e.Code, "REDACTED") {
						t.Errorf("%s %q, user %q: got the error %+v", name, secret, user, err)
					}
					if shown := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(shown, text) {
						t.Errorf("%s %q, user %q: the error contains the secret: %s", name, secret, user, shown)
					}
				}
			}
		}
	}
}

// dump is the error of a transport that shows what it sent.
type dump struct {
	text string
	err  error
}

func (d dump) Error() string { return d.text + ": " + d.err.Error() }
func (d dump) Unwrap() error { return d.err }

// The errors of a transport are wrapped as far as their texts do not contain the secret.
func TestASecretInTheErrorOfATransport(t *testing.T) {
	var texts func(error) string
	texts = func(err error) string {
		s := fmt.Sprintf("%v %+v %#v\n", err, err, err)
		switch e := err.(type) { //nolint:errorlint // unwraps step by step
		case interface{ Unwrap() error }:
			if inner := e.Unwrap(); inner != nil {
				s += texts(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				s += texts(inner)
			}
		}
		return s
	}
	const secret = "p4ss/w+rd=&?#%"
	own := errors.New("the own error of the transport, with " + secret)
	for name, failure := range map[string]error{
		"outside":       dump{"sent client_secret=" + url.QueryEscape(secret), &url.Error{Op: "reset", Err: errors.New("by peer")}},
		"in the middle": fmt.Errorf("harmless: %w", dump{secret, errors.Join(&url.Error{Op: "reset", Err: errors.New("by peer")}, own)}),
		"inside":        fmt.Errorf("harmless: %w, %w", own, &url.Error{Op: "reset", Err: errors.New("by peer")}),
		"hidden":        hiding{errors.Join(own, &url.Error{Op: "reset", Err: errors.New("by peer")})},
	} {
		for _, user := range flows {
			cfg := configOf(transportFunc(func(*http.Request) (*http.Response, error) { return nil, failure }))
			cfg.ClientSecret, cfg.UserID = secret, user
			_, err := source(t, cfg).Token(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			if text := strings.ReplaceAll(failure.Error(), secret, "REDACTED"); name != "outside" && !strings.HasSuffix(err.Error(), ": "+text) {
				t.Errorf("%s: got %v, want the text %q", name, err, text)
			}
			if shown := texts(err); strings.Contains(shown, secret) || strings.Contains(shown, url.QueryEscape(secret)) {
				t.Errorf("%s: an error in the chain contains the secret:\n%s", name, shown)
			}
			var wrapped *url.Error
			if !errors.As(err, &wrapped) || wrapped.Op != "reset" {
				t.Errorf("%s: the error does not wrap the harmless one: %v", name, err)
			}
			if name != "outside" && !errors.Is(err, own) {
				t.Errorf("%s: the error does not match that of the transport: %v", name, err)
			}
			var leaking dump
			if errors.As(err, &leaking) {
				t.Errorf("%s: errors.As returns an error with the secret: %v", name, leaking)
			}
			// Even with access to unexported fields, there is no secret.
			if diff := cmp.Diff(err, errors.New("x"), cmp.Exporter(func(reflect.Type) bool { return true })); strings.Contains(diff, secret) {
				t.Errorf("%s: go-cmp prints the secret: %s", name, diff)
			}
		}
	}
}

// hiding is an error with a harmless text.
type hiding struct{ err error }

func (h hiding) Error() string { return "harmless" }
func (h hiding) Unwrap() error { return h.err }

// A secret of less than 8 bytes is not replaced, because it may be a part of any text.
func TestAShortSecretIsNotReplaced(t *testing.T) {
	for secret, want := range map[string]string{"invalid": "invalid_client", "invalid_": "REDACTEDclient"} {
		for _, user := range flows {
			cfg := configOf(responding(400, "application/json", `{"error":"invalid_client"}`))
			cfg.ClientSecret, cfg.UserID = secret, user
			_, err := source(t, cfg).Token(t.Context())
			var e *oauth.Error
			if !errors.As(err, &e) || e.Code != want {
				t.Errorf("got %v, want the code %s", err, want)
			}
		}
	}
	cfg := configOf(transportFunc(func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET }))
	cfg.ClientSecret = "reset by"[:7]
	if _, err := source(t, cfg).Token(t.Context()); err == nil || !strings.Contains(err.Error(), "reset by peer") {
		t.Errorf("got %v", err)
	}
}

// An error does not contain a token, either.
func TestATokenInAnErrorResponse(t *testing.T) {
	for _, user := range flows {
		cfg := configOf(responding(200, "application/json", `{"access_token":"test-token-1","error":"test-token-1","error_description":"test-token-1"}`))
		cfg.UserID = user
		if _, err := source(t, cfg).Token(t.Context()); err == nil || strings.Contains(fmt.Sprintf("%v %#v", err, err), "test-token-1") {
			t.Errorf("got %v", err)
		}
	}
}
