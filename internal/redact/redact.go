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

	minSecret  = 8       // bytes; a shorter secret may be a part of any text
	longPart   = 16      // bytes of a part of a secret that is replaced anywhere
	maxPattern = 4 << 10 // bytes of a secret that is searched for in other spellings, because a pattern takes time
)

// New returns a redactor that finds each secret in every spelling: as it is, and as it is encoded in URLs and forms, in
// JSON, in quoted Go strings and in HTML, also if it was encoded more than once. A secret of more than 4 KiB is found only as it
// is. So is a part of a secret, which may be cut off or folded over several lines, if it has 16 bytes or more. At the end of a
// text, 8 bytes are enough if they are the beginning of the secret.
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
	semicolon = `(?:;|` + percent + `3b)?` // HTML parsers do not need it
	ampersand = `(?:&|` + backslash + `+u0026|` + percent + `26)(?:amp` + semicolon + `)*`
)

// entities are the names of characters in HTML.
var entities = map[rune]string{'&': "amp", '<': "lt", '>': "gt", '"': "quot", '\'': "apos", '+': "plus", '/': "sol", '=': "equals"}

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
	entity := fmt.Sprintf("(?:#|%s23)(?:0*%d|x0*%x)", percent, c, c)
	if name, ok := entities[c]; ok {
		entity += "|" + name
	}
	prefix := ""
	switch c {
	case '"', '\'', '/', '\\':
		prefix = backslash + "*"
		literal += "|~1"
	case '~':
		literal += "|~0" // in a JSON Pointer
	case ' ':
		literal += `|\+|` + percent + "2b" // in a form
	}
	return fmt.Sprintf("(?i:%s(?:%s|%s|%s|%s(?:%s)%s))", prefix, literal, &octets, &escaped, ampersand, entity, semicolon)
}

// Text returns s without the secrets.
func (r *Redactor) Text(s string) string {
	for _, secret := range r.secrets {
		if secret.pattern != nil {
			s = secret.pattern.ReplaceAllLiteralString(s, Redacted)
		}
		s = strings.ReplaceAll(s, secret.literal, Redacted)
	}
	for _, secret := range r.secrets { // afterwards, because one secret can contain parts of another
		s = withoutParts(s, secret.literal)
	}
	return s
}

// withoutParts returns s without the long parts of the secret, and without a short beginning at the end, where s may be cut off.
func withoutParts(s, secret string) string {
	var done strings.Builder
	for at := 0; at+minSecret <= len(s); {
		from, to := part(s, secret, at)
		if to-from < longPart {
			at += minSecret // a long part contains the bytes at one of these positions
			continue
		}
		done.WriteString(s[:from] + Redacted)
		s, at = s[to:], 0
	}
	if at := len(s) - minSecret; at >= 0 {
		if from, _ := part(s, secret, at); strings.HasPrefix(secret, s[from:]) {
			s = s[:from] + Redacted
		}
	}
	return done.String() + s
}

// part returns the longest part of the secret that contains the minSecret bytes of s at a position, or a long one.
func part(s, secret string, at int) (from, to int) {
	bytes := s[at : at+minSecret]
	for p := strings.Index(secret, bytes); p >= 0; {
		i, j := at, at+minSecret
		for q := p; i > 0 && q > 0 && s[i-1] == secret[q-1]; q-- {
			i--
		}
		for q := p + minSecret; j < len(s) && q < len(secret) && s[j] == secret[q]; q++ {
			j++
		}
		if j-i > to-from {
			from, to = i, j
		}
		next := strings.Index(secret[p+1:], bytes)
		if next < 0 || to-from >= longPart {
			break
		}
		p += 1 + next
	}
	return from, to
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
		return slices.DeleteFunc(slices.Clone(e.Unwrap()), func(inner error) bool { return inner == nil })
	case *timeout:
		inner := unwrap(e.error)
		for i := range inner {
			inner[i] = Deadline(inner[i])
		}
		return inner
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
