package reloads

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Filter selects reloads of a list by status, type and partial: a SCIM expression (RFC 7644, section 3.4.2.2),
// made with [StatusIs], [TypeIs], [PartialIs], [And] and [Or], or any text of one's own, which is sent as it is. The
// empty Filter selects all. The API page lists one operator, eq.
type Filter string

// StatusIs selects the reloads that have one of the statuses. Without any it is the empty Filter.
func StatusIs(statuses ...Status) Filter { return oneOf("status", statuses) }

// TypeIs selects the reloads that have one of the types. Without any it is the empty Filter.
func TypeIs(types ...Type) Filter { return oneOf("type", types) }

// PartialIs selects the partial reloads, or those that are not. The value is quoted, as in the vendor's example.
func PartialIs(partial bool) Filter {
	if partial {
		return equals("partial", "true")
	}
	return equals("partial", "false")
}

// And selects what all the filters select. Empty filters are left out.
func And(filters ...Filter) Filter { return join(" and ", filters) }

// Or selects what any of the filters selects. Empty filters are left out.
func Or(filters ...Filter) Filter { return join(" or ", filters) }

func oneOf[T ~string](attribute string, values []T) Filter {
	var filters []Filter
	for _, v := range values {
		filters = append(filters, equals(attribute, string(v)))
	}
	return Or(filters...)
}

func equals(attribute, value string) Filter {
	// A value is quoted as in JSON (RFC 7644); the error is of broken UTF-8, which has been replaced.
	quoted, _ := jsontext.AppendQuote(nil, value)
	return Filter(attribute + " eq " + string(quoted))
}

// join sets parentheses around each operand that is no single comparison, so that no reader has to know which
// operator binds tighter, and raw text stays what it was.
func join(operator string, filters []Filter) Filter {
	var operands []string
	for _, f := range filters {
		if s := strings.TrimSpace(string(f)); s != "" {
			operands = append(operands, s)
		}
	}
	if len(operands) == 1 {
		return Filter(operands[0])
	}
	for i, s := range operands {
		if !isSingle(s) {
			operands[i] = "(" + s + ")"
		}
	}
	return Filter(strings.Join(operands, operator))
}

// isSingle reports whether s is one comparison, or all in one pair of parentheses: one that is closed by its last
// character, or none and, outside of quotes, the two spaces of a comparison.
func isSingle(s string) bool {
	depth, spaces, quoted := 0, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return s[0] == '(' && i == len(s)-1
			}
		case c <= ' ':
			spaces++
		}
	}
	return depth == 0 && spaces == 2
}

var activeOnly = StatusIs(StatusQueued, StatusReloading, StatusCanceling)
