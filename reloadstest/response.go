package reloadstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
)

// response is the response to a request.
type response struct {
	status int
	header http.Header
	body   []byte
}

func jsonResponse(status int, v any) response {
	body, err := json.Marshal(v)
	if err != nil {
		return errorResponse(http.StatusInternalServerError, "HTTP-500", "Internal server error", err.Error())
	}
	return response{status: status, body: body}
}

// errorResponse returns a response with an error body of the API.
func errorResponse(status int, code, title, detail string) response {
	return jsonResponse(status, map[string]any{
		"errors": []map[string]string{{"code": code, "title": title, "detail": detail}},
	})
}

func badRequest(format string, args ...any) response {
	return errorResponse(http.StatusBadRequest, "HTTP-400", "Bad request", fmt.Sprintf(format, args...))
}

var (
	unauthorized = errorResponse(http.StatusUnauthorized, string(reloads.CodeUnauthorized), "Unauthorized",
		"The token is invalid or not provided.")
	notFound = errorResponse(http.StatusNotFound, "HTTP-404", "Not found",
		"The specified reload record could not be found.")
	// The body was observed by a user of the service. The API reference does not document a 404 for a trigger.
	appNotFound = jsonResponse(http.StatusNotFound, map[string]any{
		"errors": []map[string]string{{
			"code": string(reloads.CodeAppNotFound), "title": "Resource not found.",
			"detail": "The resource either never existed, or may have been deleted.",
		}},
		"traceId": "00000000000000005be59decca62aa01",
	})
	forbidden = errorResponse(http.StatusForbidden, string(reloads.CodeForbidden), "Forbidden",
		"The token does not allow this request.")
	quotaExceeded = errorResponse(http.StatusForbidden, string(reloads.CodeQuotaExceeded), "Forbidden",
		"The reload frequency quota has been met.")
	notCancelable = errorResponse(http.StatusConflict, "HTTP-409", "Conflict",
		"The reload is not in a cancellable state.")
	reloadPending = errorResponse(http.StatusTooManyRequests, string(reloads.CodeReloadPending), "Too many requests",
		"A pending reload request already exists for this app.")
)

// represent returns rec as it appears in the response to r: with its link, and changed as the options require.
func (t *Tenant) represent(r *http.Request, rec reloads.Reload) any {
	rec.Links.Self.Href = t.listURL(r) + "/" + rec.ID
	for _, at := range []*time.Time{&rec.CreationTime, &rec.StartTime, &rec.EndTime, &rec.EngineTime} {
		*at = at.Truncate(t.timePrecision) // does nothing for 0 or less
	}
	if len(t.omittedFields) == 0 {
		return rec
	}
	text, err := json.Marshal(rec)
	if err != nil {
		return rec // jsonResponse reports the error
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(text, &fields) // cannot fail: text is a JSON object
	for _, name := range t.omittedFields {
		delete(fields, name)
	}
	return fields
}

// listURL returns the URL of the list, as it appears in the links of the response to r.
func (t *Tenant) listURL(r *http.Request) string {
	prefix, _, _ := strings.Cut(r.URL.EscapedPath(), "/api/v1/reloads")
	path := prefix + "/api/v1/reloads"
	if t.relativeLinks {
		return path
	}
	scheme := "https://"
	if r.TLS == nil && r.URL.Scheme != "https" {
		scheme = "http://"
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	return scheme + host + path
}
