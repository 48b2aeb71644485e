package reloads

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ListOptions select and sort the reloads of a list. The zero value requests the newest 10 reloads of the tenant. Only
// a TenantAdmin's token may list the tenant; other tokens need AppID.
type ListOptions struct {
	// AppID selects the reloads of one app. Empty means those of the whole tenant.
	AppID string
	// Filter selects by status, type and partial. Empty means all reloads.
	Filter Filter
	// PageSize is the number of reloads per page, 1 to 100. 0 means the service's default, 10. It does not limit the total.
	PageSize int
	// Log includes the summary of the log in each record.
	Log bool
	// Partial selects only the partial reloads, or only the others. Nil means both.
	Partial *bool
	// Sort is the order of the list. Empty means the service's default, [SortNewestFirst].
	Sort Sort
	// Next and Prev are cursors. A cursor is the value of [Page].Next or [Page].Prev, a link as the service sent it, or
	// the bare value of the next or prev parameter. With Next, iterators walk forward from there, with Prev backward.
	// Setting both is an error. The cursor of a page or link includes the options of its list. The other fields are
	// then ignored, but an AppID that contradicts the cursor is an error. With a bare value, the other fields are sent.
	Next, Prev string
}

// Sort is the order of a list: the name of a field, with "+" or nothing in front for ascending order, or "-" for
// descending. The fields are creationTime, status, startTime and endTime. Other values are sent as they are.
type Sort string

// The orders by time. The service's default is [SortNewestFirst]. The order of reloads without the time is not documented.
const (
	SortNewestFirst    Sort = "-creationTime"
	SortOldestFirst    Sort = "+creationTime"
	SortLastEndedFirst Sort = "-endTime"
)

// Page is one page of a list.
type Page struct {
	// Reloads are the records, in the order of the list. A page may be empty and still have a Next.
	Reloads []Reload
	// Next and Prev are the cursors of the following and the preceding page. Next is empty on the last page, Prev on
	// the first. A cursor is opaque. It consists of "?" and the query of the service's link.
	Next, Prev string
	// Self is the address of the page, as the service sent it. The client never contacts it.
	Self string
}

// query returns the query string of the first page.
func (o ListOptions) query() (string, error) {
	if o.Next != "" && o.Prev != "" {
		return "", invalid("Next and Prev", fmt.Sprintf("%q and %q", o.Next, o.Prev), "only one of them may be set")
	}
	if o.PageSize < 0 || o.PageSize > maxPageSize {
		return "", invalid("PageSize", strconv.Itoa(o.PageSize), "must be 1 to 100, or 0 for the service's default")
	}
	name, cursor := "next", o.Next
	if o.Prev != "" {
		name, cursor = "prev", o.Prev
	}
	if query, ok := linkQuery(cursor); ok {
		if query == "" {
			return "", invalid("cursor", strconv.Quote(cursor), "must have a query")
		}
		values, _ := url.ParseQuery(query)
		if apps := values["appId"]; o.AppID != "" && len(apps) > 0 && !slices.Equal(apps, []string{o.AppID}) {
			return "", invalid("AppID", strconv.Quote(o.AppID), fmt.Sprintf("contradicts the cursor, which belongs to app %q", apps))
		}
		return escapeQuery(query), nil
	}
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("appId", o.AppID)
	set("filter", string(o.Filter))
	set("sort", string(o.Sort))
	set(name, cursor)
	if o.PageSize > 0 {
		set("limit", strconv.Itoa(o.PageSize))
	}
	if o.Log {
		set("log", "true")
	}
	if o.Partial != nil {
		set("partial", strconv.FormatBool(*o.Partial))
	}
	return q.Encode(), nil
}

// escapeQuery escapes control characters, spaces and non-ASCII characters. The rest stays as the service wrote it.
func escapeQuery(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c > '~' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// cursor returns the cursor of a link: its query. The host is dropped, because the client only contacts its own endpoint.
func cursor(l Link) string {
	if l.Href == "" {
		return ""
	}
	query, _ := linkQuery(l.Href)
	return "?" + query
}

// linkQuery returns the query of a link; ok is false if it has no question mark.
func linkQuery(link string) (query string, ok bool) {
	link, _, _ = strings.Cut(link, "#")
	_, query, ok = strings.Cut(link, "?")
	return query, ok
}

var errNotSorted = errors.New("the list is not sorted as requested")

// newestQuery requests the newest reloads of an app.
func newestQuery(app string) string {
	query, _ := ListOptions{AppID: app, PageSize: 20, Sort: SortNewestFirst}.query() // these options are valid
	return query
}

// List returns one page of the list. It returns an error that matches [ErrBadRequest] if an option is invalid, and an
// [*Error] for an unsuccessful or invalid response.
func (c *Client) List(ctx context.Context, opts ListOptions) (*Page, error) {
	query, err := opts.query()
	if err != nil {
		return nil, err
	}
	return c.list(ctx, query)
}

func (c *Client) list(ctx context.Context, query string) (*Page, error) {
	page, _, invalid, err := c.listValid(ctx, query, false)
	if err == nil && len(invalid) > 0 {
		return nil, invalid[0]
	}
	return page, err
}

// listValid leaves out the invalid records of a page. It returns the error of each of them. once means that the request
// is not retried.
func (c *Client) listValid(ctx context.Context, query string, once bool) (page *Page, date serverDate, invalid []error, err error) {
	k, err := c.send(ctx, apiRequest{op: opList, path: c.path + reloadsPath, query: query, once: once})
	defer k.release()
	if err != nil {
		return nil, serverDate{}, nil, err
	}
	page, invalid, err = decodeList(&k.attempt)
	return page, k.attempt.serverDate(), invalid, err
}

// decodeList decodes a response that is a page. It leaves out invalid records and returns the error of each of them.
func decodeList(a *attempt) (page *Page, invalid []error, err error) {
	body, err := decodePage(a.body.Bytes())
	if err != nil || slices.ContainsFunc(body.Data, func(r Reload) bool { return r.ID == "" }) {
		body, invalid, err = decodeValid(a.body.Bytes())
	}
	if err == nil && body.Data == nil { // otherwise a gateway's response could be taken for an empty list
		err = errors.New("the page has no data")
	}
	if err != nil {
		return nil, nil, a.invalidBody(err)
	}
	for i, err := range invalid {
		invalid[i] = a.invalidBody(err)
	}
	return &Page{
		Reloads: body.Data,
		Next:    cursor(body.Links.Next),
		Prev:    cursor(body.Links.Prev),
		Self:    body.Links.Self.Href,
	}, invalid, nil
}

// Pages returns an iterator over the pages of the list, from the first page or from the cursor in opts. It follows the
// service's links forward, or backward if opts.Prev is set.
//
// Nothing is sent until the iterator is ranged over. Ranging again starts again. An error ends the iteration. It is
// yielded once, with a nil page. An iteration without an error has returned the whole list. The error matches
// [ErrCursorLoop] if the links lead back to an earlier page, or if 1000 pages in a row are empty. A loop is detected
// after at most three times as many pages as there are distinct ones. After a break, no further request is sent.
func (c *Client) Pages(ctx context.Context, opts ListOptions) iter.Seq2[*Page, error] {
	first, err := opts.query() // now, because the caller may modify what opts.Partial points to
	return func(yield func(*Page, error) bool) {
		if err != nil {
			yield(nil, err)
			return
		}
		w := newWalk(first)
		w.backward = opts.Prev != ""
		for more := true; more; {
			page, err := c.list(ctx, w.query)
			if err != nil {
				yield(nil, err)
				return
			}
			more, err = w.advance(page) // before the loop body can modify the page
			if !yield(page, nil) {
				return
			}
			if err != nil {
				yield(nil, err)
			}
		}
	}
}

// walk is the position of an iteration in a list. It detects a loop in constant memory, by Brent's algorithm: it
// compares each query with a mark, which moves to the current query after 1, 2, 4, 8, … pages.
type walk struct {
	backward  bool
	query     string // of the next page
	mark      string
	untilMark int // pages between two moves of the mark
	sinceMark int // pages since the mark moved
	empty     int // empty pages in a row
}

func newWalk(query string) walk { return walk{query: query, mark: query, untilMark: 1} }

const maxEmptyPages = 1000 // in a row

// advance moves from a page to the next one. more is false at the end of the list.
func (w *walk) advance(p *Page) (more bool, err error) {
	opts := ListOptions{Next: p.Next}
	if w.backward {
		opts = ListOptions{Prev: p.Prev}
	}
	if opts == (ListOptions{}) {
		return false, nil
	}
	if w.empty++; len(p.Reloads) > 0 {
		w.empty = 0
	}
	query, err := opts.query()
	switch {
	case err != nil: // the link is invalid, not an argument
		return false, errors.New("reloads: the link to the next page has no query")
	case query == w.query, query == w.mark:
		return false, fmt.Errorf("%w: a page has the cursor of an earlier one", ErrCursorLoop)
	case w.empty == maxEmptyPages:
		return false, fmt.Errorf("%w: %d pages in a row are empty", ErrCursorLoop, w.empty)
	}
	w.query = query
	if w.sinceMark++; w.sinceMark == w.untilMark {
		w.mark, w.sinceMark, w.untilMark = query, 0, 2*w.untilMark
	}
	return true, nil
}

// All returns an iterator over the reloads of the list. It is like [Client.Pages] in everything else. If opts.Prev is
// set, it walks backward and yields each page from its last reload to its first: the order is the reverse of the list's.
func (c *Client) All(ctx context.Context, opts ListOptions) iter.Seq2[*Reload, error] {
	pages := c.Pages(ctx, opts)
	backward := opts.Prev != ""
	return func(yield func(*Reload, error) bool) {
		for page, err := range pages {
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Reloads {
				if backward {
					i = len(page.Reloads) - 1 - i
				}
				if !yield(&page.Reloads[i], nil) {
					return
				}
			}
		}
	}
}
