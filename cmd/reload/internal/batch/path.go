package batch

import (
	"slices"
	"strings"
	"time"
)

// CriticalPath returns the chain of steps that determined when the batch ended, in order of time: the step that ended
// last, before it the one that it waited for last, and so on. Steps that had no reload are not part of it.
func (b *Batch) CriticalPath() []int {
	all := make([]int, len(b.Steps))
	for i := range all {
		all[i] = i
	}
	var path []int
	for i := b.latest(all); i >= 0 && !slices.Contains(path, i); { // inexact times must not form a loop
		path = append(path, i)
		if holder := b.holder(i); holder >= 0 {
			i = holder
		} else {
			i = b.latest(b.Steps[i].After)
		}
	}
	slices.Reverse(path)
	return path
}

// latest returns the step with a reload that ended last, or -1 if there is none.
func (b *Batch) latest(steps []int) int {
	latest := -1
	for _, i := range steps {
		if s := &b.Steps[i]; s.ran() && (latest < 0 || s.Ended.After(b.Steps[latest].Ended)) {
			latest = i
		}
	}
	return latest
}

// ran reports whether the step has a result and a reload.
func (s *Step) ran() bool { return s.Finished() && len(s.Reloads) > 0 }

// holder returns the step that step i, whose predecessors had succeeded, noticeably waited for: one with the same app, or
// one that counted against the limit of active reloads. It is -1 if there is none.
func (b *Batch) holder(i int) int {
	s := &b.Steps[i]
	if s.Ready.IsZero() || !s.ran() {
		return -1
	}
	if b.MaxActive > 0 {
		holder := b.nearest(i, func(*Step) bool { return true })
		if holder >= 0 && b.activeAt(b.Steps[holder].Ended, i) >= b.MaxActive {
			return holder
		}
	}
	return b.nearest(i, func(other *Step) bool { return strings.EqualFold(other.App, s.App) })
}

// noticeable is the shortest wait that counts. Times of different clocks that are closer cannot be told apart.
const noticeable = time.Second

// nearest returns the matching step whose end was nearest to the trigger of step i, while that noticeably waited. It is -1
// if there is none.
func (b *Batch) nearest(i int, match func(*Step) bool) int {
	s := &b.Steps[i]
	triggered := b.created(s)
	from, to := s.Ready.Add(noticeable), triggered.Add(noticeable)
	if triggered.Before(from) {
		return -1
	}
	distance := func(j int) time.Duration { return triggered.Sub(b.Steps[j].Ended).Abs() }
	nearest := -1
	for j := range b.Steps {
		other := &b.Steps[j]
		held := j != i && other.ran() && !other.Ended.Before(from) && !other.Ended.After(to)
		if held && match(other) && (nearest < 0 || distance(j) < distance(nearest)) {
			nearest = j
		}
	}
	return nearest
}

// activeAt returns how many steps other than i had an active reload about that time.
func (b *Batch) activeAt(t time.Time, i int) (active int) {
	for j := range b.Steps {
		s := &b.Steps[j]
		ended := s.Finished() && s.Ended.Before(t.Add(-noticeable))
		if j != i && len(s.Reloads) > 0 && !ended && !b.created(s).After(t.Add(noticeable)) {
			active++
		}
	}
	return active
}

// Due returns when the time of step i on the critical path begins: when it was ready or, if another step held it, when
// that one ended. It is zero if the step was not ready.
func (b *Batch) Due(i int) time.Time {
	if holder := b.holder(i); holder >= 0 {
		return b.Steps[holder].Ended
	}
	return b.Steps[i].Ready
}

// Took returns the time from when step i was due until its result was known; 0 if it is not.
func (b *Batch) Took(i int) time.Duration {
	s := &b.Steps[i]
	if s.Ready.IsZero() || !s.Finished() {
		return 0
	}
	return max(0, s.Ended.Sub(b.Due(i)))
}

// Slowest returns the step of the critical path that took longest, or -1 if the path is empty.
func (b *Batch) Slowest() int {
	slowest := -1
	for _, i := range b.CriticalPath() {
		if slowest < 0 || b.Took(i) > b.Took(slowest) {
			slowest = i
		}
	}
	return slowest
}

// Layers returns the steps in layers: a step is in the first layer after all its predecessors.
func Layers(after [][]int) [][]int {
	layer := make([]int, len(after))
	var layers [][]int
	for i, predecessors := range after {
		for _, p := range predecessors {
			layer[i] = max(layer[i], layer[p]+1)
		}
		if layer[i] == len(layers) {
			layers = append(layers, nil)
		}
		layers[layer[i]] = append(layers[layer[i]], i)
	}
	return layers
}
