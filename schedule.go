package reloads

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// schedule decides which step of a batch is started next: the first one in the order of the plan whose predecessors
// have succeeded and whose app is free, while fewer than maxActive steps are active.
type schedule struct {
	steps     []*step
	maxActive int  // 0 means no limit
	lookUp    bool // a step is looked up before any step is started

	mu       sync.Mutex
	changed  chan struct{}      // closed and replaced when something has changed
	unknown  []*step            // ready to be looked up, in order
	ready    []*step            // ready to be started, in order
	delayed  []*step            // to be started again later
	taken    map[string][]*step // by each app that is not free: the steps that wait for it, in order
	lookUps  int                // look-ups in progress
	resuming bool               // the first look-ups have not ended; they come before all triggers
	starting int                // triggers in progress
	active   int                // steps whose trigger or reload is in progress
	left     int                // steps without a result
	stopped  error              // why no further step is started, or nil

	oneByOne atomic.Bool // one trigger at a time; the end of the trigger or look-up that clears it wakes the others
}

// step is one step of a batch. One goroutine at a time uses it, but the mutex of the schedule protects the first group.
type step struct {
	index      Step
	successors []*step
	waitsFor   int       // number of predecessors that have not succeeded
	known      bool      // it was looked up
	hasApp     bool      // its app is not free for others
	isActive   bool      // it counts as active
	notBefore  time.Time // of a step that is delayed
	finished   bool      // it has a result

	request Request
	runs    int       // reloads that were triggered or attached to
	sent    time.Time // when the most recent trigger was sent
	refused time.Time // until then, the service refuses another trigger, because a reload is pending
	reload  *Reload   // of the most recent run; nil if there was none
	err     error     // of the most recent run, while the step waits for the next one

	// With Once.
	identity   []byte        // of the key and the step
	listed     time.Time     // when the first request of the most recent look-up was sent
	lookUpTook time.Duration // how long its requests took
	lookedUp   time.Time     // the time back to which a look-up has to reach, by the server clock; zero before the first one
	run        int           // number of the current run under the key; earlier ones did not succeed
	invalid    error         // why the step cannot have an identity
	notKept    error         // why Once cannot be used, if the reload of this step showed it
}

// newSchedule returns the schedule of a valid plan.
func newSchedule(p *Plan, maxActive int, lookUp bool) *schedule {
	s := &schedule{
		steps: make([]*step, p.Len()), maxActive: maxActive, lookUp: lookUp, resuming: lookUp,
		changed: make(chan struct{}), taken: map[string][]*step{}, left: p.Len(),
	}
	s.oneByOne.Store(lookUp)
	for i, planned := range p.steps {
		st := &step{index: Step(i), request: planned.request(), waitsFor: len(planned.after), run: 1}
		s.steps[i] = st
		for _, predecessor := range planned.after { // one that is given twice also succeeds twice
			s.steps[predecessor].successors = append(s.steps[predecessor].successors, st)
		}
		if st.waitsFor == 0 {
			s.enqueue(st)
		}
	}
	return s
}

// task is what to do with a step.
type task int

const (
	noTask task = iota
	lookUpStep
	startStep
)

// next returns the next step and what to do with it. If nothing can be done now, it returns the time until it can.
// changed is closed at the next change. It is nil if every step has a result.
func (s *schedule) next(now time.Time) (st *step, what task, wait time.Duration, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return
	}
	wait = time.Hour
	for _, st := range s.delayed {
		if st.notBefore.After(now) {
			wait = min(wait, st.notBefore.Sub(now))
		} else {
			s.enqueue(st)
		}
	}
	s.delayed = slices.DeleteFunc(s.delayed, func(st *step) bool { return !st.notBefore.After(now) })
	if st := s.takeApp(&s.unknown); st != nil {
		s.lookUps++
		return st, lookUpStep, 0, s.changed
	}
	s.resuming = s.resuming && s.lookUps > 0 // a reload that they find counts as active
	full := s.maxActive > 0 && s.active >= s.maxActive || s.oneByOne.Load() && s.starting > 0
	if !s.resuming && !full {
		if st := s.takeApp(&s.ready); st != nil {
			s.starting++
			s.setActive(st, true)
			return st, startStep, 0, s.changed
		}
	}
	return nil, noTask, wait, s.changed
}

// takeApp takes the app of the first step whose app is free, or its own. That step and those before it leave the queue.
func (s *schedule) takeApp(queue *[]*step) *step {
	for len(*queue) > 0 {
		st := (*queue)[0]
		*queue = (*queue)[1:]
		waiting, taken := s.taken[st.app()]
		if taken && !st.hasApp {
			s.taken[st.app()] = insert(waiting, st)
			continue
		}
		s.taken[st.app()], st.hasApp = waiting, true
		return st
	}
	return nil
}

// app returns the key of the step's app. The service might not distinguish the case of letters.
func (st *step) app() string { return strings.ToLower(st.request.AppID) }

// enqueue adds a step whose predecessors have succeeded. The caller holds s.mu.
func (s *schedule) enqueue(st *step) {
	switch {
	case s.stopped != nil:
	case s.lookUp && !st.known:
		s.unknown = insert(s.unknown, st)
	default:
		s.ready = insert(s.ready, st)
	}
}

func insert(queue []*step, st *step) []*step {
	i, _ := slices.BinarySearchFunc(queue, st, func(a, b *step) int { return cmp.Compare(a.index, b.index) })
	return slices.Insert(queue, i, st)
}

func (s *schedule) setActive(st *step, active bool) {
	switch {
	case active && !st.isActive:
		s.active++
	case !active && st.isActive:
		s.active--
	}
	st.isActive = active
}

// lookedUp records the outcome of a look-up. A step that is not to be started is active from then on. It returns false if
// the step was stopped meanwhile.
func (s *schedule) lookedUp(st *step, start bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.known = true
	switch {
	case st.finished:
		return false
	case start:
		s.enqueue(st)
	default:
		s.setActive(st, true)
	}
	return true
}

// end records the end of a look-up or trigger. inProgress is the number of those in progress.
func (s *schedule) end(inProgress *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*inProgress--
	s.wake()
}

// again starts a step once more, neither before the given time nor while the service refuses its trigger. Its app stays
// taken. If no further step is started, it returns why.
func (s *schedule) again(st *step, notBefore time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped != nil {
		return s.stopped
	}
	s.setActive(st, false)
	st.notBefore = notBefore.Add(max(0, st.refused.Sub(notBefore)))
	s.delayed = append(s.delayed, st)
	s.wake()
	return nil
}

// finish records that a step has its result, and frees its app. If the step has not succeeded, it also finishes all steps
// that depend on it, and returns them.
func (s *schedule) finish(st *step, succeeded bool) (dependent []*step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setFinished(st)
	s.setActive(st, false)
	if waiting := s.taken[st.app()]; st.hasApp {
		delete(s.taken, st.app())
		if len(waiting) > 0 { // the others wait for the first one
			waiting[0].hasApp = true
			s.enqueue(waiting[0])
			s.taken[st.app()] = waiting[1:]
		}
	}
	if succeeded {
		for _, next := range st.successors {
			if next.waitsFor--; next.waitsFor == 0 && !next.finished {
				s.enqueue(next)
			}
		}
	} else {
		dependent = s.finishSuccessors(st)
	}
	s.wake()
	return dependent
}

// finishSuccessors finishes all steps that depend on st, and returns them.
func (s *schedule) finishSuccessors(st *step) (dependent []*step) {
	pending := []*step{st}
	for len(pending) > 0 {
		last := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		for _, next := range last.successors {
			if !next.finished {
				s.setFinished(next)
				dependent = append(dependent, next)
				pending = append(pending, next)
			}
		}
	}
	return dependent
}

// stop finishes all steps that are not active, because of cause, and returns them.
func (s *schedule) stop(cause error) (stopped []*step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.steps {
		if !st.isActive && !st.finished {
			s.setFinished(st)
			stopped = append(stopped, st)
		}
	}
	s.unknown, s.ready, s.delayed, s.stopped = nil, nil, nil, cmp.Or(s.stopped, cause)
	return stopped
}

func (s *schedule) setFinished(st *step) {
	st.finished = true
	s.left--
}

// wake makes the goroutine that waits for a change call next again. The caller holds s.mu.
func (s *schedule) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}
