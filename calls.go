package reloads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Trigger starts a reload and returns it as the service accepted it, usually QUEUED. It does not wait for its end;
// [Client.Run] does.
//
// The service refuses a trigger in three ways that want different things: [ErrReloadPending], the app has a
// pending reload; [ErrQuotaExceeded], the app was reloaded too often; and its rate limit, which the client waits
// for by itself. If it is unclear whether the trigger took effect, because the connection was lost or the service
// failed, the client looks for the reload before it sends the trigger again, so that there are not two; what that does
// not tell either is [ErrOutcomeUnknown]. The package documentation says what is guaranteed.
func (c *Client) Trigger(ctx context.Context, req Request) (*Reload, error) {
	if err := req.validate(); err != nil {
		return nil, err
	}
	body, err := req.encode()
	if err != nil {
		return nil, err
	}
	return c.trigger(ctx, req, body)
}

// Get returns the reload with the given id.
func (c *Client) Get(ctx context.Context, id string) (*Reload, error) {
	r, _, err := c.get(ctx, id)
	return r, err
}

// get also tells when the answer was given, by the service's clock.
func (c *Client) get(ctx context.Context, id string) (*Reload, reading, error) {
	segment, err := pathSegment("id", id)
	if err != nil {
		return nil, reading{}, err
	}
	k, err := c.send(ctx, opGet, "/reloads/"+segment, "", nil)
	defer k.release()
	if err != nil {
		return nil, reading{}, err
	}
	r, err := k.reload()
	return r, k.reading(), err
}

// Cancel asks the service to cancel a reload. It returns the status that the service answers with: CANCELING if
// the reload is being cancelled, CANCELED if that is done already. A reload that is over is [ErrNotCancelable].
//
// Cancelling twice does no harm, so a cancel whose outcome is unknown is sent again. Where that is then refused,
// and the reload turns out to be cancelled, the refused one has succeeded.
func (c *Client) Cancel(ctx context.Context, id string) (Status, error) {
	segment, err := pathSegment("id", id)
	if err != nil {
		return "", err
	}
	k, err := c.send(ctx, opCancel, "/reloads/"+segment+cancelSuffix, "", nil)
	defer k.release()
	if err != nil {
		if k.unclear && (errors.Is(err, ErrNotCancelable) || errors.Is(err, ErrNotFound)) {
			r, getErr := c.Get(ctx, id)
			switch {
			case getErr == nil && (r.Status == StatusCanceling || r.Status == StatusCanceled):
				return r.Status, nil
			case getErr != nil && !errors.Is(getErr, ErrNotFound): // an earlier attempt may have cancelled it
				return "", fmt.Errorf("reloads: it is unclear whether reload %s was cancelled (%v): %w", id, err, getErr)
			}
		}
		return "", err
	}
	if k.status == http.StatusNoContent {
		return StatusCanceled, nil
	}
	// The body is younger than the endpoint, and the 202 says it all: one that is missing or broken is no failure.
	if r, err := k.decoder().reload(); err == nil && r.Status != "" {
		return r.Status, nil
	}
	return StatusCanceling, nil
}

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

// pathSegment escapes an id, so that it stays one segment of the path.
func pathSegment(argument, id string) (string, error) {
	switch id {
	case "":
		return "", invalid(argument, `""`, "must not be empty")
	case ".", "..":
		return "", invalid(argument, strconv.Quote(id), "a path cannot hold it")
	}
	return url.PathEscape(id), nil
}
