package reloads

import (
	"encoding/json"
	"log/slog"
	"time"
)

// Reload is one reload of an app: the record that all four endpoints return.
//
// A field has its zero value if the service did not send it. A time that was absent, null, empty or in year 1 is
// the zero [time.Time]. A Reload encodes to the JSON of the API, and decodes from it, with encoding/json and
// encoding/json/v2, which refuses duplicate names in Extra. It is a plain value: several goroutines may read one at the same time.
type Reload struct {
	// ID identifies the reload. It is never empty in a reload that the client returns.
	ID string `json:"id"`
	// AppID identifies the app.
	AppID string `json:"appId"`
	// TenantID identifies the tenant that owns the reload.
	TenantID string `json:"tenantId"`
	// UserID identifies the user who created the reload.
	UserID string `json:"userId"`
	// Type is what initiated the reload.
	Type Type `json:"type"`
	// Status is the current status of the reload.
	Status Status `json:"status"`
	// Partial is true for a partial reload.
	Partial bool `json:"partial"`
	// Weight is the scheduling priority within the tenant, from 1 to 10; higher is sooner. 0 means that the service did
	// not send it.
	Weight int `json:"weight,omitzero"`
	// ResourceID identifies the resource that the reload was started for.
	ResourceID string `json:"resourceId,omitzero"`
	// ResourceType is the service that started the reload, such as [ResourceTypeAPI].
	ResourceType string `json:"resourceType,omitzero"`
	// CreationTime is when the reload was created, by the clock of the service.
	CreationTime time.Time `json:"creationTime,omitzero"`
	// StartTime is when the reload left the queue.
	StartTime time.Time `json:"startTime,omitzero"`
	// EndTime is when the reload finished.
	EndTime time.Time `json:"endTime,omitzero"`
	// EngineTime is the time that the engine reported after a successful reload.
	EngineTime time.Time `json:"engineTime,omitzero"`
	// ErrorCode is the reason for the status FAILED. It is free text; the API page documents only "EngineConnectionError".
	ErrorCode string `json:"errorCode,omitzero"`
	// ErrorMessage explains the status FAILED.
	ErrorMessage string `json:"errorMessage,omitzero"`
	// Log is the summary of the reload's log. Lists include it only if [ListOptions].Log is set.
	Log string `json:"log,omitzero"`
	// Links are the links of the record.
	Links Links `json:"links,omitzero"`
	// Extra holds the members of the record that this package does not know, by name, as the service sent
	// them. They are included when the Reload is encoded. It is nil if there are none.
	Extra map[string]json.RawMessage `json:",embed"`
}

// Links are the links of a record.
type Links struct {
	// Self is the address of the record. The client never contacts it.
	Self Link `json:"self,omitzero"`
	// Extra holds links that this package does not know, like [Reload].Extra.
	Extra map[string]json.RawMessage `json:",embed"`
}

// IsZero reports whether l has no links.
func (l Links) IsZero() bool { return l.Self.IsZero() && len(l.Extra) == 0 }

// Link is one link of a record or of a page.
type Link struct {
	// Href is the address, absolute or relative, as the service sent it. It is empty if there is none.
	Href string `json:"href,omitzero"`
	// Extra holds members that this package does not know, like [Reload].Extra.
	Extra map[string]json.RawMessage `json:",embed"`
}

// IsZero reports whether the link is empty.
func (l Link) IsZero() bool { return l.Href == "" && len(l.Extra) == 0 }

// Status is the status of a reload. The service may add values. An unknown value is kept as it is, and counts as active.
type Status string

// The statuses of the API page: three active ones, then four terminal ones.
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
	return s == StatusSucceeded || s == StatusFailed || s == StatusCanceled || s == StatusExceededLimit
}

// Active reports whether s is not a terminal status. The empty status and unknown ones are active. See also
// [Reload.Ended], which considers the record's end time, too.
func (s Status) Active() bool { return !s.Ended() }

// Type is what initiated a reload. The service may add values. An unknown value is kept as it is.
type Type string

// The types of the API page.
const (
	TypeHub           Type = "hub"           // manually, in the hub
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

// Ended reports whether the reload has finished. Its status decides. A reload with an unknown status has finished
// if it has an end time.
func (r *Reload) Ended() bool {
	switch r.Status {
	case StatusQueued, StatusReloading, StatusCanceling:
		return false
	default:
		return r.Status.Ended() || !r.EndTime.IsZero()
	}
}

// QueueTime returns how long the reload was queued: from its creation to its start or, if it finished without
// being started, to its end. It returns 0 if a time is missing.
func (r *Reload) QueueTime() time.Duration {
	if r.StartTime.IsZero() {
		return between(r.CreationTime, r.EndTime)
	}
	return between(r.CreationTime, r.StartTime)
}

// RunTime returns how long the reload ran: from its start to its end. It returns 0 if a time is missing.
func (r *Reload) RunTime() time.Duration { return between(r.StartTime, r.EndTime) }

// between returns the time from a to b, or 0 if either is missing or b is before a.
func between(a, b time.Time) time.Duration {
	if a.IsZero() || b.IsZero() {
		return 0
	}
	return max(0, b.Sub(a))
}

// LogValue returns a group of the fields that logs are usually filtered by. It leaves out the log text.
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
