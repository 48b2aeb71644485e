package reloads

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	singlePollSpacing = time.Second // minimum time between single polls while the feed works
	maxUrgent         = 100         // reloads that are selected at once, because comparing all takes time
	maxHintTries      = 5           // retries of a poll because of a hint, with intervals that double
)

// pollAll polls single reloads until ctx has ended.
func (t *tracker) pollAll(ctx context.Context) {
	var polls sync.WaitGroup
	defer polls.Wait()
	slots := make(chan struct{}, concurrentPolls)
	for ctx.Err() == nil {
		tr, wait, changed := t.next(time.Now())
		if tr == nil {
			waitForChange(ctx, wait, changed)
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if t.budget.Wait(ctx) != nil { // also if the next poll would start after the deadline
			<-ctx.Done()
			return
		}
		polls.Go(func() {
			defer func() { <-slots }()
			t.pollOne(ctx, tr)
		})
		_ = sleep(ctx, pollCost) // so that polls are spread evenly
	}
}

// next returns the reload to poll now: one that is hinted or, of those that are due, the least recently polled one. Hinted
// ones come first, but only every second time, so that they do not starve the others. If there is none, it returns nil
// and the time until there may be one. changed is closed at the next change.
func (t *tracker) next(now time.Time) (next *trackedReload, wait time.Duration, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	candidates := []func(time.Time) (*trackedReload, time.Duration){t.nextHinted, t.nextDue}
	if t.afterHint {
		slices.Reverse(candidates)
	}
	wait = time.Hour
	for _, candidate := range candidates {
		tr, w := candidate(now)
		if tr != nil {
			tr.polling, t.afterHint = true, tr.asked
			return tr, wait, t.changed
		}
		wait = min(wait, w)
	}
	return nil, wait, t.changed
}

// nextDue returns the next reload that is due, or the time until there may be one. The caller holds t.mu.
func (t *tracker) nextDue(now time.Time) (next *trackedReload, wait time.Duration) {
	if wait = t.pollFrom.Sub(now); wait > 0 {
		return nil, wait
	}
	if len(t.urgent) == 0 && !now.Before(t.scanFrom) {
		t.selectUrgent(now)
	}
	for next == nil && len(t.urgent) > 0 {
		if tr := t.urgent[0]; t.tracked[tr.id] == tr && !tr.polling {
			next = tr
			next.asked = false
		}
		t.urgent = t.urgent[1:]
	}
	if next != nil && t.feedWorks { // otherwise the feed gets every second request, if it needs that many
		t.pollFrom = now.Add(max(singlePollSpacing, t.client.polling.MinInterval))
	}
	return next, t.scanFrom.Sub(now)
}

// hint marks a reload to be polled now, if it is tracked.
func (t *tracker) hint(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tr := t.tracked[strings.ToLower(id)]; tr != nil {
		tr.tries = 0
		t.addHint(tr)
	}
}

// addHint marks a reload to be polled now. The caller holds t.mu.
func (t *tracker) addHint(tr *trackedReload) {
	t.wake() // also if it is hinted already, because it may wait for a retry
	if tr.hinted {
		return
	}
	tr.hinted = true
	t.hinted = append(t.hinted, tr)
	if len(t.hinted) > concurrentPolls { // a list shows the ends of all of them
		signal(t.crowd)
	}
}

// nextHinted returns a hinted reload to poll now, or the time until there may be one. The caller holds t.mu.
func (t *tracker) nextHinted(now time.Time) (next *trackedReload, wait time.Duration) {
	wait = time.Hour
	t.hinted = slices.DeleteFunc(t.hinted, func(tr *trackedReload) bool {
		from := tr.polled.Add(t.client.polling.hintSpacing() << tr.tries).Sub(now)
		switch {
		case t.tracked[tr.id] != tr:
			return true
		case next != nil || tr.polling:
			return false
		case from > 0:
			wait = min(wait, from)
			return false
		}
		next, tr.asked, tr.hinted = tr, true, false
		return true
	})
	return next, wait
}

// selectUrgent selects the next reloads to poll. The caller holds t.mu.
func (t *tracker) selectUrgent(now time.Time) {
	wait := t.client.polling.MinInterval // a reload that is added later is not due earlier
	var due []*trackedReload
	for _, tr := range t.tracked {
		if w := tr.due.Sub(now); w > 0 {
			wait = min(wait, w)
		} else if !tr.polling {
			due = append(due, tr)
		}
	}
	slices.SortFunc(due, func(a, b *trackedReload) int { return a.polled.Compare(b.polled) })
	t.urgent = slices.Clone(due[:min(len(due), maxUrgent)])
	t.scanFrom = now.Add(max(wait, pollCost))
}

// pollOne polls one reload.
func (t *tracker) pollOne(ctx context.Context, tr *trackedReload) {
	defer t.setPolled(tr) // also if a transport in a test calls runtime.Goexit
	last, _ := t.state(tr)
	began := time.Now()
	r, _, err := t.client.get(ctx, last.ID, true)
	var all bool
	var final error
	if err == nil {
		t.outage.succeeded()
		tr.health.succeeded()
	} else if ctx.Err() == nil {
		t.budget.Pause(time.Now().Add(t.client.retry.refusal(err)))
		all, final = t.client.pollError(ctx, last.ID, last, began, err, &tr.health, &t.outage)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && final == nil && ctx.Err() == nil {
		final = tr.unseen.giveUp(err, minUnseen, t.client.polling.GiveUpAfter)
	}
	switch {
	case all:
		for _, tr := range t.tracked {
			t.finish(tr, final)
		}
	case final != nil:
		t.finish(tr, final)
	case err != nil:
		if tr.asked && tr.tries < maxHintTries { // the hint is not repeated
			tr.tries++
			t.addHint(tr)
		}
	default:
		if t.tracked[tr.id] == tr && r.Ended() && r.EndTime.Before(t.covered) { // or without an end time
			t.missed = time.Now()
			t.feedWorks = false
		}
		t.setState(tr, r)
	}
}

// setPolled records the end of a poll.
func (t *tracker) setPolled(tr *trackedReload) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tr.polling, tr.polled = false, time.Now()
	if tr.hinted {
		t.wake()
	}
	tr.due = tr.polled.Add(t.client.polling.interval(tr.polled.Sub(tr.created)))
}
