package reloads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// A POST whose answer is lost may have taken effect, and sending it again may trigger a second reload. So the client
// looks first: it lists the app's newest reloads and adopts the one that was created no earlier than the POST was
// sent. The service's times are compared with the client's clock by way of the Date header of its answers.

// settleWaits are the waits before each look for the reload of an unclear POST. One that takes effect late, since it
// still is on its way, is found, too, for half a minute, before the POST is sent again.
var settleWaits = [...]time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}

const (
	sharp       = 50 * time.Millisecond // the clocks are compared this exactly, if …
	sharpLooks  = 8                     // … so many looks suffice for it
	blurred     = time.Second           // if they are compared less exactly than this, nothing can be told
	unknownSkew = 5 * time.Minute       // how far apart they may be if the service does not tell its time
)

// search looks for the reload that a trigger may have made.
type search struct {
	client *Client
	req    Request
	since  time.Time // when the first unclear POST was sent; zero if there was none
	clock  clockSkew
}

// trigger sends a trigger until it has taken effect, and never when it may have.
func (c *Client) trigger(ctx context.Context, req Request, body []byte) (*Reload, error) {
	s := search{client: c, req: req, clock: clockSkew{-unknownSkew, unknownSkew}}
	for sends := 0; ; sends++ {
		r, unclear, err := c.post(ctx, body)
		if err == nil {
			return r, nil
		}
		if s.since.IsZero() {
			s.since = unclear
		}
		waits := settleWaits[:]
		var answer *Error
		if errors.As(err, &answer) && (answer.StatusCode == http.StatusInternalServerError || answer.StatusCode == http.StatusServiceUnavailable) {
			waits = settleWaits[:3] // the service itself is done with it: nothing comes late
		}
		switch {
		case s.since.IsZero():
			return nil, err
		case errors.Is(err, ErrReloadPending): // it may well be the one that an earlier POST made; it is listed then
			waits = settleWaits[:1]
		case unclear.IsZero(): // a refusal says nothing of the POST before
			return nil, s.unknown(err)
		}
		found, searchErr := s.settle(ctx, waits, err)
		switch {
		case found != nil:
			return found, nil
		case searchErr != nil:
			return nil, s.unknown(fmt.Errorf("%w; looking for it: %w", err, searchErr))
		case unclear.IsZero():
			return nil, err // the pending reload is an earlier one
		case sends >= c.retry.MaxRetries:
			return nil, s.unknown(err)
		}
		s.log(ctx, "reloads: the trigger took no effect, sending it again")
	}
}

// post sends a trigger once, as far as its outcome is clear. unclear is when the attempt was sent whose outcome is not;
// zero if it is.
func (c *Client) post(ctx context.Context, body []byte) (r *Reload, unclear time.Time, err error) {
	k, err := c.send(ctx, opTrigger, "/reloads", "", body)
	defer k.release()
	if err == nil {
		if r, err = k.reload(); err == nil {
			return r, time.Time{}, nil
		}
		k.unclear = true // it was accepted
	}
	if k.unclear {
		return nil, k.began, err
	}
	return nil, time.Time{}, err
}

// settle looks for the reload, waiting before each look. Nil without an error means that there is none.
func (s *search) settle(ctx context.Context, waits []time.Duration, cause error) (*Reload, error) {
	s.log(ctx, "reloads: it is unknown whether the trigger took effect, looking for the reload", slog.String("error", withoutBody(cause)))
	var err error
	for _, wait := range waits {
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		var found *Reload
		if found, err = s.look(ctx); found != nil {
			s.log(ctx, "reloads: the trigger took effect, the reload is found", slog.String("reload", found.ID))
			return found, nil
		}
		if errors.Is(err, errAmbiguous) || errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrBadRequest) {
			return nil, err
		}
	}
	return nil, err // of the last look: what an earlier one did not find may have come since
}

var errAmbiguous = errors.New("a reload of the app may be it, or an earlier one")

// look lists the app's newest reloads and picks the one that the trigger made. While the clocks are not compared
// exactly enough to tell it from an earlier one, it looks again.
func (s *search) look(ctx context.Context) (*Reload, error) {
	for n := 0; ; n++ {
		page, reading, err := s.client.page(ctx, s.query())
		if err != nil {
			return nil, err
		}
		s.clock.note(reading)
		candidate := s.pick(page.Reloads)
		width := s.clock.most - s.clock.least
		switch {
		case candidate == nil:
			return nil, nil
		case s.req.ResourceID != "" && candidate.ResourceID == s.req.ResourceID,
			!candidate.CreationTime.Before(s.since.Add(s.clock.most)):
			return candidate, nil // nobody else's, or certainly no earlier one
		case width <= sharp, n >= sharpLooks && width <= blurred:
			return candidate, nil
		case n >= sharpLooks:
			return nil, fmt.Errorf("%w: %s, created %v", errAmbiguous, candidate.ID, candidate.CreationTime)
		}
		if err := sleep(ctx, s.clock.sharpen(time.Now())); err != nil {
			return nil, err
		}
	}
}

// pick returns the oldest of the reloads that may be the trigger's: not created before it was sent, as far as the
// clocks tell, and such as the trigger asked for.
func (s *search) pick(reloads []Reload) *Reload {
	var oldest *Reload
	// The service's times are cut off to milliseconds.
	earliest := s.since.Add(s.clock.least).Truncate(time.Millisecond)
	for i := range reloads {
		r := &reloads[i]
		if s.fits(r) && !r.CreationTime.Before(earliest) && (oldest == nil || r.CreationTime.Before(oldest.CreationTime)) {
			oldest = r
		}
	}
	return oldest
}

// fits reports whether a reload is such as the trigger asked for. What the service does not tell of it is no reason
// against it.
func (s *search) fits(r *Reload) bool {
	return r.Partial == s.req.Partial &&
		(r.ResourceID == s.req.ResourceID || r.ResourceID == "" || s.req.ResourceID == "") &&
		(r.Type == TypeExternal || r.Type == "" || s.req.ResourceType != "")
}

// query asks for the newest reloads of the app: more than can have been made in the time that matters.
func (s *search) query() string {
	query, _ := ListOptions{AppID: s.req.AppID, Limit: 20, Sort: SortNewestFirst}.query() // an AppID cannot be refused
	return query
}

// unknown is the error of a trigger that cannot be decided.
func (s *search) unknown(err error) error { return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err) }

func (s *search) log(ctx context.Context, message string, attrs ...slog.Attr) {
	s.client.logger.LogAttrs(ctx, slog.LevelWarn, message, append(attrs, slog.String("app", s.req.AppID))...)
}
