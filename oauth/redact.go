package oauth

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// redactor replaces a secret in texts that the service, a proxy or the transport may have written.
type redactor struct {
	pattern *regexp.Regexp // nil: there is nothing to replace
}

const (
	redacted  = "REDACTED"
	minSecret = 8 // bytes; a shorter secret may be a part of any text
)

// newRedactor returns a redactor that finds the secret in every spelling: as it is, and as it is encoded in URLs and
// forms, in JSON, in quoted Go strings and in HTML, also if it was encoded more than once.
func newRedactor(secret string) redactor {
	if len(secret) < minSecret {
		return redactor{}
	}
	var pattern strings.Builder
	for i := 0; i < len(secret); {
		c, size := utf8.DecodeRuneInString(secret[i:])
		pattern.WriteString(spellings(c, secret[i:i+size]))
		i += size
	}
	return redactor{regexp.MustCompile(pattern.String())}
}

// entities are the names of characters in HTML.
var entities = map[rune]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '"': "&quot;", '\'': "&apos;"}

// spellings returns a pattern that matches a character in every spelling. encoded is its UTF-8 encoding.
func spellings(c rune, encoded string) string {
	var percent, escaped strings.Builder
	for i := range len(encoded) {
		fmt.Fprintf(&percent, "%%(?:25)*%02x", encoded[i])
	}
	for _, unit := range utf16.AppendRune(nil, c) {
		fmt.Fprintf(&escaped, `\\+u%04x`, unit)
	}
	literal := regexp.QuoteMeta(string(c))
	switch c {
	case '"', '\'', '/', '\\':
		literal = `\\*` + literal
	case ' ':
		literal += `|\+|%(?:25)*2[Bb]` // in a form
	}
	if name, ok := entities[c]; ok {
		literal += "|" + name
	}
	return fmt.Sprintf("(?:%s|(?i:%s|%s|&#0*%d;|&#x0*%x;))", literal, &percent, &escaped, c, c)
}

// text returns s without the secret.
func (r redactor) text(s string) string {
	if r.pattern == nil {
		return s
	}
	return r.pattern.ReplaceAllLiteralString(s, redacted)
}

// error returns err if neither its text nor that of an error that it wraps contains the secret. Otherwise it returns an
// error with the text of err without the secret, which wraps only harmless errors, and matches what err matches.
func (r redactor) error(err error) error {
	if r.harmless(err) {
		return err
	}
	return &redactedError{r.text(err.Error()), r.harmlessParts(err), func(target error) bool { return errors.Is(err, target) }}
}

func (r redactor) harmless(err error) bool {
	if text := err.Error(); r.text(text) != text {
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
func (r redactor) harmlessParts(err error) (parts []error) {
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

// redactedError stands for an error whose text contains the secret. It holds a function instead of that error, because
// fmt would print the error.
type redactedError struct {
	text    string
	wrapped []error
	is      func(target error) bool
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Unwrap() []error      { return e.wrapped }
func (e *redactedError) Is(target error) bool { return e.is(target) }
