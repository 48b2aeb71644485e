package reloads

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// ListOptions select and order the reloads of a list. The zero value asks for the newest 10 of the tenant, which
// only a TenantAdmin's token may; others must set AppID.
type ListOptions struct {
	// AppID asks for the reloads of one app. "" asks for those of the whole tenant.
	AppID string
	// Filter selects by status, type and partial; "" selects all.
	Filter Filter
	// Limit is the number of reloads a page, 1 to 100. 0 leaves it to the service, which takes 10.
	Limit int
	// Log asks for the reloads' logs, too.
	Log bool
	// Partial asks only for the partial reloads, or only for those that are not; nil asks for both.
	Partial *bool
	// Sort orders the list; "" leaves it to the service, which takes [SortNewestFirst].
	Sort Sort
	// Next and Prev are cursors: of [Page].Next or [Page].Prev, a link as the service wrote it, or the bare value
	// of the next or prev parameter. With Next, iterators walk forward from there, with Prev backward; setting
	// both is an error. A cursor of a Page or link carries the options that its list was asked with, and those
	// beside it are not sent; beside a bare value they are.
	Next, Prev string
	// Prefetch lets iterators request the next page while the caller still works on the one before, which takes less
	// time where both are slow. A break then wastes at most one request. List does not look at it.
	Prefetch bool
}

// Sort is the order of a list: a field, with + or nothing before it for ascending order, - for descending. The
// fields are creationTime, status, startTime and endTime; others are sent as they are.
type Sort string

// The orders by time of creation; the service's default is the first.
const (
	SortNewestFirst Sort = "-creationTime"
	SortOldestFirst Sort = "+creationTime"
)

// Page is one page of a list.
type Page struct {
	// Reloads are the records, in the list's order. A page may be empty and still have a Next.
	Reloads []Reload
	// Next and Prev are the cursors of the pages after and before this one; "" at an end of the list. They are
	// opaque: "?" and the query of the service's link.
	Next, Prev string
	// Self is the address of the page as the service wrote it. The client never contacts it.
	Self string
}

const maxLimit = 100

// query is the query string that asks for the first page.
func (o ListOptions) query() (string, error) {
	if o.Next != "" && o.Prev != "" {
		return "", invalid("Next and Prev", fmt.Sprintf("%q and %q", o.Next, o.Prev), "only one of them may be set")
	}
	if o.Limit < 0 || o.Limit > maxLimit {
		return "", invalid("Limit", strconv.Itoa(o.Limit), "must be 1 to 100, or 0 for the service's default")
	}
	name, cursor := "next", o.Next
	if o.Prev != "" {
		name, cursor = "prev", o.Prev
	}
	if query, ok := queryOf(cursor); ok {
		if query == "" {
			return "", invalid("cursor", strconv.Quote(cursor), "its query is empty, so it leads nowhere")
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
	if o.Limit > 0 {
		set("limit", strconv.Itoa(o.Limit))
	}
	if o.Log {
		set("log", "true")
	}
	if o.Partial != nil {
		set("partial", strconv.FormatBool(*o.Partial))
	}
	return q.Encode(), nil
}

// escapeQuery escapes control characters, spaces and what is not ASCII, and leaves the rest as the service wrote it.
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

// cursor makes the cursor of a link. A host in it is dropped: the client talks to no other than its own.
func cursor(l Link) string {
	if l.Href == "" {
		return ""
	}
	query, _ := queryOf(l.Href)
	return "?" + query
}

// queryOf is the query of a link; ok is false if it has none, not even an empty one.
func queryOf(link string) (query string, ok bool) {
	link, _, _ = strings.Cut(link, "#")
	_, query, ok = strings.Cut(link, "?")
	return query, ok
}

// List returns one page of the list.
func (c *Client) List(ctx context.Context, opts ListOptions) (*Page, error) {
	query, err := opts.query()
	if err != nil {
		return nil, err
	}
	page, _, err := c.page(ctx, query)
	return page, err
}

// page also tells when the answer was given, by the service's clock.
func (c *Client) page(ctx context.Context, query string) (*Page, reading, error) {
	k, err := c.send(ctx, opList, "/reloads", query, nil)
	defer k.release()
	if err != nil {
		return nil, reading{}, err
	}
	page, err := k.page()
	return page, k.reading(), err
}

// page decodes an answer that is a page.
func (k *call) page() (*Page, error) {
	body, err := k.decoder().page()
	if err != nil {
		return nil, k.broken(err)
	}
	if body.Data == nil { // or else a gateway's answer would pass for an empty list
		return nil, k.broken(errors.New("the page has no data"))
	}
	for i := range body.Data {
		if body.Data[i].ID == "" {
			return nil, k.broken(errNoID)
		}
	}
	return &Page{
		Reloads: body.Data,
		Next:    cursor(body.Links.Next),
		Prev:    cursor(body.Links.Prev),
		Self:    body.Links.Self.Href,
	}, nil
}

// Pages returns an iterator over the pages of the list, from the first or from the cursor in opts, following the
// service's links forward, or backward if opts.Prev is set.
//
// Nothing is sent before the iterator is ranged over; ranging again starts again. After an error, which comes
// once and with a nil page, it ends: an iteration without an error has seen the whole list. A list whose links
// lead back to a page that was read, or over a thousand empty pages in a row, ends with [ErrCursorLoop]. A break costs
// no further request, unless opts.Prefetch is set.
func (c *Client) Pages(ctx context.Context, opts ListOptions) iter.Seq2[*Page, error] {
	first, err := opts.query() // here, not later: the caller may change what opts.Partial points to
	return func(yield func(*Page, error) bool) {
		if err != nil {
			yield(nil, err)
			return
		}
		var ahead sync.WaitGroup // of the request for the next page, under way while the caller has this one
		defer ahead.Wait()
		ctx := ctx
		if opts.Prefetch && ctx != nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
		}
		w := walk{backward: opts.Prev != "", query: first, seen: map[string]bool{first: true}}
		fetch := func() (*Page, error) {
			page, _, err := c.page(ctx, w.query)
			return page, err
		}
		page, err := fetch()
		for err == nil {
			end, wrong := w.follow(page)
			var next *Page
			request := func() {
				if err = wrong; err == nil {
					next, err = fetch()
				}
			}
			early := opts.Prefetch && !end
			if early {
				ahead.Go(request)
			}
			if !yield(page, nil) || end {
				return
			}
			if ahead.Wait(); !early {
				request()
			}
			page = next
		}
		yield(nil, err)
	}
}

// walk is the way of an iteration through a list.
type walk struct {
	backward bool
	query    string          // of the next page
	seen     map[string]bool // all queries so far
	empty    int             // pages in a row
}

const mostEmpty = 1000 // pages in a row

// follow goes from a page to the next one; end means that there is none.
func (w *walk) follow(p *Page) (end bool, err error) {
	opts := ListOptions{Next: p.Next}
	if w.backward {
		opts = ListOptions{Prev: p.Prev}
	}
	if opts == (ListOptions{}) {
		return true, nil
	}
	if w.empty++; len(p.Reloads) > 0 {
		w.empty = 0
	}
	w.query, err = opts.query()
	switch {
	case err != nil:
		return false, err
	case w.seen[w.query]:
		return false, fmt.Errorf("%w: page %d has the cursor of an earlier one", ErrCursorLoop, len(w.seen))
	case w.empty == mostEmpty:
		return false, fmt.Errorf("%w: %d pages in a row are empty", ErrCursorLoop, w.empty)
	}
	w.seen[w.query] = true
	return false, nil
}

// All returns an iterator over the reloads of the list, page after page; see [Client.Pages] for what it promises.
// If opts.Prev is set it walks backward, each page from its last reload to its first, so that the order is the
// reverse of the list's.
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
