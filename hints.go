package reloads

import (
	"sync"
	"time"
)

// hints passes the hints of [Client.Poll] to the waits of a client.
type hints struct {
	mu        sync.Mutex
	listeners map[*func(id string) bool]struct{} // each reports whether it waits for the reload
	early     [maxEarlyHints]earlyHint           // for which there was no wait yet; the oldest one is replaced
	next      int                                // its position
}

// earlyHint is a hint that may have come before the response to the trigger.
type earlyHint struct {
	id string
	at time.Time
}

const (
	maxEarlyHints = 64
	earlyHintTime = time.Minute // for which an early hint counts
	maxSpacing    = time.Second // between polls of a reload because of hints, so that many hints do no harm
)

// add passes a hint to all listeners.
func (h *hints) add(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	expected := false
	for listener := range h.listeners {
		expected = (*listener)(id) || expected
	}
	if !expected {
		h.early[h.next] = earlyHint{id, time.Now()}
		h.next = (h.next + 1) % maxEarlyHints
	}
}

// listen calls f with each hint until stop is called. f must not block.
func (h *hints) listen(f func(id string) bool) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = map[*func(string) bool]struct{}{}
	}
	h.listeners[&f] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, &f)
	}
}

// cameEarly reports whether there was an early hint for the reload.
func (h *hints) cameEarly(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hint := range h.early {
		if hint.id == id && time.Since(hint.at) < earlyHintTime {
			return true
		}
	}
	return false
}

// listenTo returns a channel that has a value after each hint for the reload, and a function that ends that.
func (h *hints) listenTo(id string) (hinted <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	return c, h.listen(func(hint string) bool {
		if hint != id {
			return false
		}
		select {
		case c <- struct{}{}:
		default:
		}
		return true
	})
}
