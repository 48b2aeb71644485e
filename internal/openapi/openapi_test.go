// Package openapi holds the client and the fake tenant to the vendor's OpenAPI document. testdata/openapi.json has the facts of
// that document: operations, parameters, status codes, error codes, and the members, types, values and limits of schemas. To
// read a newer document, run:
//
//	go test ./internal/openapi -from FILE
//
// These tests compare the facts with the code:
//
//   - A property of a record, a link, a request or an error needs a field of the same name and type (reflection).
//   - A value of an enumeration, or an error code, needs a constant.
//   - A parameter must be in the requests that the client sends when it uses all options, with a value of its type. The client
//     must send each value of sort, and must keep the limits of limit and of a trigger.
//   - For each status code, the client gets a sample of the response. It must return all values of a response with 2xx, and for
//     any other an *Error with its values, a class and its error code.
//   - The fake tenant must respond with documented status codes, members and values only. It must send each member and status.
package openapi_test

import (
	"flag"
	"log"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

const facts = "testdata/openapi.json"

func TestMain(m *testing.M) {
	from := flag.String("from", "", "write the facts of the OpenAPI document in this `file` to "+facts+" first")
	flag.Parse()
	if *from != "" {
		if err := reduce(*from, facts); err != nil {
			log.Fatal(err)
		}
	}
	os.Exit(m.Run())
}

// problems returns the facts without a counterpart, after a change of the facts.
func problems(t *testing.T, change func(*document)) (found []string) {
	t.Helper()
	d, err := read(facts)
	if err != nil {
		t.Fatal(err)
	}
	change(d)
	synctest.Test(t, func(t *testing.T) {
		found = slices.Sorted(slices.Values(slices.Concat(d.checkClient(t.Context()), d.checkTenant())))
	})
	return found
}

func TestEveryFactHasACounterpart(t *testing.T) {
	for _, p := range problems(t, func(*document) {}) {
		t.Error(p)
	}
}

// TestOtherFactsAreReported changes one fact at a time, as a newer document may, and expects the reports.
func TestOtherFactsAreReported(t *testing.T) {
	type doc = *document
	link, text, number, flag := schema{Ref: "#/components/schemas/Href"}, schema{Type: "string"}, schema{Type: "integer"}, schema{Type: "boolean"}
	schemas := func(d doc, name string) *schema { return d.Components.Schemas[name] }
	request := func(d doc, name string, change func(*schema)) {
		p := schemas(d, "ReloadRequest").Properties[name]
		change(&p)
		schemas(d, "ReloadRequest").Properties[name] = p
	}
	query := func(d doc, name string) *schema {
		parameters := d.operations()[listPath].Parameters
		return &parameters[slices.IndexFunc(parameters, func(p parameter) bool { return p.Name == name })].Schema
	}
	addParameter := func(d doc, in string) {
		op := d.operations()[getPath]
		op.Parameters = append(op.Parameters, parameter{In: in, Name: "x", Schema: text})
	}
	addStatus := func(d doc, op, status string) {
		d.operations()[op].Responses[status] = d.operations()[op].Responses["400"]
	}
	for name, tt := range map[string]struct {
		change func(doc)
		want   []string // parts of reports
	}{
		"member of a record": {
			func(d doc) { schemas(d, "Reload").Properties["x"] = number },
			[]string{"reloads.Reload has no field for Reload.x", "does not return the value 7 of", "the fake tenant never sends Reload.x"},
		},
		"type of a member": {
			func(d doc) { schemas(d, "Reload").Properties["weight"] = text },
			[]string{"reloads.Reload.Weight is a int, but", "201.weight is of type integer, not string"},
		},
		"no member": {
			func(d doc) { delete(schemas(d, "Reload").Properties, "log") },
			[]string{"reloads.Reload.Log is not in the document", "200.log is not in the document"},
		},
		"required member": {
			func(d doc) { schemas(d, "Reload").Required = []string{"log"} }, []string{"data[].log is missing"},
		},
		"link of a record": {
			func(d doc) { schemas(d, "ReloadLinks").Properties["x"] = link }, []string{"reloads.Links has no field for ReloadLinks.x"},
		},
		"link of a page": {
			func(d doc) { schemas(d, "ReloadsLinks").AllOf[1].Properties["x"] = link }, []string{"does not return the value https:"},
		},
		"member of a link": {
			func(d doc) { schemas(d, "Href").Properties["x"] = text }, []string{"reloads.Link has no field for Href.x"},
		},
		"member of a page": {
			func(d doc) { schemas(d, "Reloads").Properties["x"] = number }, []string{"GET /api/v1/reloads 200: the client does not return the value 7"},
		},
		"member of an error": {
			func(d doc) { schemas(d, "Error").Properties["x"] = flag },
			[]string{"reloads.ErrorDetail has no field for Error.x", "does not return the value true"},
		},
		"member of a request": {
			func(d doc) { schemas(d, "ReloadRequest").Properties["x"] = text },
			[]string{"reloads.Request has no field for ReloadRequest.x", "the client does not send ReloadRequest.x"},
		},
		"required member of a request": {
			func(d doc) { schemas(d, "ReloadRequest").Required = []string{"appId", "partial"} },
			[]string{"the client triggers without ReloadRequest.partial"},
		},
		"weight": {
			func(d doc) { schemas(d, "Weight").Maximum++ }, []string{"the client has another limit on the weight", "want status 201"},
		},
		"number of variables": {
			func(d doc) { request(d, "variables", func(s *schema) { s.MaxProperties-- }) },
			[]string{"the client has another limit on the variables", "want status 400"},
		},
		"length of variables": {
			func(d doc) { request(d, "variables", func(s *schema) { s.AdditionalProperties.MaxLength-- }) },
			[]string{"the client has another limit on the length of variables", "want status 400"},
		},
		"status": {
			func(d doc) { schemas(d, "Status").Enum = append(schemas(d, "Status").Enum, "X") },
			[]string{"there is no constant Status… for the value X of Status", "the fake tenant never sends the status X"},
		},
		"no status": {
			func(d doc) { schemas(d, "Status").Enum = schemas(d, "Status").Enum[1:] },
			[]string{"Status has no value QUEUED", `201.status is "QUEUED", which is not in the document`},
		},
		"status of a cancel": {
			func(d doc) { schemas(d, "ReloadStatus").Properties["status"].Enum[0] = "X" },
			[]string{"there is no constant Status… for the value X of ReloadStatus.status"},
		},
		"type": {
			func(d doc) { schemas(d, "Type").Enum[0] = "x" }, []string{"there is no constant Type… for the value x", "Type has no value hub"},
		},
		"resource type": {
			func(d doc) { schemas(d, "ResourceType").Enum = append(schemas(d, "ResourceType").Enum, "x") },
			[]string{"there is no constant ResourceType… for the value x", `"resourceType":"x"`},
		},
		"enumeration": {
			func(d doc) { d.Components.Schemas["X"] = &schema{Type: "string", Enum: []string{"x"}} },
			[]string{"for the value x of X"},
		},
		"sort": {
			func(d doc) { query(d, "sort").Enum = append(query(d, "sort").Enum, "weight") }, []string{"want status 200, query sort=weight"},
		},
		"page size": {
			func(d doc) { query(d, "limit").Maximum = 200 },
			[]string{"does not send the value 200 of the parameter limit", "want status 200, query limit=200"},
		},
		"smaller page size": {
			func(d doc) { query(d, "limit").Maximum = 50 },
			[]string{"sends more than the maximum 50 of the parameter limit", "want status 400, query limit=51"},
		},
		"default page size": {
			func(d doc) { query(d, "limit").Default = 20.0 }, []string{"a page of the fake tenant has 10 records, not 20"},
		},
		"type of a parameter": {
			func(d doc) { *query(d, "log") = number }, []string{"does not send the query parameter log"},
		},
		"query parameter":  {func(d doc) { addParameter(d, "query") }, []string{"does not send the query parameter x"}},
		"header":           {func(d doc) { addParameter(d, "header") }, []string{"does not send the header parameter x"}},
		"cookie":           {func(d doc) { addParameter(d, "cookie") }, []string{"does not send the cookie parameter x"}},
		"path parameter":   {func(d doc) { addParameter(d, "path") }, []string{"does not send the path parameter x"}},
		"no parameter":     {func(d doc) { d.operations()[listPath].Parameters = nil }, []string{"sends the query parameter prev"}},
		"class of a code":  {func(d doc) { addStatus(d, getPath, "410") }, []string{"410: the error has no class"}},
		"redirect":         {func(d doc) { addStatus(d, cancelPath, "303") }, []string{"303: the error has no class"}},
		"accepted trigger": {func(d doc) { addStatus(d, createPath, "202") }, []string{"202: the client returned"}},
		"no status code": {
			func(d doc) { delete(d.operations()[cancelPath].Responses, "409") }, []string{"cancel 409, which is not in the document"},
		},
		"error code": {
			func(d doc) {
				r := d.operations()[getPath].Responses["403"]
				r.Codes = []string{"RELOADS-014"}
				d.operations()[getPath].Responses["403"] = r
			},
			[]string{
				"there is no constant Code… for the value RELOADS-014", "never responds to GET /api/v1/reloads/{reloadId} 403 RELOADS-014",
				"with the code RELOADS-003, not [RELOADS-014]",
			},
		},
		"rate limit": {func(d doc) { d.operations()[getPath].Tier.Limit = 50 }, []string{"the rate limit of GET /api/v1/reloads/{reloadId} is 50"}},
		"operation": {
			func(d doc) {
				d.Paths["/api/v1/reloads/{reloadId}/actions/pause"] = d.Paths["/api/v1/reloads/{reloadId}/actions/cancel"]
			},
			[]string{"the client has no method for POST /api/v1/reloads/{reloadId}/actions/pause"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := problems(t, tt.change)
			for _, want := range tt.want {
				if !slices.ContainsFunc(found, func(p string) bool { return strings.Contains(p, want) }) {
					t.Errorf("got %q, want %q", found, want)
				}
			}
		})
	}
}
