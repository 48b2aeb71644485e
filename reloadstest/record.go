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

// App is the script of an app: it determines how the reloads of the app proceed and end. With the zero App, a reload
// succeeds immediately.
type App struct {
	// QueueFor is how long a reload is QUEUED. 0 means that it starts immediately.
	QueueFor time.Duration
	// RunFor is how long a reload is RELOADING after that. 0 means that it finishes as soon as it starts.
	RunFor time.Duration
	// CancelFor is how long a reload is CANCELING if it is canceled while it is RELOADING. 0 means that it is CANCELED
	// immediately. A QUEUED reload is always CANCELED immediately.
	CancelFor time.Duration
	// Outcome is the terminal status of a reload that is not canceled. "" means SUCCEEDED.
	Outcome reloads.Status
	// ErrorCode and ErrorMessage are set in a reload that finishes as FAILED.
	ErrorCode, ErrorMessage string
	// Log is the log in the record of a finished reload. "" means a summary in the format of the service.
	Log string
	// FullLog is the full log of a finished reload. Lines may end with LF or CRLF; the tenant sends CRLF. "" means the
	// same text as Log.
	FullLog string
	// Quota is how many reloads of the app may be triggered in total. Further triggers get a 403 response with code
	// RELOADS-013. 0 means no limit.
	Quota int
}

// app is an app of a tenant.
type app struct {
	script    App
	triggered int     // how many reloads count toward the quota
	last      *record // the most recently triggered reload; nil if there is none
}

// pending reports whether the app has a reload that is not finished.
func (a *app) pending(now time.Time) bool { return a.last != nil && a.last.active(now) }

// record is a reload. Its current state is computed when a request needs it; see at.
type record struct {
	reloads.Reload
	script     App
	scripted   bool      // false: the reload was added by AddReload and does not change
	canceledAt time.Time // when a cancel was requested; zero if none was
	announced  bool      // its event was delivered, or it finished before there was a webhook
}

// add stores a new record. A generated ID has the length of the service's IDs, and later IDs sort after earlier ones.
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
	t.announce(rec)
	return rec
}

// remove removes the record with the ID, if there is one.
func (t *Tenant) remove(id string) {
	rec := t.byID[id]
	if rec == nil {
		return
	}
	isRec := func(other *record) bool { return other == rec }
	t.records = slices.DeleteFunc(t.records, isRec)
	t.byApp[rec.AppID] = slices.DeleteFunc(t.byApp[rec.AppID], isRec)
	delete(t.byID, id)
	if a := t.apps[rec.AppID]; a != nil && a.last == rec {
		a.last = nil
	}
}

func (rec *record) active(now time.Time) bool {
	r := rec.at(now)
	return !r.Ended()
}

// at returns the state of the reload at the given time.
func (rec *record) at(now time.Time) reloads.Reload {
	r := rec.Reload
	if !rec.scripted {
		return r
	}
	start := r.CreationTime.Add(rec.script.QueueFor).Truncate(time.Millisecond) // the precision of all times in records
	end := start.Add(rec.script.RunFor).Truncate(time.Millisecond)
	canceled := rec.canceledAt // when the reload becomes CANCELED
	if !canceled.IsZero() && !canceled.Before(start) {
		canceled = canceled.Add(rec.script.CancelFor).Truncate(time.Millisecond)
	}
	switch {
	case !rec.canceledAt.IsZero() && !now.Before(canceled):
		r.Status, r.EndTime = reloads.StatusCanceled, canceled
		if !canceled.Before(start) {
			r.StartTime = start
		}
	case now.Before(start):
		r.Status = reloads.StatusQueued
	case !rec.canceledAt.IsZero():
		r.Status, r.StartTime = reloads.StatusCanceling, start
	case now.Before(end):
		r.Status, r.StartTime = reloads.StatusReloading, start
	default:
		r.StartTime, r.EndTime = start, end
		rec.finish(&r)
	}
	return r
}

// finish sets the fields of a reload that finished without being canceled.
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
	default: // the other statuses have no details
	}
	r.Log = rec.script.Log
	if r.Log == "" {
		r.Log = "ReloadID: " + r.ID + "\n" + summary + "\n"
	}
}

// cancel cancels the reload and returns its new status. It returns "" if the reload cannot be canceled.
func (rec *record) cancel(now time.Time) reloads.Status {
	r := rec.at(now)
	if r.Ended() || !rec.scripted {
		return ""
	}
	if rec.canceledAt.IsZero() {
		rec.canceledAt = now
	}
	if r.Status == reloads.StatusQueued {
		return reloads.StatusCanceled
	}
	return reloads.StatusCanceling
}

// lateTrigger is a trigger that takes effect after its connection was lost; see [Fault.EffectAfter].
type lateTrigger struct {
	at  time.Time
	req reloads.Request
}

// scheduleTrigger schedules a trigger to take effect later. It does nothing if the request is not a valid and allowed
// trigger.
func (t *Tenant) scheduleTrigger(r *http.Request, body []byte, after time.Duration) {
	if op, _, _ := route(r); op != Trigger {
		return
	}
	_, _, ok := t.admit(r, Trigger)
	req, reason := parseTrigger(body)
	if !ok || reason != "" {
		return
	}
	at := t.now().Add(after)
	t.late = append(t.late, lateTrigger{at, req})
	slices.SortStableFunc(t.late, func(a, b lateTrigger) int { return a.at.Compare(b.at) })
	t.wake(at)
}

// applyLateTriggers applies the late triggers that are due, as of the times at which they were due.
func (t *Tenant) applyLateTriggers() {
	now := t.now()
	t.late = slices.DeleteFunc(t.late, func(l lateTrigger) bool {
		if l.at.After(now) {
			return false
		}
		if a := t.apps[l.req.AppID]; a != nil && !a.pending(l.at) && !a.quotaExceeded() {
			t.trigger(l.req, l.at)
		}
		return true
	})
}

func (a *app) quotaExceeded() bool { return a.script.Quota > 0 && a.triggered >= a.script.Quota }

// trigger adds the reload of a trigger. The app must exist.
func (t *Tenant) trigger(req reloads.Request, created time.Time) *record {
	return t.add(reloads.Reload{
		AppID: req.AppID, Type: t.triggerType, Partial: req.Partial, Weight: max(1, req.Weight),
		ResourceID: req.ResourceID, ResourceType: req.ResourceType, CreationTime: created,
	}, t.apps[req.AppID].script, true)
}
