package planfile

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"
)

//go:embed plan.schema.json
var schemaText []byte

// loadSchema compiles the schema once.
var loadSchema = sync.OnceValue(func() *jsonschema.Schema {
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(embedded{})
	return compiler.MustCompile("plan.schema.json")
})

// embedded loads the schema.
type embedded struct{}

func (embedded) Load(string) (any, error) {
	return jsonschema.UnmarshalJSON(bytes.NewReader(schemaText))
}

// parts adds s and the schemas within it to all, by their locations.
func parts(all map[string]*jsonschema.Schema, s *jsonschema.Schema) {
	if s == nil || all[s.Location] != nil {
		return
	}
	all[s.Location] = s
	parts(all, s.Ref)
	parts(all, s.Not)
	parts(all, s.Items2020)
	for _, property := range s.Properties {
		parts(all, property)
	}
	for _, property := range s.PatternProperties {
		parts(all, property)
	}
}

// validate reports where the document does not have the form that the schema describes.
func (d *document) validate() error {
	root := loadSchema()
	var invalid *jsonschema.ValidationError
	if err := root.Validate(d.instance); !errors.As(err, &invalid) {
		return err
	}
	all := map[string]*jsonschema.Schema{}
	parts(all, root)
	d.reportInvalid(invalid, all)
	return d.err()
}

// reportInvalid reports the causes of e, or e itself. The title of a schema is what it allows.
func (d *document) reportInvalid(e *jsonschema.ValidationError, all map[string]*jsonschema.Schema) {
	for _, cause := range e.Causes {
		d.reportInvalid(cause, all)
	}
	if len(e.Causes) > 0 {
		return
	}
	s, n, step := all[e.SchemaURL], d.find(e.InstanceLocation...), d.step(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, key := range k.Properties {
			d.report(d.findKey(n, key), "%s%s", step, unknownKey(key, s))
		}
	case *kind.Required:
		for _, key := range k.Missing {
			d.report(n, "%sthe key %s is missing", step, key)
		}
	case *kind.UniqueItems:
		again := n.Content[k.Duplicates[1]]
		d.report(again, "%safter contains %s twice", step, quote(again.Value))
	case *kind.Not:
		d.report(d.findKey(n, "after-pending"), "attach and after-pending cannot be combined")
	default:
		d.report(n, "%s%s must be %s, got %s", step, d.subject(e.InstanceLocation), s.Title, d.got(n, e, s))
	}
}

// unknownKey describes a key that s does not have.
func unknownKey(key string, s *jsonschema.Schema) string {
	if len(s.PatternProperties) > 0 {
		return fmt.Sprintf("the name of a variable must have 1 to 256 characters, got %d", utf8.RuneCountInString(key))
	}
	keys := slices.Sorted(maps.Keys(s.Properties))
	if hint := suggest(key, keys); hint != "" {
		return "unknown key " + quoteKey(key) + hint
	}
	return "unknown key " + quoteKey(key) + "; the keys are " + strings.Join(keys, ", ")
}

// step returns the beginning of an error at a location within a step.
func (d *document) step(location []string) string {
	if len(location) < 2 || d.root.Kind != yaml.MappingNode {
		return ""
	}
	n := d.find(location[:2]...)
	for _, key := range []string{"name", "app"} {
		if i, ok := d.keys[n][key]; ok && n.Content[i+1].Value != "" {
			return "step " + quote(n.Content[i+1].Value) + ": "
		}
	}
	i, _ := strconv.Atoi(location[1])
	return fmt.Sprintf("step %d: ", i+1)
}

// subject returns what is at a location.
func (d *document) subject(location []string) string {
	switch {
	case len(location) == 0:
		return "the file"
	case d.root.Kind == yaml.SequenceNode:
		return "an entry"
	case len(location) == 2:
		return "it"
	case len(location) == 4 && location[2] == "after":
		return "an entry of after"
	case len(location) == 4:
		return "the variable " + quoteKey(location[3])
	}
	return location[len(location)-1]
}

// got describes the value of node n, which s refuses because of e.
func (d *document) got(n *yaml.Node, e *jsonschema.ValidationError, s *jsonschema.Schema) string {
	switch k := e.ErrorKind.(type) {
	case *kind.MaxLength:
		return fmt.Sprintf("%d characters", k.Got)
	case *kind.MaxProperties:
		return fmt.Sprint(k.Got)
	}
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "an empty list"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "no value"
	case d.hidden(e):
		return "a scalar"
	case n.Tag == "!!str" || len(n.Value) > maxQuoted:
		return quote(n.Value)
	case s.Validate(n.Value) == nil:
		return n.Value + " without quotes"
	}
	return n.Value
}

// hidden reports whether the value at e may be that of a variable, or of one that is in the wrong place.
func (d *document) hidden(e *jsonschema.ValidationError) bool {
	at := e.InstanceLocation
	wanted, ok := e.ErrorKind.(*kind.Type)
	return d.root.Kind == yaml.SequenceNode && !ok || len(at) > 2 && at[2] == "variables" ||
		ok && !slices.ContainsFunc(wanted.Want, func(t string) bool { return t != "object" && t != "array" })
}
