package reloads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// Log streams the full log of a reload, of which the log in its record is only a summary: plain text whose lines end
// with CRLF, as the service sends it. A log that the service does not have, or not yet, is [ErrNotFound].
//
// It is the one call outside the four endpoints of the Reloads API: GET /api/v1/apps/{appId}/reloads/logs/{reloadId}. It
// counts against the limit of List and Get, and is retried like them until the log begins.
//
// The caller must close the log; closing it early ends the download. Nothing holds the log in memory, and its size is
// not limited. Its download may take as long as ctx, which must live until the log is read: the time limit of an attempt
// ends where the log begins. An error while reading, apart from [io.EOF], means that the log is not complete; it is
// described as those of the other calls are. A log is read by one goroutine at a time.
func (c *Client) Log(ctx context.Context, appID, reloadID string) (io.ReadCloser, error) {
	app, err := pathSegment("appID", appID)
	if err != nil {
		return nil, err
	}
	reload, err := pathSegment("reloadID", reloadID)
	if err != nil {
		return nil, err
	}
	k, err := c.send(ctx, opLog, "/apps/"+app+"/reloads/logs/"+reload, "", nil)
	defer k.release()
	if err != nil {
		return nil, err
	}
	return &logStream{k.stream, k.transportError}, nil
}

// errNoLog is the answer of a gateway that asks to sign in, say.
var errNoLog = errors.New("it is HTML, a log is plain text")

func isHTML(h http.Header) bool {
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type")) // "" if it is none
	return mediaType == "text/html"
}

// logStream describes the errors of reading a log as those of other attempts.
type logStream struct {
	io.ReadCloser
	describe func(error) error
}

func (s *logStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = s.describe(fmt.Errorf("reading the log: %w", err))
	}
	return n, err
}
