package redact_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/internal/redact"
)

// encoders are the ways in which a text may spell a secret.
var encoders = map[string]func(string) string{
	"literal": func(s string) string { return s },
	"query":   url.QueryEscape,
	"path":    url.PathEscape,
	"URL, lower case": func(s string) string {
		return escape(s, func(c rune) string { return strings.ToLower(url.QueryEscape(string(c))) })
	},
	"query, twice": func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"JSON":         encodeJSON,
	"JSON, twice":  func(s string) string { return encodeJSON(encodeJSON(s)) },
	"JSON, slash":  func(s string) string { return strings.ReplaceAll(encodeJSON(s), "/", `\/`) },
	"JSON, ASCII": func(s string) string {
		return escape(s, func(c rune) (escaped string) {
			for _, unit := range utf16.Encode([]rune{c}) {
				escaped += fmt.Sprintf(`\u%04X`, unit)
			}
			return escaped
		})
	},
	"Go":            func(s string) string { return fmt.Sprintf("%q", s) },
	"HTML":          html.EscapeString,
	"HTML, decimal": func(s string) string { return escape(s, func(c rune) string { return fmt.Sprintf("&#%d;", c) }) },
	"HTML, hex":     func(s string) string { return escape(s, func(c rune) string { return fmt.Sprintf("&#x%02X;", c) }) },
	"query in JSON": func(s string) string { return encodeJSON(url.QueryEscape(s)) },
	"JSON in query": func(s string) string { return url.QueryEscape(encodeJSON(s)) },
	"HTML in JSON":  func(s string) string { return encodeJSON(html.EscapeString(s)) },
	"JSON in HTML":  func(s string) string { return html.EscapeString(encodeJSON(s)) },
	"HTML in query": func(s string) string { return url.QueryEscape(html.EscapeString(s)) },
	"HTML, hex, in query": func(s string) string {
		return url.QueryEscape(escape(s, func(c rune) string { return fmt.Sprintf("&#x%02X;", c) }))
	},
	"HTML names": func(s string) string {
		return strings.NewReplacer("+", "&plus;", "/", "&sol;", "=", "&equals;").Replace(html.EscapeString(s))
	},
	"HTML without semicolons": func(s string) string { return escape(s, func(c rune) string { return fmt.Sprintf("&#%d", c) }) },
	"JSON Pointer":            strings.NewReplacer("~", "~0", "/", "~1").Replace,
	"HTML, twice":             func(s string) string { return html.EscapeString(html.EscapeString(s)) },
}

// escape encodes every character that a URL may not contain as it is.
func escape(s string, encode func(rune) string) string {
	var b strings.Builder
	for _, c := range s {
		if url.QueryEscape(string(c)) == string(c) {
			b.WriteRune(c)
		} else {
			b.WriteString(encode(c))
		}
	}
	return b.String()
}

func encodeJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b[1 : len(b)-1])
}

var secrets = []string{
	"plain-secret_1.0", "c2VjcmV0+MDEy/Njc4==", "p4ss/w+rd=&?#%", `quote"back\slash'<tag>`, "with a space 1", "100%25%2F+%zz", "ümläut-secret",
	"emoji-😀-secret", `\\\\\\\\`, "$^.*+?()[]{}|", "&amp;&#43;", "~~~~~~~~",
}

func FuzzText(f *testing.F) {
	for _, secret := range secrets {
		f.Add("before ", secret, " after")
	}
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		printable := strings.IndexFunc(secret, func(c rune) bool { return !unicode.IsPrint(c) }) < 0
		if len(secret) < 8 || len(secret) > 64 || !utf8.ValidString(secret) || !printable {
			t.Skip()
		}
		r := redact.New(secret)
		for name, encode := range encoders {
			spelled := encode(secret)
			got := r.Text(before + spelled + after)
			for part := range strings.SplitSeq(got, redact.Redacted) { // it may end with the beginning of a secret
				if strings.Contains(part, spelled) {
					t.Errorf("%s: the secret %q is in %q", name, secret, got)
				}
			}
		}
	})
}

// Several secrets are replaced, each everywhere. A short one is not. Other text stays as it is.
func TestText(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("p4ss/w+rd=", 20_000) // as a pattern, it would be too large for package regexp
	r := redact.New("seven-7", "eight-88", "slash/secret", "", "slash/secret-2", large)
	for text, want := range map[string]string{
		"":                        "",
		"seven-7 and eight-8":     "seven-7 and eight-8",
		"eight-88eight-88":        "REDACTEDREDACTED",
		"<eight-88>":              "<REDACTED>",
		"slash/secret-2":          "REDACTED",
		`slash\/secret, eight-88`: "REDACTED, REDACTED",
		"slash%2Fsecret-2.":       "REDACTED.",
		"Slash/secret":            "Slash/secret",
		"\xff eight-88":           "\xff REDACTED",
		"<" + large + ">":         "<REDACTED>",
		// The beginning of a secret counts at the end of a text that was cut off, if it is long enough to be one.
		"cut off: slash/se":          "cut off: REDACTED",
		"cut off: slash/s":           "cut off: slash/s",
		"not cut off: slash/se.":     "not cut off: slash/se.",
		"cut off: " + large[:8]:      "cut off: REDACTED",
		"cut off: " + large[:123456]: "cut off: REDACTED",
		"slash/se":                   "REDACTED",
		// A long beginning counts anywhere.
		"cut off: " + large[:16] + "...":                 "cut off: REDACTED...",
		"cut off: " + large[:15] + "...":                 "cut off: " + large[:15] + "...",
		large[:123] + ", " + large[:17] + "p" + large:    "REDACTED, REDACTEDpREDACTED",
		strings.Repeat(large[:100]+"\n", 2) + "slash/se": "REDACTED\nREDACTED\nREDACTED",
	} {
		if diff := cmp.Diff(want, r.Text(text)); diff != "" {
			t.Errorf("%.40q (-want +got):\n%s", text, diff)
		}
	}
	if text := "eight-88"; new(redact.Redactor).Text(text) != text {
		t.Error("the zero value replaces something")
	}
}

// A page may fold a long token over several lines, wherever a line ends. Another secret may begin like it.
func TestFoldedSecret(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, separator := range []string{"\n", "\r\n ", `\n\t`, "<br>\n", `" + \n"`, strings.Repeat(" ", 300)} {
		for width := 16; width < 200; width++ {
			secret := make([]byte, 300)
			for i := range secret {
				secret[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[random.IntN(36)]
			}
			head := random.IntN(len(secret)) // of the first line, and what the other secret begins with
			text := "Authorization: Bearer " + string(secret[:head])
			for part := range slices.Chunk(secret[head:], width) {
				text += separator + string(part)
			}
			got := redact.New(string(secret), string(secret[:head])+strings.Repeat("-other", 60)).Text(text + separator + "Host: example.com")
			for i := 0; i+16 <= len(secret); i++ {
				if strings.Contains(got, string(secret[i:i+16])) {
					t.Fatalf("folded with %q at %d bytes: %q", separator, width, got)
				}
			}
		}
	}
}

// A secret of 4 KiB is found in every spelling.
func TestLargeSecretInEverySpelling(t *testing.T) {
	t.Parallel()
	var secret strings.Builder
	for i := 0; secret.Len() < 4<<10; i++ {
		fmt.Fprintf(&secret, "%07d+", i*i)
	}
	r := redact.New(secret.String())
	for name, encode := range encoders {
		if got := r.Text(encode(secret.String())); strings.Contains(got, "0000001") {
			t.Errorf("%s: got %.40q", name, got)
		}
	}
}

// dump is an error whose text contains more than that of the error that it wraps.
type dump struct {
	text string
	err  error
}

func (d dump) Error() string { return d.text }
func (d dump) Unwrap() error { return d.err }

// list is an error that wraps several, some of which may be nil.
type list []error

func (l list) Error() string   { return fmt.Sprint(l[0], l[len(l)-1]) }
func (l list) Unwrap() []error { return l }

// No error in the chain contains the secret, and the harmless ones are still found.
func TestError(t *testing.T) {
	t.Parallel()
	const secret = "p4ss/w+rd=&?#%"
	r := redact.New(secret)
	quoting, harmless := errors.New("sent "+secret), &url.Error{Op: "reset", Err: io.ErrUnexpectedEOF}
	for name, err := range map[string]error{
		"outside":       dump{"sent " + url.QueryEscape(secret), harmless},
		"in the middle": fmt.Errorf("harmless: %w", dump{secret, errors.Join(harmless, quoting)}),
		"inside":        fmt.Errorf("harmless: %w, %w", quoting, harmless),
		"hidden":        dump{"harmless", errors.Join(quoting, harmless)},
		"with a nil":    list{harmless, nil, quoting},
	} {
		got := r.Error(err)
		var walk func(error)
		walk = func(err error) {
			if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) {
				t.Errorf("%s: %T contains the secret: %s", name, err, text)
			}
			switch e := err.(type) { //nolint:errorlint // unwraps step by step
			case interface{ Unwrap() error }:
				if inner := e.Unwrap(); inner != nil {
					walk(inner)
				}
			case interface{ Unwrap() []error }:
				for _, inner := range e.Unwrap() {
					walk(inner)
				}
			}
		}
		walk(got)
		var wrapped *url.Error
		if !errors.As(got, &wrapped) || wrapped != harmless || !errors.Is(got, io.ErrUnexpectedEOF) || errors.Is(got, quoting) != errors.Is(err, quoting) {
			t.Errorf("%s: got %v, want an error that matches what the first one matches", name, got)
		}
		if want := r.Text(err.Error()); got.Error() != want {
			t.Errorf("%s: got the text %q, want %q", name, got, want)
		}
	}
	for _, err := range []error{harmless, quoting, dump{"harmless", nil}} {
		if got := r.Error(err); (got == err) == (err == quoting) {
			t.Errorf("%v became %v", err, got)
		}
	}
}
