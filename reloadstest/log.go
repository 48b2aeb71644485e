package reloadstest

import (
	"net/http"
	"net/url"
	"strings"
)

// logPath returns the app ID and the reload ID in the path of a full log. ok is false for any other path.
func logPath(r *http.Request) (app, id string, ok bool) {
	_, path, found := strings.Cut(r.URL.EscapedPath(), "/api/v1/apps/")
	segments := strings.Split(path, "/")
	if !found || len(segments) != 4 || segments[1] != "reloads" || segments[2] != "logs" {
		return "", "", false
	}
	app, appErr := url.PathUnescape(segments[0])
	id, idErr := url.PathUnescape(segments[3])
	return app, id, appErr == nil && idErr == nil && app != "" && id != ""
}

// serveLog returns the full log of a reload. Only finished reloads have one: the example log in the API documentation says
// "A detailed script progress log can be downloaded when the reload is finished". How the service responds before that is
// not documented; the tenant responds with 404. It also does so for a reload without a log, and for a wrong app ID.
func (t *Tenant) serveLog(r *http.Request) response {
	app, id, _ := logPath(r)
	rec := t.byID[id]
	if rec == nil || rec.AppID != app {
		return notFound
	}
	now := rec.at(t.now())
	text := rec.script.FullLog
	if text == "" {
		text = now.Log
	}
	if !now.Ended() || text == "" {
		return notFound
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	return response{status: http.StatusOK, header: http.Header{"Content-Type": {"text/plain"}}, body: []byte(text)}
}
