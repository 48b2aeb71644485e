package reloads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Trigger starts a reload and returns it as the service accepted it, usually QUEUED. It does not wait until the reload
// has finished; [Client.Run] does.
//
// The service refuses a trigger for three reasons, which need different reactions. [ErrReloadPending]: the app has a
// pending reload. [ErrQuotaExceeded]: the app was reloaded too often. The rate limit: the client waits and retries. If
// the connection was lost or the service failed, so that the trigger may have taken effect, the client lists the app's
// reloads before it retries, so that it does not trigger a second one. If that does not determine the outcome, the
// error matches [ErrOutcomeUnknown]. The package documentation says what is guaranteed.
func (c *Client) Trigger(ctx context.Context, req Request) (*Reload, error) {
	return c.trigger(ctx, req, triggerOptions{})
}

func (c *Client) trigger(ctx context.Context, req Request, o triggerOptions) (*Reload, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if err := req.validate(); err != nil {
		return nil, err
	}
	body, err := req.encode()
	if err != nil {
		return nil, err
	}
	return c.triggerAndReconcile(ctx, req, body, o)
}

// Get returns the reload with the given ID. The error matches [ErrNotFound] if there is none. Another record is an [*Error].
func (c *Client) Get(ctx context.Context, id string) (*Reload, error) {
	r, _, err := c.get(ctx, id, false)
	return r, err
}

// get also returns the server date of the response. once means that the request is not retried.
func (c *Client) get(ctx context.Context, id string, once bool) (*Reload, serverDate, error) {
	segment, err := pathSegment("id", id)
	if err != nil {
		return nil, serverDate{}, err
	}
	k, err := c.send(ctx, apiRequest{op: opGet, path: c.path + reloadsPath + "/" + segment, once: once})
	defer k.release()
	if err != nil {
		return nil, serverDate{}, err
	}
	r, err := k.attempt.reload()
	if err == nil && !strings.EqualFold(r.ID, id) {
		e := k.attempt.newError()
		e.Err = errOtherReload
		r, err = nil, e
	}
	return r, k.attempt.serverDate(), err
}

// Cancel asks the service to cancel a reload. It returns the status of the response: CANCELING if the reload is being
// canceled, CANCELED if it already is. It returns an error that matches [ErrNotCancelable] if the reload has finished.
//
// Canceling a reload twice is harmless. Therefore a cancel whose outcome is unknown is retried. If the response to the
// retry is 404 or 409, but the reload turns out to be canceled, Cancel succeeds.
func (c *Client) Cancel(ctx context.Context, id string) (Status, error) {
	segment, err := pathSegment("id", id)
	if err != nil {
		return "", err
	}
	k, err := c.send(ctx, apiRequest{op: opCancel, path: c.path + reloadsPath + "/" + segment + "/actions/cancel"})
	defer k.release()
	switch {
	case err != nil && k.mayHaveTakenEffect && (errors.Is(err, ErrNotCancelable) || errors.Is(err, ErrNotFound)):
		return c.canceledBefore(ctx, id, err)
	case err != nil:
		return "", err
	case k.attempt.status == http.StatusNoContent:
		return StatusCanceled, nil
	}
	// Older versions of the service send no body. The status 202 is sufficient.
	r, err := decodeReload(k.attempt.body.Bytes())
	switch {
	case err == nil && r.Status != "":
		return r.Status, nil
	case err != nil && k.attempt.status != http.StatusAccepted && k.attempt.body.Len() > 0: // a sign-in page, for example
		return "", k.attempt.invalidBody(err)
	}
	return StatusCanceling, nil
}

// canceledBefore returns the outcome of a cancel that was refused after an attempt that may have taken effect.
func (c *Client) canceledBefore(ctx context.Context, id string, refused error) (Status, error) {
	r, err := c.Get(ctx, id)
	switch {
	case err == nil && (r.Status == StatusCanceling || r.Status == StatusCanceled):
		return r.Status, nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return "", fmt.Errorf("reloads: it is unknown whether reload %s was canceled (%v): %w", id, refused, err) //nolint:errorlint // the error must not match ErrNotCancelable
	}
	return "", refused
}

// Log streams the full log of a reload. The log in the reload's record is only a summary. The full log is plain text;
// its lines end with CRLF, as the service sends them. Log returns an error that matches [ErrNotFound] if the service
// does not have a log of the reload, or does not have it yet.
//
// It is the only call outside the Reloads API: GET /api/v1/apps/{appId}/reloads/logs/{reloadId}. It counts against the
// rate limit of List and Get, and is retried like them until the log begins.
//
// The caller must close the log. Closing it early stops the download. The log is not held in memory, and its size is
// not limited. The download may take as long as ctx allows; the limit on an attempt ends when the log begins. The log is
// complete only if a read returns [io.EOF]. Only one goroutine at a time may read the log.
func (c *Client) Log(ctx context.Context, appID, reloadID string) (io.ReadCloser, error) {
	app, err := pathSegment("appID", appID)
	if err != nil {
		return nil, err
	}
	reload, err := pathSegment("reloadID", reloadID)
	if err != nil {
		return nil, err
	}
	if ctx == nil {
		return nil, errNilContext
	}
	ctx, cancel := context.WithCancel(ctx)
	k, err := c.send(ctx, apiRequest{op: opLog, path: c.path + "/apps/" + app + "/reloads/logs/" + reload})
	defer k.release()
	if err != nil {
		cancel()
		return nil, err
	}
	a := k.attempt // because k is released
	return &logStream{ReadCloser: a.stream, describe: a.transportError, ctx: ctx, cancel: cancel}, nil
}

// logStream adds the operation to the errors of reading a log.
type logStream struct {
	io.ReadCloser
	describe func(error) error
	ctx      context.Context // of the download
	cancel   context.CancelFunc
}

func (s *logStream) Close() error {
	s.cancel() // closing a gzip stream waits for a read in progress
	return s.ReadCloser.Close()
}

func (s *logStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if ended := s.ctx.Err(); ended != nil && err == io.EOF { //nolint:errorlint // the server may have noticed that nobody reads the log
		err = ended
	}
	if err != nil && err != io.EOF {
		err = s.describe(fmt.Errorf("reading the log: %w", err))
	}
	return n, err
}

// pathSegment escapes an ID, so that it stays one segment of the path.
func pathSegment(argument, id string) (string, error) {
	switch id {
	case "":
		return "", invalid(argument, `""`, "must not be empty")
	case ".", "..":
		return "", invalid(argument, strconv.Quote(id), "is not allowed in a path")
	}
	return url.PathEscape(id), nil
}
