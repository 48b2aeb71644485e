package reloadstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/reloads-go/reloads"
)

// filter reports whether a filter expression selects a reload. Expressions are a subset of SCIM filters (RFC 7644, section
// 3.4.2.2): the attributes status, partial and type, the operators "eq", "and" and "or", and parentheses.
type filter func(*reloads.Reload) bool

// parseFilter parses a filter expression.
func parseFilter(s string) (filter, error) {
	p := &filterParser{rest: s}
	f, err := p.or(0)
	if err == nil && p.peek() != "" {
		err = fmt.Errorf("unexpected %q", p.peek())
	}
	return f, err
}

// filterParser is a recursive descent parser of filter expressions. The operator "and" has a higher
// precedence than "or".
type filterParser struct{ rest string }

// peek returns the next token without consuming it: a word, a parenthesis or a quoted string. It returns "" at the end.
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
		return p.rest // not terminated; comparison returns an error
	}
	if i := strings.IndexAny(p.rest, " \t\r\n()\""); i > 0 {
		return p.rest[:i]
	}
	return p.rest
}

// next consumes and returns the next token.
func (p *filterParser) next() string {
	token := p.peek()
	p.rest = p.rest[len(token):]
	return token
}

// accept consumes the next token if it is word, ignoring case, and reports whether it was.
func (p *filterParser) accept(word string) bool {
	if !strings.EqualFold(p.peek(), word) {
		return false
	}
	p.next()
	return true
}

// or parses one or more operands of the operator "or".
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

// and parses one or more operands of the operator "and".
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

// comparison parses one comparison, or an expression in parentheses. depth is the number of parentheses around it.
func (p *filterParser) comparison(depth int) (filter, error) {
	if depth > 100 {
		return nil, errors.New("more than 100 nested parentheses")
	}
	if p.accept("(") {
		f, err := p.or(depth + 1)
		if err == nil && !p.accept(")") {
			err = errors.New("missing closing parenthesis")
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
			return nil, fmt.Errorf("%s is not a valid string: %w", value, err)
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
			return nil, fmt.Errorf("partial must be true or false, got %q", value)
		}
		return func(r *reloads.Reload) bool { return strconv.FormatBool(r.Partial) == value }, nil
	}
	return nil, fmt.Errorf("the attribute %q is not supported", attribute)
}
