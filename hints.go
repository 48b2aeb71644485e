package reloads

import (
	"strings"
	"sync"
	"time"
)

// hints passes the hints of [Client.Poll] to the waits of a client.
type hints struct {
	mu        sync.Mutex
	listeners map[*func(id string)]struct{}
	recent    [maxRecentHints]recentHint // for waits that have not begun; the oldest one is replaced
	next      int                        // its position
}

type recentHint struct {
	id string
	at time.Time
}

const (
	maxRecentHints = 256
	maxHintLength  = 1024        // bytes of a hint that is remembered; no reload has a longer ID
	recentHintTime = time.Minute // for which a hint counts for a wait that has not begun
	maxSpacing     = time.Second // between polls of a reload because of hints, so that many hints do no harm
)

// add passes a hint to all listeners.
func (h *hints) add(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for listener := range h.listeners {
		(*listener)(id)
	}
	if len(id) <= maxHintLength {
		h.recent[h.next] = recentHint{id, time.Now()}
		h.next = (h.next + 1) % maxRecentHints
	}
}

// listen calls f with each hint until stop is called. f must not block.
func (h *hints) listen(f func(id string)) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[&f] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, &f)
	}
}

// cameRecently reports whether there was a hint for the reload, which may have come before its wait began.
func (h *hints) cameRecently(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hint := range h.recent {
		if strings.EqualFold(hint.id, id) && time.Since(hint.at) < recentHintTime {
			return true
		}
	}
	return false
}

// listenTo returns a channel that has a value after each hint for the reload, and a function that ends that.
func (h *hints) listenTo(id string) (hinted <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	return c, h.listen(func(hint string) {
		if strings.EqualFold(hint, id) {
			signal(c)
		}
	})
}
