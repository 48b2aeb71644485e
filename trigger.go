package reloads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// A POST whose response was lost may have taken effect, and retrying it may trigger a second reload. Therefore the
// client first lists the app's newest reloads, and adopts one that was created no earlier than the POST. To compare
// the service's times with its own clock, it uses the Date header of the responses.

// listWaits are the waits before each list. A POST that takes effect late is found for half a minute, before it
// is retried.
var listWaits = [...]time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}

const (
	exactOffset   = 50 * time.Millisecond // the clock offset is determined to this width, if …
	maxProbes     = 8                     // … this many lists are sufficient
	usableOffset  = time.Second           // with a wider range, the times cannot be compared
	unknownOffset = 5 * time.Minute       // the largest offset, if the service does not send its time
)

// reconciliation determines the outcome of a trigger.
type reconciliation struct {
	client *Client
	req    Request
	since  time.Time // when the first POST with an unknown outcome was sent; zero if there was none
	offset clockOffset
}

// triggerOnce sends a trigger until it has taken effect. It never retries one that may have taken effect.
func (c *Client) triggerOnce(ctx context.Context, req Request, body []byte) (*Reload, error) {
	s := reconciliation{client: c, req: req, offset: clockOffset{-unknownOffset, unknownOffset}}
	for posts := 0; ; posts++ {
		r, unknownSince, err := c.post(ctx, body)
		if err == nil {
			return r, nil
		}
		if s.since.IsZero() {
			s.since = unknownSince
		}
		waits := listWaits[:]
		var response *Error
		if errors.As(err, &response) && (response.StatusCode == http.StatusInternalServerError || response.StatusCode == http.StatusServiceUnavailable) {
			waits = listWaits[:3] // the service itself has finished, so nothing appears late
		}
		switch {
		case s.since.IsZero():
			return nil, err
		case errors.Is(err, ErrReloadPending): // the pending reload may be ours, and is listed in that case
			waits = listWaits[:1]
		case unknownSince.IsZero(): // a refusal says nothing about the previous POST
			return nil, s.unknown(err)
		}
		found, listErr := s.findWithin(ctx, waits, err)
		switch {
		case found != nil:
			return found, nil
		case listErr != nil:
			return nil, s.unknown(fmt.Errorf("%w; listing the reloads of the app: %w", err, listErr))
		case unknownSince.IsZero():
			return nil, err // the pending reload is an earlier one
		case posts >= c.retry.MaxRetries:
			return nil, s.unknown(err)
		}
		s.log(ctx, "reloads: the trigger had no effect, retrying it")
	}
}

// post sends a trigger until its outcome is known, or may not be retried. unknownSince is when an attempt with an
// unknown outcome was sent; zero if the outcome is known.
func (c *Client) post(ctx context.Context, body []byte) (r *Reload, unknownSince time.Time, err error) {
	k, err := c.send(ctx, opTrigger, reloadsPath, "", body)
	defer k.release()
	if err == nil {
		if r, err = k.attempt.reload(); err == nil {
			return r, time.Time{}, nil
		}
		k.mayHaveTakenEffect = true // it was accepted
	}
	if k.mayHaveTakenEffect {
		return nil, k.attempt.began, err
	}
	return nil, time.Time{}, err
}

// findWithin lists the reloads after each of the waits. It returns nil without an error if the trigger made none.
func (s *reconciliation) findWithin(ctx context.Context, waits []time.Duration, cause error) (*Reload, error) {
	s.log(ctx, "reloads: the outcome of the trigger is unknown, listing the reloads of the app", slog.String("error", withoutBody(cause)))
	var err error
	for _, wait := range waits {
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		var found *Reload
		if found, err = s.find(ctx); found != nil {
			s.log(ctx, "reloads: the trigger took effect, its reload was found", slog.String("reload", found.ID))
			return found, nil
		}
		if err != nil && endsReconciliation(err) {
			return nil, err
		}
	}
	return nil, err // of the last list, because an earlier one may have been too early
}

// find lists the app's newest reloads and returns the one that the trigger made. It lists again while the clock
// offset is not exact enough to distinguish it from an earlier one.
func (s *reconciliation) find(ctx context.Context) (*Reload, error) {
	for n := 0; ; n++ {
		page, date, err := s.client.list(ctx, s.query())
		if err != nil {
			return nil, err
		}
		s.offset.update(date)
		candidate := s.oldestCandidate(page.Reloads)
		width := s.offset.max - s.offset.min
		switch {
		case candidate == nil:
			return nil, nil
		case s.req.ResourceID != "" && candidate.ResourceID == s.req.ResourceID,
			!candidate.CreationTime.Before(s.since.Add(s.offset.max)):
			return candidate, nil // it cannot be somebody else's, or an earlier one
		case width <= exactOffset, n >= maxProbes && width <= usableOffset:
			return candidate, nil
		case n >= maxProbes:
			return nil, fmt.Errorf("%w: %s, created %v", errAmbiguous, candidate.ID, candidate.CreationTime)
		}
		if err := sleep(ctx, s.offset.nextProbe(time.Now())); err != nil {
			return nil, err
		}
	}
}

// oldestCandidate returns the oldest reload that matches the request and was not created before it was sent, as far as
// the clocks tell.
func (s *reconciliation) oldestCandidate(reloads []Reload) *Reload {
	var oldest *Reload
	// The service truncates times to milliseconds.
	earliest := s.since.Add(s.offset.min).Truncate(time.Millisecond)
	for i := range reloads {
		r := &reloads[i]
		if s.matches(r) && !r.CreationTime.Before(earliest) && (oldest == nil || r.CreationTime.Before(oldest.CreationTime)) {
			oldest = r
		}
	}
	return oldest
}

// matches reports whether a reload does not contradict the request. A field that the service did not send is not a
// contradiction.
func (s *reconciliation) matches(r *Reload) bool {
	return r.Partial == s.req.Partial &&
		(r.ResourceID == s.req.ResourceID || r.ResourceID == "" || s.req.ResourceID == "") &&
		(r.Type == TypeExternal || r.Type == "" || s.req.ResourceType != "")
}

// query requests more of the app's newest reloads than can have been created in the relevant time.
func (s *reconciliation) query() string {
	query, _ := ListOptions{AppID: s.req.AppID, PageSize: 20, Sort: SortNewestFirst}.query() // these options are valid
	return query
}

func (s *reconciliation) unknown(err error) error {
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

func (s *reconciliation) log(ctx context.Context, message string, attrs ...slog.Attr) {
	s.client.logger.LogAttrs(ctx, slog.LevelWarn, message, append(attrs, slog.String("app", s.req.AppID))...)
}
