package faulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
)

// The tests in this file kill client processes at random moments and start them again, and check what Once promises: no step
// succeeds twice under a key, and none is lost.
//
// A client process waits for 3 s before its first trigger, and looks up 5 steps per second before that. Therefore the apps are
// divided among groups, which run at the same time. Each group has a few apps and one process (or two) at a time. So that
// most kills hit a process that triggers reloads, most of them follow the arrival of a trigger, and few reloads are active at
// once. When the processes of a group have run everything under a key before they were killed often enough, the group goes
// on with the next key, which is called a night here.

// crashLifeVariable is the name of an environment variable. If it is set, this program is a client process, and the value is
// a JSON lifePlan.
const crashLifeVariable = "FAULTTEST_CRASH_LIFE"

// lifePlan is what a client process does.
type lifePlan struct {
	URL, Token   string
	Key          string // of Once; empty means without Once
	Steps        []lifeStep
	MaxActive    int
	AfterPending bool
	OnChange     bool
}

// lifeStep is a step of a client process. After is the position of its predecessor, or -1.
type lifeStep struct {
	App     string
	Partial bool
	After   int
}

// stepResult is a result as a client process prints it.
type stepResult struct {
	App     string
	Partial bool
	ID      string // of the reload
	Runs    int
	Failed  bool // the error is that of a reload that FAILED
	Skipped bool
	Err     string
}

const crashReruns = 2

// runCrashLife is the program of a client process.
func runCrashLife(text string) {
	if err := printResults(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func printResults(text string) error {
	var life lifePlan
	if err := json.Unmarshal([]byte(text), &life); err != nil {
		return err
	}
	fast := func() *reloads.WindowLimiter { return reloads.NewLimiter(100000, time.Minute) }
	client, err := reloads.NewClient(life.URL, reloads.APIKey(life.Token),
		reloads.WithLimiters(reloads.Limiters{Read: fast(), Trigger: fast(), Cancel: fast()}),
		reloads.WithPolling(reloads.PollPolicy{MinInterval: 200 * time.Millisecond}),
		reloads.WithRetry(reloads.RetryPolicy{MaxRetries: 5, MinBackoff: 50 * time.Millisecond}))
	if err != nil {
		return err
	}
	var plan reloads.Plan
	for _, s := range life.Steps {
		var after []reloads.Step
		if s.After >= 0 {
			after = append(after, reloads.Step(s.After))
		}
		plan.Add(reloads.Request{AppID: s.App, Partial: s.Partial}, after...)
	}
	opts := []reloads.RunOption{reloads.Rerun(crashReruns), reloads.MaxActive(life.MaxActive)}
	if life.Key != "" {
		opts = append(opts, reloads.Once(life.Key))
	}
	if life.AfterPending {
		opts = append(opts, reloads.AfterPending())
	}
	if life.OnChange {
		opts = append(opts, reloads.OnChange(func(reloads.Request, *reloads.Reload) {}))
	}
	out := json.NewEncoder(os.Stdout)
	for result := range client.RunPlan(context.Background(), &plan, opts...) {
		r := stepResult{
			App: result.Request.AppID, Partial: result.Request.Partial, Runs: result.Runs,
			Skipped: errors.Is(result.Err, reloads.ErrSkipped),
		}
		if result.Reload != nil {
			r.ID = result.Reload.ID
		}
		var failed *reloads.ReloadError
		if result.Err != nil {
			r.Err, r.Failed = result.Err.Error(), errors.As(result.Err, &failed) && failed.Reload.Status == reloads.StatusFailed
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// crashGroup is some of the apps, and the processes that reload them.
type crashGroup struct {
	service *crashService
	url     string
	name    string
	apps    []string
	kills   int // wanted, per process

	partial     bool // each app has a second step, a partial reload
	dependent   bool // which starts after the first one
	foreign     bool // somebody else reloads the apps, too; the processes wait for that
	pair        bool // two processes at a time; one may go on where the other has given up
	withoutOnce bool
	keyPerLife  bool

	random *rand.Rand
	lives  int // processes so far
	killed killCounts
}

// killCounts counts the kills by what the process was doing.
type killCounts struct {
	lookingUp int // it had not triggered anything yet
	posting   int // a trigger was in flight
	active    int // reloads of its apps were active
	idle      int // no reload was active, after the first trigger: between two reloads, or before a rerun
}

func (k killCounts) total() int { return k.lookingUp + k.posting + k.active + k.idle }

func (k *killCounts) add(other killCounts) {
	k.lookingUp += other.lookingUp
	k.posting += other.posting
	k.active += other.active
	k.idle += other.idle
}

// newCrashGroups returns n groups with some apps each.
func newCrashGroups(s *crashService, url, name string, n, apps, kills int) (groups []*crashGroup) {
	for i := range n {
		g := &crashGroup{
			service: s, url: url, name: fmt.Sprintf("%s%d", name, i), kills: kills,
			partial: true, dependent: i%2 == 0, foreign: i%5 == 4, random: rand.New(rand.NewPCG(s.random.Uint64(), 0)),
		}
		for a := range apps {
			g.apps = append(g.apps, fmt.Sprintf("%s-app%d", g.name, a))
		}
		if i%10 == 0 {
			s.addHistory(g.apps[0], 130) // the look-up has two pages
		}
		groups = append(groups, g)
	}
	return groups
}

// newLife returns the plan of the next process. The caller must not call it concurrently.
func (g *crashGroup) newLife(night int) lifePlan {
	g.lives++
	life := lifePlan{
		URL: g.url, Token: fmt.Sprintf("%s-life%d", g.name, g.lives), Key: fmt.Sprintf("%s night %d", g.name, night),
		MaxActive: []int{0, 1, 1, 2, 2, 3}[g.random.IntN(6)], AfterPending: g.foreign || g.keyPerLife || g.withoutOnce,
		OnChange: g.random.IntN(4) == 0,
	}
	if g.keyPerLife {
		life.Key += life.Token
	}
	if g.withoutOnce {
		life.Key = ""
	}
	position := map[string]int{}
	for _, app := range g.shuffled() {
		position[app] = len(life.Steps)
		life.Steps = append(life.Steps, lifeStep{App: app, After: -1})
	}
	if g.partial {
		for _, app := range g.shuffled() {
			step := lifeStep{App: app, Partial: true, After: -1}
			if g.dependent {
				step.After = position[app]
			}
			life.Steps = append(life.Steps, step)
		}
	}
	return life
}

func (g *crashGroup) shuffled() []string {
	apps := slices.Clone(g.apps)
	g.random.Shuffle(len(apps), func(i, j int) { apps[i], apps[j] = apps[j], apps[i] })
	return apps
}

// killPlan is when a process is killed.
type killPlan struct {
	posts  int           // after so many triggers have arrived at the service; 0 means since the start
	after  time.Duration // how long after that
	latest time.Duration // but not later than this, since the start
}

// newKill returns a random moment.
func (g *crashGroup) newKill() *killPlan {
	upTo := func(d time.Duration) time.Duration { return time.Duration(g.random.Int64N(int64(d))) }
	k := &killPlan{latest: 5*time.Second + upTo(3*time.Second)}
	switch n := g.random.IntN(100); {
	case n < 15:
		k.after = upTo(4 * time.Second)
	case n < 50:
		k.posts, k.after = 1+g.random.IntN(3), upTo(300*time.Millisecond)
	default:
		k.posts, k.after = 1, upTo(2500*time.Millisecond)
	}
	return k
}

// live runs a process until it has ended, or kills it. It returns the results that the process printed.
func (g *crashGroup) live(t *testing.T, plan lifePlan, kill *killPlan) (results []stepResult, ended bool) {
	t.Helper()
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	life := g.service.begin(plan.Token)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), crashLifeVariable+"="+string(text), "GOMAXPROCS=1")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	var exit error
	if kill == nil {
		kill = &killPlan{after: 5 * time.Minute, latest: 5 * time.Minute} // a process that hangs
	}
	if exit, ended = waitForKill(life, kill, exited); !ended {
		g.kill(cmd, life)
		exit = <-exited
		ended = exit == nil // it was too late for the kill
	}
	if ended && exit != nil || stderr.Len() > 0 {
		t.Errorf("%s: %v, %s", plan.Token, exit, stderr.String())
	}
	for line := range strings.Lines(stdout.String()) {
		var r stepResult
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &r) == nil {
			results = append(results, r)
		}
	}
	return results, ended
}

// waitForKill waits until the process is to be killed, or has ended.
func waitForKill(life *crashLife, kill *killPlan, exited <-chan error) (exit error, ended bool) {
	latest := time.After(kill.latest)
	for range kill.posts {
		select {
		case <-life.posted:
		case exit := <-exited:
			return exit, true
		case <-latest:
			return nil, false
		}
	}
	select {
	case exit := <-exited:
		return exit, true
	case <-latest:
	case <-time.After(kill.after):
	}
	return nil, false
}

// kill kills a process and counts what it was doing.
func (g *crashGroup) kill(cmd *exec.Cmd, life *crashLife) {
	g.service.mu.Lock()
	defer g.service.mu.Unlock()
	if cmd.Process.Kill() != nil {
		return // it has ended
	}
	life.killed = true
	switch {
	case life.posts == 0:
		g.killed.lookingUp++
	case life.inFlight > 0:
		g.killed.posting++
	case g.service.isActive(g.apps):
		g.killed.active++
	default:
		g.killed.idle++
	}
}

// run kills processes, one after the other, and lets the last one run to its end. It returns the number of nights.
func (g *crashGroup) run(t *testing.T) (nights int) {
	defer g.disturb()()
	for night := 0; ; night++ {
		g.beginNight(night)
		for ended := false; !ended; {
			var kill *killPlan
			if g.killed.total() < g.kills {
				kill = g.newKill()
			}
			plan := g.newLife(night)
			var results []stepResult
			results, ended = g.live(t, plan, kill)
			g.checkResults(t, night, plan, results, ended)
		}
		g.checkOnce(t, night)
		if g.killed.total() >= g.kills || t.Failed() {
			return night + 1
		}
	}
}

func (g *crashGroup) beginNight(night int) {
	g.service.mu.Lock()
	defer g.service.mu.Unlock()
	for _, app := range g.apps {
		g.service.night[app] = night
	}
}

// disturb triggers reloads of the apps as somebody else, until stop is called.
func (g *crashGroup) disturb() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	if g.foreign {
		random := rand.New(rand.NewPCG(g.random.Uint64(), 0))
		go func() {
			for ctx.Err() == nil {
				g.service.triggerForeign(g.apps[random.IntN(len(g.apps))])
				time.Sleep(time.Duration(random.Int64N(int64(2 * time.Second))))
			}
		}()
	}
	return cancel
}

// runs returns the reloads of one step in one night, in order of creation.
func (g *crashGroup) runs(night int, app string, partial bool) (runs []*crashReload) {
	g.service.mu.Lock()
	defer g.service.mu.Unlock()
	for _, r := range g.service.byApp[app] {
		if !r.foreign && r.night == night && r.partial == partial {
			runs = append(runs, r)
		}
	}
	return runs
}

func succeeded(runs []*crashReload) (n int) {
	for _, r := range runs {
		if r.status(time.Now()) == "SUCCEEDED" {
			n++
		}
	}
	return n
}

func failed(runs []*crashReload, id string) bool {
	return slices.ContainsFunc(runs, func(r *crashReload) bool { return r.id == id && r.status(time.Now()) == "FAILED" })
}

// checkResults checks that the results of a process are true. If it has ended, it has one result for each step.
func (g *crashGroup) checkResults(t *testing.T, night int, plan lifePlan, results []stepResult, ended bool) {
	t.Helper()
	type stepKey struct {
		app     string
		partial bool
	}
	seen := map[stepKey]bool{}
	for _, r := range results {
		runs := g.runs(night, r.App, r.Partial)
		var last crashReload
		if len(runs) > 0 {
			last = *runs[len(runs)-1]
		}
		status := last.status(time.Now())
		switch {
		case seen[stepKey{r.App, r.Partial}]:
			t.Errorf("%s: a second result %+v", plan.Token, r)
		case r.Err == "" && r.ID == last.id && status == "SUCCEEDED":
		case r.Failed && !r.Skipped && r.Runs == crashReruns+1 && (r.ID == last.id || g.pair) && failed(runs, r.ID):
		case r.Skipped && g.dependent && r.Partial && (g.pair || len(runs) == 0 && succeeded(g.runs(night, r.App, false)) == 0):
		default:
			t.Errorf("%s: got the result %+v, but the step has %d runs, and the last one is %+v, %s", plan.Token, r, len(runs), last, status)
		}
		seen[stepKey{r.App, r.Partial}] = true
	}
	if ended && len(results) != len(plan.Steps) {
		t.Errorf("%s: got %d results, want one for each of %d steps", plan.Token, len(results), len(plan.Steps))
	}
}

// checkOnce checks that no step succeeded twice, and that none was run again after it had succeeded.
func (g *crashGroup) checkOnce(t *testing.T, night int) {
	t.Helper()
	for _, app := range g.apps {
		for _, partial := range []bool{false, true} {
			runs := g.runs(night, app, partial)
			first := slices.IndexFunc(runs, func(r *crashReload) bool { return r.status(time.Now()) == "SUCCEEDED" })
			if first >= 0 && first < len(runs)-1 {
				next := runs[first+1]
				t.Errorf("app %s, partial %v, night %d: reload %+v succeeded, then %+v was triggered", app, partial, night, *runs[first], *next)
			}
		}
	}
}

// doubles returns how many reloads of the apps succeeded after another one of their step.
func (g *crashGroup) doubles() (n int) {
	for _, app := range g.apps {
		for _, partial := range []bool{false, true} {
			n += max(0, succeeded(g.runs(0, app, partial))-1)
		}
	}
	return n
}

// startCrashService serves the model.
func startCrashService(t *testing.T) (*crashService, string) {
	t.Helper()
	seed := rand.Uint64()
	t.Log("seed", seed)
	s := newCrashService(seed)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

// runGroups runs the groups at the same time.
func runGroups(groups []*crashGroup, run func(*crashGroup)) {
	var running sync.WaitGroup
	for _, g := range groups {
		running.Go(func() { run(g) })
	}
	running.Wait()
}

// TestCrash kills client processes, one after the other in each group.
func TestCrash(t *testing.T) {
	t.Run("one process", func(t *testing.T) {
		t.Parallel()
		groups, apps, kills := 30, 10, 11
		if testing.Short() {
			groups, apps, kills = 12, 5, 5
		}
		s, url := startCrashService(t)
		began := time.Now()
		var mu sync.Mutex
		nights, lives, counts := 0, 0, killCounts{}
		all := newCrashGroups(s, url, "group", groups, apps, kills)
		runGroups(all, func(g *crashGroup) {
			n := g.run(t)
			mu.Lock()
			defer mu.Unlock()
			nights += n
			lives += g.lives
			counts.add(g.killed)
		})
		logCrashes(t, s, counts, time.Since(began))
		t.Logf("%d apps, %d processes, %d nights", apps*groups, lives, nights)
		if counts.total() < groups*kills || counts.lookingUp*2 > counts.total() || counts.posting == 0 || counts.active == 0 {
			t.Errorf("got the kills %+v, want %d, of which most follow a trigger", counts, groups*kills)
		}
	})

	// Two processes run the same steps under the same key at the same time. A reload that succeeds takes longer than the lists
	// are behind, because two triggers at the same time are the limit of Once; see its documentation.
	for name, kills := range map[string]int{"two processes": 0, "two processes that are killed": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			groups, apps := 5, 10
			if testing.Short() {
				groups, apps = 2, 5
			}
			s, url := startCrashService(t)
			s.minTime, s.spare = s.maxLag+1500*time.Millisecond, time.Second
			s.failFast = true
			began := time.Now()
			var mu sync.Mutex
			counts := killCounts{}
			runGroups(newCrashGroups(s, url, "pair", groups, apps, kills), func(g *crashGroup) {
				g.pair = true
				g.partial = kills == 0 // fewer steps are done sooner
				g.runPair(t)
				mu.Lock()
				defer mu.Unlock()
				counts.add(g.killed)
			})
			logCrashes(t, s, counts, time.Since(began))
		})
	}

	// Without Once, and with a key that differs from process to process, steps succeed twice. This shows that the tests above
	// can fail.
	for name, change := range map[string]func(*crashGroup){
		"without Once":      func(g *crashGroup) { g.withoutOnce = true },
		"a key per process": func(g *crashGroup) { g.keyPerLife = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, url := startCrashService(t)
			s.spare, s.failing = 800*time.Millisecond, 0
			g := newCrashGroups(s, url, "control", 1, 5, 4)[0]
			change(g)
			for g.killed.total() < g.kills {
				g.live(t, g.newLife(0), &killPlan{posts: 3, after: 2 * time.Second, latest: 15 * time.Second})
			}
			time.Sleep(s.minTime + s.spare) // until the last ones have finished
			if n := g.doubles(); n == 0 {
				t.Error("no step succeeded twice, so the other tests show nothing")
			} else {
				t.Logf("%d doubles", n)
			}
		})
	}
}

// runPair runs two processes at the same time. Each is killed some times, and then runs to its end.
func (g *crashGroup) runPair(t *testing.T) {
	defer g.disturb()()
	g.beginNight(0)
	var mu sync.Mutex
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for n := 0; ; n++ {
				mu.Lock()
				plan := g.newLife(0)
				var kill *killPlan
				if n < g.kills {
					kill = g.newKill()
				}
				mu.Unlock()
				results, ended := g.live(t, plan, kill)
				g.checkResults(t, 0, plan, results, ended)
				if ended {
					return
				}
			}
		})
	}
	running.Wait()
	g.checkOnce(t, 0)
}

func logCrashes(t *testing.T, s *crashService, counts killCounts, took time.Duration) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	statuses, runs := map[string]int{}, map[string]int{}
	for _, r := range s.all {
		if !r.foreign {
			statuses[r.status(time.Now())]++
			runs[r.resourceID]++
		}
	}
	repeated := 0
	for _, n := range runs {
		if n > 1 {
			repeated++
		}
	}
	t.Logf("%d kills in %v: %d before the first trigger, %d with a trigger in flight, %d with active reloads, %d others",
		counts.total(), took.Round(time.Second), counts.lookingUp, counts.posting, counts.active, counts.idle)
	t.Logf("%d triggers, %d refused, %d responses lost, %d took effect after their process was killed; %d lists, %d gets; reloads %v, %d ResourceIDs with several",
		s.posts, s.refused, s.lostPosts, s.late, s.lists, s.gets, statuses, repeated)
}
