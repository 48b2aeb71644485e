package openapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// document is what is kept of an OpenAPI document: names, types, values and status codes.
type document struct {
	Paths      map[string]map[string]*operation `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	Parameters  []parameter         `json:"parameters,omitempty"`
	RequestBody *body               `json:"requestBody,omitempty"`
	Responses   map[string]response `json:"responses,omitempty"`
	Tier        struct {
		Limit int `json:"limit"`
	} `json:"x-qlik-tier"`
}

type parameter struct {
	In       string `json:"in"`
	Name     string `json:"name"`
	Required bool   `json:"required"`
	Schema   schema `json:"schema"`
}

type body struct {
	Content map[string]struct {
		Schema schema `json:"schema"`
	} `json:"content,omitempty"`
}

type response struct {
	body
	Description string   `json:"description,omitempty"` // removed by reduce
	Codes       []string `json:"codes,omitempty"`       // the error codes in the description
}

type schema struct {
	Ref                  string            `json:"$ref,omitempty"`
	Type                 string            `json:"type,omitempty"`
	Enum                 []string          `json:"enum,omitempty"`
	Default              any               `json:"default,omitempty"`
	Minimum              int               `json:"minimum,omitempty"`
	Maximum              int               `json:"maximum,omitempty"`
	MaxLength            int               `json:"maxLength,omitempty"`
	MaxProperties        int               `json:"maxProperties,omitempty"`
	Required             []string          `json:"required,omitempty"`
	Properties           map[string]schema `json:"properties,omitempty"`
	AdditionalProperties *schema           `json:"additionalProperties,omitempty"`
	Items                *schema           `json:"items,omitempty"`
	AllOf                []schema          `json:"allOf,omitempty"`
}

func read(file string) (d *document, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return d, json.Unmarshal(text, &d)
}

// reduce removes all sentences from the document in a file, and writes the rest to another file.
func reduce(from, to string) error {
	d, err := read(from)
	if err != nil {
		return err
	}
	code := regexp.MustCompile(`[A-Z]+-\d{3}`)
	for _, op := range d.operations() {
		for status, r := range op.Responses {
			r.Codes, r.Description = code.FindAllString(r.Description, -1), ""
			op.Responses[status] = r
		}
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(to, append(text, '\n'), 0o644)
}

// operations returns the operations by method and path, such as "GET /api/v1/reloads".
func (d *document) operations() map[string]*operation {
	ops := map[string]*operation{}
	for path, methods := range d.Paths {
		for method, op := range methods {
			ops[strings.ToUpper(method)+" "+path] = op
		}
	}
	return ops
}

// json returns the schema of a JSON body. It is empty if there is no body.
func (b *body) json() schema { return b.Content["application/json"].Schema }

// resolve follows a reference, and merges the parts of a schema.
func (d *document) resolve(s schema) schema {
	if s.Ref != "" {
		return d.resolve(*d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")])
	}
	for _, part := range s.AllOf {
		part = d.resolve(part)
		properties := maps.Clone(part.Properties)
		maps.Copy(properties, s.Properties)
		s.Properties, s.Required = properties, slices.Concat(s.Required, part.Required)
	}
	if s.Properties != nil {
		s.Type = "object"
	}
	return s
}

// check returns how a JSON value differs from its schema. path is the name of the value.
func (d *document) check(path string, value any, s schema) (problems []string) {
	s = d.resolve(s)
	typ := "null"
	switch v := value.(type) {
	case map[string]any:
		typ = "object"
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				problems = append(problems, path+"."+name+" is missing")
			}
		}
		for name, member := range v {
			property, ok := s.Properties[name]
			switch {
			case ok:
				problems = append(problems, d.check(path+"."+name, member, property)...)
			case s.AdditionalProperties != nil:
				problems = append(problems, d.check(path+"."+name, member, *s.AdditionalProperties)...)
			default:
				problems = append(problems, path+"."+name+" is not in the document")
			}
		}
	case []any:
		typ = "array"
		for _, item := range v {
			problems = append(problems, d.check(path+"[]", item, *s.Items)...)
		}
	case string:
		typ = "string"
		if s.Enum != nil && !slices.Contains(s.Enum, v) {
			problems = append(problems, fmt.Sprintf("%s is %q, which is not in the document", path, v))
		}
	case float64:
		typ = "integer"
	case bool:
		typ = "boolean"
	}
	if typ != s.Type {
		return append(problems, fmt.Sprintf("%s is of type %s, not %s", path, typ, s.Type))
	}
	return problems
}

// sampler makes values of schemas. All texts and times differ.
type sampler struct {
	*document
	code string // the value of a member with this name
	n    int
}

func (d *sampler) sample(name string, s schema) any {
	d.n++
	s = d.resolve(s)
	switch {
	case name == "code" && d.code != "":
		return d.code
	case s.Enum != nil:
		return s.Enum[0]
	case name == "href":
		return fmt.Sprintf("https://tenant.example.com/api/v1/reloads?next=%dx", d.n)
	case strings.HasSuffix(name, "Time"):
		return time.Unix(int64(d.n), 0).UTC().Format(time.RFC3339)
	case s.Type == "string":
		return strconv.Itoa(d.n) + "x"
	case s.Type == "integer":
		return 7
	case s.Type == "boolean":
		return true
	case s.Type == "array":
		return []any{d.sample(name, *s.Items)}
	}
	object := map[string]any{}
	for name, property := range s.Properties {
		object[name] = d.sample(name, property)
	}
	return object
}
