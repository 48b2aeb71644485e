package reloads

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Filter selects reloads of a list by status, type and partial. It is a SCIM expression (RFC 7644, section 3.4.2.2).
// Build one with [StatusIs], [TypeIs], [PartialIs], [And] and [Or], or write it by hand; it is sent as it is. The
// empty Filter selects all reloads. The API page lists one operator, eq.
type Filter string

// StatusIs selects the reloads with one of the statuses. Without a status it returns the empty Filter.
func StatusIs(statuses ...Status) Filter { return oneOf("status", statuses) }

// TypeIs selects the reloads with one of the types. Without a type it returns the empty Filter.
func TypeIs(types ...Type) Filter { return oneOf("type", types) }

// PartialIs selects the partial reloads if partial is true, and the others if it is false. The value is quoted, as in
// the example of the API page.
func PartialIs(partial bool) Filter { return equals("partial", strconv.FormatBool(partial)) }

// And selects the reloads that all filters select. Empty filters are ignored.
func And(filters ...Filter) Filter { return join(" and ", filters) }

// Or selects the reloads that any of the filters selects. Empty filters are ignored.
func Or(filters ...Filter) Filter { return join(" or ", filters) }

func oneOf[T ~string](attribute string, values []T) Filter {
	var comparisons []string
	for _, v := range values {
		comparisons = append(comparisons, string(equals(attribute, string(v))))
	}
	return Filter(strings.Join(comparisons, " or "))
}

func equals(attribute, value string) Filter {
	// A value is quoted as in JSON (RFC 7644). The error means invalid UTF-8, which was replaced.
	quoted, _ := jsontext.AppendQuote(nil, value)
	return Filter(attribute + " eq " + string(quoted))
}

// join puts parentheses around each operand, so that the precedence of operators does not matter.
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
		operands[i] = "(" + s + ")"
	}
	return Filter(strings.Join(operands, operator))
}
