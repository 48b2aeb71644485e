package report

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
)

func TestTheStory(t *testing.T) {
	t.Parallel()
	tags := regexp.MustCompile(`<[^>]*>`)
	for want, b := range map[string]*batch.Batch{
		"The batch took 12m3s. Critical path: extract erp → orders → sales. The slowest step on it is sales, 8m1s, of which 6m40s running, 1m20s queued.":                                                                  night(),
		"The batch took 750ms. Critical path: only. The slowest step on it is only, 700ms, of which 400ms running,":                                                                                                        short(),
		"The batch was interrupted after 2s. No reload has finished.":                                                                                                                                                      inProgress(),
		"The batch took 6m32s. This run began 5m after the first reload; 3 steps had succeeded before. Critical path: extract → sales → margin. The slowest step on it is extract, 3m, of which 2m58s running, 2s queued.": resumedNight(),
		"The batch took 4m52s. Critical path: first → second → third. The slowest step on it is second, 3m30s, of which 3m28s running.":                                                                                    heldNight(),
		"The batch took 0s.": empty(),
		"Critical path of 30 steps: link 0 → link 1 → link 2 → link 3 → … → link 26 → link 27 → link 28 → link 29.": chain(30),
		"Did not succeed: running, queued, refused, canceled.":                                                      interruptedNight(),
		"and 2 more.": many(480),
	} {
		if text := tags.ReplaceAllString(write(t, "html", b), ""); !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// chain is a batch of n steps, one after another.
func chain(n int) *batch.Batch {
	var steps []batch.Step
	for i := range n {
		s := step("link " + string(rune('0'+i/10)) + string(rune('0'+i%10)))
		s.Name = strings.Replace(s.Name, " 0", " ", 1)
		if i > 0 {
			s.After = []int{i - 1}
		}
		steps = append(steps, s)
	}
	s := newSample(steps...)
	for i := range n {
		at := float64(3 * i)
		s.finish(i, reload(steps[i].Name, "SUCCEEDED", at, at+1, at+2))
	}
	s.Close(at(float64(3*n)), 0)
	return s.Batch
}

func TestNothingComesFromOutside(t *testing.T) {
	t.Parallel()
	outside := regexp.MustCompile(`(?i)<(script|link|img|iframe|object|embed|base|form)\b|\b(src|srcset|action|on\w+)=|@import|url\((?:[^#]|$)|href="[^#]`)
	for name, b := range map[string]*batch.Batch{"night": night(), "hostile": hostile()} {
		if found := outside.FindString(write(t, "html", b)); found != "" {
			t.Errorf("the page of %s contains %q", name, found)
		}
	}
}

func TestThePageReplacesWhatCannotBeSeen(t *testing.T) {
	t.Parallel()
	page := write(t, "html", hostile())
	if strings.ContainsAny(page, "\x00\x1b\u202e") || !strings.Contains(page, "a&lt;script&gt;alert(1)&lt;/script&gt;\uFFFD[2J\uFFFD\uFFFDgnp.exe") {
		t.Error("the page has control characters, or lacks the name")
	}
	if n := strings.Count(page, "W"); n > maxDetail {
		t.Errorf("%d characters of a log of one long line", n)
	}
}

func TestThePageOf500StepsIsSmall(t *testing.T) {
	t.Parallel()
	if size := len(write(t, "html", many(500))); size > 650_000 {
		t.Errorf("%d bytes", size)
	}
}

func TestMoments(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("CET", 3600)
	b := night()
	b.Start, b.Ended = b.Start.In(zone), at(23*3600)
	from, to := moments(b)
	want := [2]moment{
		{"2026-11-24T03:00:00+01:00", "24 November 2026, 03:00:00"},
		{"2026-11-25T02:00:00+01:00", "25 November 2026, 02:00:00 CET"},
	}
	if diff := cmp.Diff(want, [2]moment{from, to}); diff != "" {
		t.Error(diff)
	}
}
