package reloadstest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reloads-go/reloads"
)

// App is the script that the reloads of an app go by.
type App struct {
	// QueueFor is how long a reload is QUEUED.
	QueueFor time.Duration
	// RunFor is how long it is RELOADING after that.
	RunFor time.Duration
	// CancelFor is how long it is CANCELING once it is cancelled while it is RELOADING.
	CancelFor time.Duration
	// Outcome is the status that it ends in. "" means SUCCEEDED.
	Outcome reloads.Status
	// ErrorCode and ErrorMessage are those of a reload that ends as FAILED.
	ErrorCode, ErrorMessage string
	// Log is the log of a reload that has ended. "" means a summary as the service writes it.
	Log string
	// FullLog is the full log of a reload that has ended, with any ends of lines: they are sent as CRLF. "" means Log.
	FullLog string
	// Quota is how many reloads may be triggered; one more is refused. 0 means any number.
	Quota int
}

// app is an app of the tenant.
type app struct {
	script    App
	triggered int     // against its quota
	last      *record // triggered
}

func (a *app) pending(now time.Time) bool { return a.last != nil && a.last.active(now) }

// record is a reload. What changes with time is worked out when somebody looks.
type record struct {
	reloads.Reload
	script    App
	scripted  bool      // false: Reload is as it was added
	cancelled time.Time // when that was asked for; zero if it was not
}

// add makes a record. An id is as long as the service's and grows with time.
func (t *Tenant) add(r reloads.Reload, script App, scripted bool) *record {
	if r.ID == "" {
		for r.ID == "" || t.byID[r.ID] != nil {
			t.lastID++
			r.ID = fmt.Sprintf("5be59decca62aa%010x", t.lastID)
		}
	}
	if r.CreationTime.IsZero() {
		r.CreationTime = t.now()
	}
	if r.TenantID == "" {
		r.TenantID = "efSCcpNYuayTysONkUcE3F80zYQ_LV9w"
	}
	if r.UserID == "" {
		r.UserID = "FyPG6xWp6prDU6BXQ3g7LY9gWR_YRkkx"
	}
	rec := &record{Reload: r, script: script, scripted: scripted}
	insert := func(records []*record) []*record {
		i, _ := slices.BinarySearchFunc(records, rec, func(a, b *record) int {
			return cmp.Or(a.CreationTime.Compare(b.CreationTime), strings.Compare(a.ID, b.ID))
		})
		return slices.Insert(records, i, rec)
	}
	t.records = insert(t.records)
	t.byApp[r.AppID] = insert(t.byApp[r.AppID])
	t.byID[r.ID] = rec
	if a := t.apps[r.AppID]; a != nil && scripted {
		a.triggered++
		a.last = rec
	}
	return rec
}

func (rec *record) active(now time.Time) bool {
	r := rec.at(now)
	return !r.Ended()
}

// at is the record as it is at a time.
func (rec *record) at(now time.Time) reloads.Reload {
	r := rec.Reload
	if !rec.scripted {
		return r
	}
	start := r.CreationTime.Add(rec.script.QueueFor).Truncate(time.Millisecond) // as all times of the tenant
	end := start.Add(rec.script.RunFor).Truncate(time.Millisecond)
	canceled := rec.cancelled // the time at which it is done
	if !canceled.IsZero() && !canceled.Before(start) {
		canceled = canceled.Add(rec.script.CancelFor).Truncate(time.Millisecond)
	}
	switch {
	case !rec.cancelled.IsZero() && !now.Before(canceled):
		r.Status, r.EndTime = reloads.StatusCanceled, canceled
		if !canceled.Before(start) {
			r.StartTime = start
		}
	case now.Before(start):
		r.Status = reloads.StatusQueued
	case !rec.cancelled.IsZero():
		r.Status, r.StartTime = reloads.StatusCanceling, start
	case now.Before(end):
		r.Status, r.StartTime = reloads.StatusReloading, start
	default:
		r.StartTime, r.EndTime = start, end
		rec.finish(&r)
	}
	return r
}

// finish sets what a reload has that ended by its script.
func (rec *record) finish(r *reloads.Reload) {
	r.Status = rec.script.Outcome
	summary := "Reload failed"
	switch r.Status {
	case "", reloads.StatusSucceeded:
		r.Status = reloads.StatusSucceeded
		r.EngineTime = r.EndTime
		summary = "Reload finished successfully\nIn total 1000 rows read from sources.\nIn total 900 rows stored."
	case reloads.StatusFailed:
		r.ErrorCode, r.ErrorMessage = rec.script.ErrorCode, rec.script.ErrorMessage
	}
	r.Log = rec.script.Log
	if r.Log == "" {
		r.Log = "ReloadID: " + r.ID + "\n" + summary + "\n"
	}
}

// cancel cancels the reload as far as it can still be; the status is what the answer tells, "" if it cannot.
func (rec *record) cancel(now time.Time) reloads.Status {
	r := rec.at(now)
	if r.Ended() || !rec.scripted {
		return ""
	}
	if rec.cancelled.IsZero() {
		rec.cancelled = now
	}
	if r.Status == reloads.StatusQueued {
		return reloads.StatusCanceled
	}
	return reloads.StatusCanceling
}

// lateTrigger is a trigger that takes effect only after its request is gone.
type lateTrigger struct {
	at  time.Time
	req reloads.Request
}

// delayTrigger makes a trigger take effect later, if it is one that may.
func (t *Tenant) delayTrigger(r *http.Request, body []byte, after time.Duration) {
	if op, _, _ := route(r); op != Trigger {
		return
	}
	_, _, ok := t.admit(r, Trigger)
	req, reason := parseTrigger(body)
	if !ok || reason != "" {
		return
	}
	t.late = append(t.late, lateTrigger{t.now().Add(after), req})
	slices.SortStableFunc(t.late, func(a, b lateTrigger) int { return a.at.Compare(b.at) })
}

// settle lets the late triggers take effect that are due.
func (t *Tenant) settle() {
	now := t.now()
	t.late = slices.DeleteFunc(t.late, func(l lateTrigger) bool {
		if l.at.After(now) {
			return false
		}
		if a := t.apps[l.req.AppID]; a != nil && !a.pending(l.at) && !a.overQuota() {
			t.trigger(l.req, l.at)
		}
		return true
	})
}

func (a *app) overQuota() bool { return a.script.Quota > 0 && a.triggered >= a.script.Quota }

// trigger makes the record of a trigger.
func (t *Tenant) trigger(req reloads.Request, created time.Time) *record {
	return t.add(reloads.Reload{
		AppID: req.AppID, Type: reloads.TypeExternal, Partial: req.Partial, Weight: max(1, req.Weight),
		ResourceID: req.ResourceID, ResourceType: req.ResourceType, CreationTime: created,
	}, t.apps[req.AppID].script, true)
}
