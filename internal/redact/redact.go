// Package redact replaces secrets in texts and errors that a server, a proxy or a transport may have written.
package redact

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Redactor replaces secrets. The zero value replaces nothing. It is safe for concurrent use.
type Redactor struct{ secrets []secret }

type secret struct {
	literal string
	pattern *regexp.Regexp // of all spellings; nil if there is only one
}

const (
	// Redacted is the text that replaces a secret.
	Redacted = "REDACTED"

	minSecret     = 8       // bytes; a shorter secret may be a part of any text
	longBeginning = 16      // bytes of the beginning of a secret, or of a part on another line, that are replaced anywhere
	maxFold       = 256     // bytes between two parts of a secret that is folded over several lines
	maxPattern    = 4 << 10 // bytes of a secret that is searched for in other spellings, because a pattern takes time
)

// New returns a redactor that finds each secret in every spelling: as it is, and as it is encoded in URLs and forms, in
// JSON, in quoted Go strings and in HTML, also if it was encoded more than once. A secret of more than 4 KiB is found only as it
// is. So is the beginning of a secret that was cut off, if it has 16 bytes or more, or 8 at the end of a text.
func New(secrets ...string) *Redactor {
	r := &Redactor{}
	for _, s := range secrets {
		if len(s) >= minSecret {
			r.secrets = append(r.secrets, secret{s, pattern(s)})
		}
	}
	slices.SortFunc(r.secrets, func(a, b secret) int { return len(b.literal) - len(a.literal) }) // one may contain another
	return r
}

func isPlain(c rune) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '-' || c == '.' || c == '_'
}

// pattern returns nil if no encoding changes the secret.
func pattern(secret string) *regexp.Regexp {
	if len(secret) > maxPattern || strings.IndexFunc(secret, func(c rune) bool { return !isPlain(c) }) < 0 {
		return nil
	}
	var pattern strings.Builder
	for i := 0; i < len(secret); {
		c, size := utf8.DecodeRuneInString(secret[i:])
		pattern.WriteString(spellings(c, secret[i:i+size]))
		i += size
	}
	return regexp.MustCompile(pattern.String())
}

// Patterns of the characters that begin an escape, which may be encoded once more.
const (
	percent   = `%(?:25)*`
	backslash = `(?:\\|` + percent + `5c)`
	ampersand = `(?:&|` + backslash + `+u0026|` + percent + `26)(?:amp;)*`
)

// entities are the names of characters in HTML.
var entities = map[rune]string{'&': "amp", '<': "lt", '>': "gt", '"': "quot", '\'': "apos"}

// spellings returns a pattern that matches a character in every spelling. encoded is its UTF-8 encoding.
func spellings(c rune, encoded string) string {
	literal := regexp.QuoteMeta(string(c))
	if isPlain(c) {
		return literal
	}
	var octets, escaped strings.Builder
	for i := range len(encoded) {
		fmt.Fprintf(&octets, "%s%02x", percent, encoded[i])
	}
	for _, unit := range utf16.AppendRune(nil, c) {
		fmt.Fprintf(&escaped, "%s+u%04x", backslash, unit)
	}
	entity := fmt.Sprintf("#0*%d|#x0*%x", c, c)
	if name, ok := entities[c]; ok {
		entity += "|" + name
	}
	prefix := ""
	switch c {
	case '"', '\'', '/', '\\':
		prefix = backslash + "*"
	case ' ':
		literal += `|\+|` + percent + "2b" // in a form
	}
	return fmt.Sprintf("(?i:%s(?:%s|%s|%s|%s(?:%s);))", prefix, literal, &octets, &escaped, ampersand, entity)
}

// Text returns s without the secrets.
func (r *Redactor) Text(s string) string {
	for _, secret := range r.secrets {
		if secret.pattern != nil {
			s = secret.pattern.ReplaceAllLiteralString(s, Redacted)
		}
		s = strings.ReplaceAll(s, secret.literal, Redacted)
	}
	for _, secret := range r.secrets { // afterwards, because one secret can begin like another
		s = withoutBeginnings(s, secret.literal)
	}
	return s
}

// withoutBeginnings returns s without the beginnings of the secret: long ones anywhere, with the parts that follow if the
// secret is folded over several lines, and short ones at the end.
func withoutBeginnings(s, secret string) string {
	if len(secret) <= longBeginning {
		return withoutEnd(s, secret)
	}
	var done strings.Builder
	for next := 0; ; {
		at, from := strings.Index(s, secret[:longBeginning]), 0
		if rest := secret[next:]; next > 0 && len(rest) >= minSecret {
			near := s[:min(len(s), maxFold+longBeginning)]
			if i := strings.Index(near, rest[:min(len(rest), longBeginning)]); i >= 0 && (at < 0 || i < at) {
				at, from = i, next
			}
		}
		if at < 0 {
			return done.String() + withoutEnd(withoutEnd(s, secret), secret[next:])
		}
		done.WriteString(s[:at] + Redacted)
		s, next = s[at:], from
		for len(s) > 0 && next < len(secret) && s[0] == secret[next] {
			s, next = s[1:], next+1
		}
	}
}

// withoutEnd returns s without a beginning of the secret at its end.
func withoutEnd(s, secret string) string {
	for n := min(len(secret)-1, len(s)); n >= minSecret; n-- {
		if strings.HasSuffix(s, secret[:n]) {
			return s[:len(s)-n] + Redacted
		}
	}
	return s
}

// Error returns err if neither its text nor that of an error that it wraps contains a secret. Otherwise it returns an
// error with the text of err without the secrets, which wraps only harmless errors, and matches what err matches.
func (r *Redactor) Error(err error) error {
	if r.harmless(err) {
		return err
	}
	return &redactedError{r.Text(err.Error()), r.harmlessParts(err), func(target error) bool { return errors.Is(err, target) }}
}

func (r *Redactor) harmless(err error) bool {
	if text := err.Error(); r.Text(text) != text {
		return false
	}
	for _, inner := range unwrap(err) {
		if !r.harmless(inner) {
			return false
		}
	}
	return true
}

// harmlessParts returns the harmless errors that err wraps.
func (r *Redactor) harmlessParts(err error) (parts []error) {
	for _, inner := range unwrap(err) {
		if r.harmless(inner) {
			parts = append(parts, inner)
		} else {
			parts = append(parts, r.harmlessParts(inner)...)
		}
	}
	return parts
}

func unwrap(err error) []error {
	switch e := err.(type) { //nolint:errorlint // unwraps step by step
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return []error{inner}
		}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

// redactedError stands for an error whose text contains a secret. It holds a function instead of that error, because
// fmt would print the error.
type redactedError struct {
	text    string
	wrapped []error
	is      func(target error) bool
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Unwrap() []error      { return e.wrapped }
func (e *redactedError) Is(target error) bool { return e.is(target) }
