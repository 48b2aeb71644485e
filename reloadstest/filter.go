package reloadstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/reloads-go/reloads"
)

// filter is a SCIM filter (RFC 7644, section 3.4.2.2) over status, partial and type, with the operator eq, and, or, and
// parentheses.
type filter func(*reloads.Reload) bool

func parseFilter(s string) (filter, error) {
	p := &filterParser{rest: s}
	f, err := p.or(0)
	if err == nil && p.peek() != "" {
		err = fmt.Errorf("%q comes unexpected", p.peek())
	}
	return f, err
}

// filterParser reads a filter from left to right; and binds tighter than or.
type filterParser struct{ rest string }

// peek is the next word, parenthesis or quoted text, "" at the end.
func (p *filterParser) peek() string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	switch {
	case p.rest == "":
		return ""
	case p.rest[0] == '(' || p.rest[0] == ')':
		return p.rest[:1]
	case p.rest[0] == '"':
		for i := 1; i < len(p.rest); i++ {
			switch p.rest[i] {
			case '\\':
				i++
			case '"':
				return p.rest[:i+1]
			}
		}
		return p.rest // without its end
	}
	if i := strings.IndexAny(p.rest, " \t\r\n()\""); i > 0 {
		return p.rest[:i]
	}
	return p.rest
}

func (p *filterParser) next() string {
	token := p.peek()
	p.rest = p.rest[len(token):]
	return token
}

// accept reads the word if it is the next one.
func (p *filterParser) accept(word string) bool {
	if !strings.EqualFold(p.peek(), word) {
		return false
	}
	p.next()
	return true
}

func (p *filterParser) or(depth int) (filter, error) {
	left, err := p.and(depth)
	for err == nil && p.accept("or") {
		var right filter
		if right, err = p.and(depth); err == nil {
			a := left
			left = func(r *reloads.Reload) bool { return a(r) || right(r) }
		}
	}
	return left, err
}

func (p *filterParser) and(depth int) (filter, error) {
	left, err := p.comparison(depth)
	for err == nil && p.accept("and") {
		var right filter
		if right, err = p.comparison(depth); err == nil {
			a := left
			left = func(r *reloads.Reload) bool { return a(r) && right(r) }
		}
	}
	return left, err
}

func (p *filterParser) comparison(depth int) (filter, error) {
	if depth > 100 {
		return nil, errors.New("it is nested too deeply")
	}
	if p.accept("(") {
		f, err := p.or(depth + 1)
		if err == nil && !p.accept(")") {
			err = errors.New("a parenthesis is not closed")
		}
		return f, err
	}
	attribute := p.next()
	if operator := p.next(); !strings.EqualFold(operator, "eq") {
		return nil, fmt.Errorf("the operator %q is not supported", operator)
	}
	value := p.next()
	if strings.HasPrefix(value, `"`) {
		var text string
		if err := json.Unmarshal([]byte(value), &text); err != nil {
			return nil, fmt.Errorf("%s is no text: %w", value, err)
		}
		value = text
	} else if value != "true" && value != "false" {
		return nil, fmt.Errorf("the value %q must be quoted", value)
	}
	switch strings.ToLower(attribute) {
	case "status":
		return func(r *reloads.Reload) bool { return string(r.Status) == value }, nil
	case "type":
		return func(r *reloads.Reload) bool { return string(r.Type) == value }, nil
	case "partial":
		if value != "true" && value != "false" {
			return nil, fmt.Errorf("partial is true or false, not %q", value)
		}
		return func(r *reloads.Reload) bool { return strconv.FormatBool(r.Partial) == value }, nil
	}
	return nil, fmt.Errorf("the attribute %q is not supported", attribute)
}
