package openapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/reloads-go/reloads"
)

// fullRequest has a value in every field.
var fullRequest = reloads.Request{
	AppID: "a", Partial: true, Weight: 1, Variables: map[string]string{"v": "x"}, ResourceID: "r", ResourceType: reloads.ResourceTypeAPI,
}

var yes = true

// calls are the methods of the client for each operation, with all options that the client has.
var calls = map[string][]func(context.Context, *reloads.Client) (any, error){
	"GET /api/v1/reloads": {
		list(reloads.ListOptions{AppID: "a", Filter: "x", PageSize: 1, Log: true, Partial: &yes, Sort: "s"}),
		list(reloads.ListOptions{Next: "n"}),
		list(reloads.ListOptions{Prev: "p"}),
	},
	"POST /api/v1/reloads": {trigger(fullRequest)},
	"GET /api/v1/reloads/{reloadId}": {
		func(ctx context.Context, c *reloads.Client) (any, error) { return c.Get(ctx, "reloadId") },
	},
	"POST /api/v1/reloads/{reloadId}/actions/cancel": {
		func(ctx context.Context, c *reloads.Client) (any, error) { return c.Cancel(ctx, "reloadId") },
	},
}

func list(o reloads.ListOptions) func(context.Context, *reloads.Client) (any, error) {
	return func(ctx context.Context, c *reloads.Client) (any, error) { return c.List(ctx, o) }
}

func trigger(r reloads.Request) func(context.Context, *reloads.Client) (any, error) {
	return func(ctx context.Context, c *reloads.Client) (any, error) { return c.Trigger(ctx, r) }
}

// server is a server in memory that always sends the same response. It keeps the requests and the most recent body.
type server struct {
	status   int
	body     any // no body if nil
	requests []*http.Request
	received []byte
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.requests = append(s.requests, r)
	if r.Body != nil {
		s.received, _ = io.ReadAll(r.Body)
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(s.status)
	if s.body != nil {
		_ = json.NewEncoder(w).Encode(s.body)
	}
	return w.Result(), nil
}

func (s *server) client() *reloads.Client {
	client, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey("t"), reloads.WithHTTPClient(&http.Client{Transport: s}))
	if err != nil {
		panic(err)
	}
	return client
}

// checkClient returns the facts that have no counterpart in the client.
func (d *document) checkClient(ctx context.Context) []string {
	return slices.Concat(d.checkFields(), d.checkConstants(), d.checkParameters(ctx), d.checkRequest(ctx), d.checkResponses(ctx))
}

// checkFields compares the properties of schemas with the fields of types, by reflection.
func (d *document) checkFields() (problems []string) {
	kinds := map[string][]reflect.Kind{
		"string": {reflect.String, reflect.Struct}, "integer": {reflect.Int}, "boolean": {reflect.Bool},
		"object": {reflect.Struct, reflect.Map},
	}
	for name, typ := range map[string]reflect.Type{
		"Reload": reflect.TypeFor[reloads.Reload](), "ReloadLinks": reflect.TypeFor[reloads.Links](), "Href": reflect.TypeFor[reloads.Link](),
		"ReloadRequest": reflect.TypeFor[reloads.Request](), "Error": reflect.TypeFor[reloads.ErrorDetail](),
	} {
		properties := d.Components.Schemas[name].Properties
		for property, s := range properties {
			field, ok := typ.FieldByNameFunc(func(field string) bool { return strings.EqualFold(field, property) })
			switch {
			case !ok:
				problems = append(problems, fmt.Sprintf("%v has no field for %s.%s", typ, name, property))
			case !slices.Contains(kinds[d.resolve(s).Type], field.Type.Kind()),
				d.resolve(s).Type == "string" && field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[time.Time]():
				problems = append(problems, fmt.Sprintf("%v.%s is a %v, but %s.%s is a %s", typ, field.Name, field.Type, name, property, d.resolve(s).Type))
			}
		}
		for field := range typ.Fields() {
			known := slices.ContainsFunc(slices.Collect(maps.Keys(properties)), func(property string) bool { return strings.EqualFold(field.Name, property) })
			if !known && field.Name != "Extra" {
				problems = append(problems, fmt.Sprintf("%v.%s is not in the document", typ, field.Name))
			}
		}
	}
	return problems
}

// checkConstants compares the values of enumerations and the error codes with the constants of the package.
func (d *document) checkConstants() (problems []string) {
	constants, err := constants()
	if err != nil {
		return []string{err.Error()}
	}
	compare := func(name, prefix string, values []string) {
		for _, v := range values {
			if !slices.Contains(constants[prefix], v) {
				problems = append(problems, fmt.Sprintf("there is no constant %s… for the value %s of %s", prefix, v, name))
			}
		}
	}
	known := map[string]string{"Status": "Status", "ReloadStatus.status": "Status", "Type": "Type", "ResourceType": "ResourceType"}
	for name, s := range d.Components.Schemas {
		schemas := map[string]schema{name: *s}
		for property, p := range s.Properties {
			schemas[name+"."+property] = p
		}
		for name, s := range schemas {
			if s.Enum == nil {
				continue
			}
			compare(name, known[name], s.Enum)
			for _, v := range constants[known[name]] {
				if !slices.Contains(s.Enum, v) {
					problems = append(problems, fmt.Sprintf("%s has no value %s, but there is a constant", name, v))
				}
			}
		}
	}
	for name, op := range d.operations() {
		for status, r := range op.Responses {
			compare(name+" "+status, "Code", r.Codes)
		}
	}
	return problems
}

// constants returns the values of the string constants of the package, by the beginnings of their names.
var constants = sync.OnceValues(func() (map[string][]string, error) {
	files, err := filepath.Glob("../../*.go")
	values := map[string][]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			for _, prefix := range []string{"ResourceType", "Status", "Type", "Code"} {
				if ok && literal.Kind == token.STRING && strings.HasPrefix(spec.Names[0].Name, prefix) {
					value, _ := strconv.Unquote(literal.Value) // cannot fail: the file was parsed
					values[prefix] = append(values[prefix], value)
				}
			}
			return true
		})
	}
	return values, err
})

// checkParameters compares the parameters with the requests that the client sends when it uses all of its options.
func (d *document) checkParameters(ctx context.Context) (problems []string) {
	for name, op := range d.operations() {
		s := &server{status: http.StatusInternalServerError}
		for _, call := range calls[name] {
			_, _ = call(ctx, s.client()) // it fails, but has sent a request
		}
		if len(s.requests) == 0 {
			problems = append(problems, "the client has no method for "+name)
			continue
		}
		method, path, _ := strings.Cut(name, " ")
		sent := url.Values{}
		for _, r := range s.requests {
			if r.Method == method { // a trigger that fails is followed by a list
				for parameter := range r.URL.Query() {
					sent.Set(parameter, r.URL.Query().Get(parameter))
				}
			}
		}
		for _, p := range op.Parameters {
			if !p.isSent(sent, s.requests[0], path) {
				problems = append(problems, fmt.Sprintf("the client does not send the %s parameter %s of %s", p.In, p.Name, name))
			}
			sent.Del(p.Name)
			problems = append(problems, p.checkValues(ctx)...)
		}
		for parameter := range sent {
			problems = append(problems, fmt.Sprintf("the client sends the query parameter %s, which %s does not have", parameter, name))
		}
		if limit := map[string]int{"GET": reloads.Tier1PerMinute, "POST": reloads.SpecialPerMinute}[method]; op.Tier.Limit != limit {
			problems = append(problems, fmt.Sprintf("the rate limit of %s is %d, not %d", name, op.Tier.Limit, limit))
		}
	}
	return problems
}

// isSent reports whether a request, or its query, has the parameter with a value of the right type.
func (p parameter) isSent(query url.Values, r *http.Request, path string) bool {
	switch p.In {
	case "header":
		return r.Header.Get(p.Name) != ""
	case "path":
		return strings.Contains(path, "{"+p.Name+"}") && strings.Contains(r.URL.Path, p.Name)
	case "query":
		value := query.Get(p.Name)
		_, notInt := strconv.Atoi(value)
		_, notBool := strconv.ParseBool(value)
		return value != "" && (p.Schema.Type == "integer") == (notInt == nil) && (p.Schema.Type == "boolean") == (notInt != nil && notBool == nil)
	}
	return false
}

// checkValues checks that the client sends what is allowed, and nothing else.
func (p parameter) checkValues(ctx context.Context) (problems []string) {
	sends := func(o reloads.ListOptions, value string) {
		s := &server{status: http.StatusBadRequest}
		_, _ = s.client().List(ctx, o)
		if len(s.requests) != 1 || s.requests[0].URL.Query().Get(p.Name) != value {
			problems = append(problems, fmt.Sprintf("the client does not send the value %s of the parameter %s", value, p.Name))
		}
	}
	for _, value := range p.Schema.Enum {
		sends(reloads.ListOptions{Sort: reloads.Sort(value)}, value)
	}
	if p.Schema.Maximum > 0 {
		sends(reloads.ListOptions{PageSize: p.Schema.Minimum}, strconv.Itoa(p.Schema.Minimum))
		sends(reloads.ListOptions{PageSize: p.Schema.Maximum}, strconv.Itoa(p.Schema.Maximum))
		if !refuses(ctx, list(reloads.ListOptions{PageSize: p.Schema.Maximum + 1})) {
			problems = append(problems, fmt.Sprintf("the client sends more than the maximum %d of the parameter %s", p.Schema.Maximum, p.Name))
		}
	}
	return problems
}

// refuses reports whether the client refuses a call before it sends anything.
func refuses(ctx context.Context, call func(context.Context, *reloads.Client) (any, error)) bool {
	s := &server{status: http.StatusBadRequest}
	_, err := call(ctx, s.client())
	return errors.Is(err, reloads.ErrBadRequest) && len(s.requests) == 0
}

// checkRequest compares the body of a trigger with its schema.
func (d *document) checkRequest(ctx context.Context) (problems []string) {
	schema := d.resolve(d.operations()["POST /api/v1/reloads"].RequestBody.json())
	s := &server{status: http.StatusBadRequest}
	_, _ = trigger(fullRequest)(ctx, s.client())
	var sent map[string]any
	if err := json.Unmarshal(s.received, &sent); err != nil {
		return []string{"the body of a trigger: " + err.Error()}
	}
	problems = d.check("ReloadRequest", sent, schema)
	for name := range schema.Properties {
		if _, ok := sent[name]; !ok {
			problems = append(problems, "the client does not send ReloadRequest."+name)
		}
	}
	for _, name := range schema.Required {
		r := fullRequest
		if field := reflect.ValueOf(&r).Elem().FieldByNameFunc(func(field string) bool { return strings.EqualFold(field, name) }); field.IsValid() {
			field.SetZero()
		}
		if !refuses(ctx, trigger(r)) {
			problems = append(problems, "the client triggers without ReloadRequest."+name)
		}
	}
	weight, variables := d.resolve(schema.Properties["weight"]), schema.Properties["variables"]
	limits := func(weight, count, length int) reloads.Request {
		r := reloads.Request{AppID: "a", Weight: weight, Variables: map[string]string{}}
		for i := range count {
			r.Variables[fmt.Sprintf("%0*d", length, i)] = strings.Repeat("x", length)
		}
		return r
	}
	w, n, l := weight.Maximum, variables.MaxProperties, variables.AdditionalProperties.MaxLength
	for what, r := range map[string]reloads.Request{"weight": limits(w+1, n, l), "variables": limits(w, n+1, l), "length of variables": limits(w, n, l+1)} {
		if !refuses(ctx, trigger(r)) || refuses(ctx, trigger(limits(w, n, l))) {
			problems = append(problems, "the client has another limit on the "+what)
		}
	}
	return problems
}

// classes are the classes of responses outside 2xx.
var classes = []error{
	reloads.ErrBadRequest, reloads.ErrUnauthorized, reloads.ErrForbidden, reloads.ErrNotFound, reloads.ErrNotCancelable,
	reloads.ErrReloadPending, reloads.ErrQuotaExceeded, reloads.ErrRateLimited, reloads.ErrServer,
}

// checkResponses lets the client read a sample of each response, with each of its error codes.
func (d *document) checkResponses(ctx context.Context) (problems []string) {
	for name, op := range d.operations() {
		for status, r := range op.Responses {
			for _, code := range append([]string{""}, r.Codes...) {
				for _, problem := range d.checkResponse(ctx, name, status, r, code) {
					problems = append(problems, strings.TrimSpace(name+" "+status+" "+code)+": "+problem)
				}
			}
		}
	}
	return problems
}

func (d *document) checkResponse(ctx context.Context, name, status string, r response, code string) (problems []string) {
	s := &server{}
	s.status, _ = strconv.Atoi(status)
	if len(r.Content) > 0 {
		s.body = (&sampler{document: d, code: code}).sample("", r.json())
		if record, ok := s.body.(map[string]any); ok && record["id"] != nil {
			record["id"] = "reloadId" // as requested
		}
	}
	if len(calls[name]) == 0 {
		return nil // checkParameters reports it
	}
	result, err := calls[name][0](ctx, s.client())
	if s.status < 200 || s.status > 299 {
		e, ok := errors.AsType[*reloads.Error](err)
		if !ok || e.StatusCode != s.status {
			return []string{fmt.Sprintf("the client returned %v, %v", result, err)}
		}
		is := func(class error) bool { return errors.Is(e, class) }
		if !slices.ContainsFunc(classes, is) {
			problems = append(problems, "the error has no class")
		}
		if code != "" && !is(reloads.Code(code)) {
			problems = append(problems, "the error does not match the code")
		}
		result, err = e.Details, nil
	}
	if err != nil {
		return []string{"the client returned " + err.Error()}
	}
	read := leaves(reflect.ValueOf(result))
	for _, sample := range leaves(reflect.ValueOf(s.body)) {
		// The cursors of a page are the queries of its links.
		i := slices.IndexFunc(read, func(s string) bool { return s == sample || s != "" && s[0] == '?' && strings.HasSuffix(sample, s) })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("the client does not return the value %s of the response %v", sample, s.body))
			continue
		}
		read = slices.Delete(read, i, i+1)
	}
	return problems
}

// leaves returns all texts, numbers and bools in a value, except those in a field Extra.
func leaves(v reflect.Value) (found []string) {
	if v.IsValid() && v.Type() == reflect.TypeFor[time.Time]() {
		return []string{v.Interface().(time.Time).Format(time.RFC3339)}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return leaves(v.Elem())
	case reflect.Struct:
		for field, value := range v.Fields() {
			if field.Name != "Extra" {
				found = append(found, leaves(value)...)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			found = append(found, leaves(v.Index(i))...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			found = append(found, leaves(v.MapIndex(key))...)
		}
	case reflect.Invalid:
	default:
		found = append(found, fmt.Sprint(v.Interface()))
	}
	return found
}
