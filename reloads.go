package reloads

import (
	"encoding/json"
	"log/slog"
	"time"
)

// Reload is one reload of an app: the record that all four endpoints speak of.
//
// The zero value of a field means that the service did not send it: a time that was absent, null, empty or
// in year 1 is the zero [time.Time]. A Reload is a plain value; reading one from several goroutines is safe.
// It encodes to the JSON that the API uses, and decodes from it, with any JSON package that knows
// [encoding/json.Marshaler].
type Reload struct {
	// ID names the reload. It is never empty in a reload that the client returned.
	ID string `json:"id"`
	// AppID names the app that is reloaded.
	AppID string `json:"appId"`
	// TenantID names the tenant that owns the reload.
	TenantID string `json:"tenantId"`
	// UserID names the user who created the reload.
	UserID string `json:"userId"`
	// Type tells what initiated the reload.
	Type Type `json:"type"`
	// Status tells how far the reload is.
	Status Status `json:"status"`
	// Partial is true for a partial reload.
	Partial bool `json:"partial"`
	// Weight is 1 to 10; within a tenant a higher weight is scheduled sooner. 0 means it was not sent.
	Weight int `json:"weight,omitzero"`
	// ResourceID names the resource within its service that the reload was started for.
	ResourceID string `json:"resourceId,omitzero"`
	// ResourceType is the service that the reload was started by, such as [ResourceTypeAPI].
	ResourceType string `json:"resourceType,omitzero"`
	// CreationTime is when the reload was created, by the service's clock.
	CreationTime time.Time `json:"creationTime,omitzero"`
	// StartTime is when the reload left the queue.
	StartTime time.Time `json:"startTime,omitzero"`
	// EndTime is when the reload ended.
	EndTime time.Time `json:"endTime,omitzero"`
	// EngineTime is what the engine reported after a successful reload.
	EngineTime time.Time `json:"engineTime,omitzero"`
	// ErrorCode says why a reload is FAILED. It is free text; the API page documents only "EngineConnectionError".
	ErrorCode string `json:"errorCode,omitzero"`
	// ErrorMessage explains why a reload is FAILED.
	ErrorMessage string `json:"errorMessage,omitzero"`
	// Log is the summary of the reload's log. A list has it only if [ListOptions].Log asks for it.
	Log string `json:"log,omitzero"`
	// Links are the record's own links.
	Links Links `json:"links,omitzero"`
	// Extra holds the members of the record that this package does not know, by name, as the service sent
	// them. They are written back when the Reload is encoded. Nil when there are none.
	Extra map[string]json.RawMessage `json:",embed"`
}

// Links are the links of a record.
type Links struct {
	// Self is the address of the record itself. The client never contacts it.
	Self Link `json:"self,omitzero"`
	// Extra holds links that this package does not know, as [Reload].Extra does.
	Extra map[string]json.RawMessage `json:",embed"`
}

// IsZero reports whether there is no link at all.
func (l Links) IsZero() bool { return l.Self.IsZero() && len(l.Extra) == 0 }

// Link is one link of a record or of a page.
type Link struct {
	// Href is the address, absolute or relative, as the service wrote it; "" when there is none.
	Href string `json:"href,omitzero"`
	// Extra holds members that this package does not know, as [Reload].Extra does.
	Extra map[string]json.RawMessage `json:",embed"`
}

// IsZero reports whether the link is empty.
func (l Link) IsZero() bool { return l.Href == "" && len(l.Extra) == 0 }

// Status tells how far a reload is. The service may add values: one that this package does not know is kept as
// it is, and counts as active.
type Status string

// The statuses of the API page: three active ones, then four that a reload ends in.
const (
	StatusQueued        Status = "QUEUED"
	StatusReloading     Status = "RELOADING"
	StatusCanceling     Status = "CANCELING"
	StatusSucceeded     Status = "SUCCEEDED"
	StatusFailed        Status = "FAILED"
	StatusCanceled      Status = "CANCELED"
	StatusExceededLimit Status = "EXCEEDED_LIMIT"
)

// Ended reports whether s is a terminal status: SUCCEEDED, FAILED, CANCELED or EXCEEDED_LIMIT.
func (s Status) Ended() bool {
	switch s {
	case StatusSucceeded, StatusFailed, StatusCanceled, StatusExceededLimit:
		return true
	}
	return false
}

// Active reports whether s is no terminal status. The empty and any unknown status are active; see
// [Reload.Ended], which also looks at the record's end time.
func (s Status) Active() bool { return !s.Ended() }

// Type tells what initiated a reload. The service may add values: one that this package does not know is kept
// as it is.
type Type string

// The types of the API page.
const (
	TypeHub           Type = "hub"           // once, by hand, in the hub
	TypeExternal      Type = "external"      // by an API request, such as Trigger
	TypeChronos       Type = "chronos"       // by a time-based schedule
	TypeAutomations   Type = "automations"   // in an automation
	TypeDataRefresh   Type = "data-refresh"  // by a refresh of data
	TypeChoreographer Type = "choreographer" // by the choreographer
)

// The resource types that the service documents, for [Reload].ResourceType and [Request].ResourceType.
const (
	ResourceTypeAPI         = "api"
	ResourceTypeReloadTasks = "reload-tasks"
	ResourceTypeTasks       = "tasks"
	ResourceTypeAutomate    = "automate"
)

// Ended reports whether the reload is over. Its status decides; where this package does not know the status, a
// reload with an end time is over.
func (r *Reload) Ended() bool {
	switch r.Status {
	case StatusQueued, StatusReloading, StatusCanceling:
		return false
	}
	return r.Status.Ended() || !r.EndTime.IsZero()
}

// QueueTime is how long the reload was queued: from its creation to its start or, if it ended without having
// been started, to its end. It is 0 while that is not known.
func (r *Reload) QueueTime() time.Duration {
	if r.StartTime.IsZero() {
		return between(r.CreationTime, r.EndTime)
	}
	return between(r.CreationTime, r.StartTime)
}

// RunTime is how long the reload ran: from its start to its end. It is 0 while that is not known.
func (r *Reload) RunTime() time.Duration { return between(r.StartTime, r.EndTime) }

// between is the time from a to b, 0 if either is missing or they are the wrong way round.
func between(a, b time.Time) time.Duration {
	if a.IsZero() || b.IsZero() {
		return 0
	}
	return max(0, b.Sub(a))
}

// LogValue logs the reload as a group of the fields that one would filter by; its log text is left out.
func (r Reload) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("id", r.ID), slog.String("app", r.AppID),
		slog.String("status", string(r.Status)), slog.String("type", string(r.Type)),
	}
	if d := r.QueueTime(); d > 0 {
		attrs = append(attrs, slog.Duration("queue_time", d))
	}
	if d := r.RunTime(); d > 0 {
		attrs = append(attrs, slog.Duration("run_time", d))
	}
	if r.ErrorCode != "" || r.ErrorMessage != "" {
		attrs = append(attrs, slog.String("error_code", r.ErrorCode), slog.String("error_message", r.ErrorMessage))
	}
	return slog.GroupValue(attrs...)
}
