package reloadstest

import (
	"net/http"
	"net/url"
	"strings"
)

// logPath tells the ids in the path of a full log; ok is false for any other path.
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

// serveLog answers with the full log. A reload has one when it has ended: "A detailed script progress log can be
// downloaded when the reload is finished", as the log of the API page's example says. What the service answers before is
// not known; here it is that of a reload that is not known, as for one of another app, and one without a log.
func (t *Tenant) serveLog(r *http.Request) answer {
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
	return answer{status: http.StatusOK, header: http.Header{"Content-Type": {"text/plain"}}, body: []byte(text)}
}
