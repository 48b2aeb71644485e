package cloudeventstest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
	"github.com/reloads-go/reloads/webhook"
)

const secret = "a-secret-of-a-webhook-for-tests-1"

// The fake tenant delivers valid CloudEvents over a connection, whatever the end of the reload is.
func TestDeliveriesAreCloudEvents(t *testing.T) {
	events := make(chan *cloudevents.Event, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		// The service sends application/json, as the tenant does. The SDK needs the media type of CloudEvents.
		r.Header.Set("Content-Type", cloudevents.ApplicationCloudEventsJSON)
		event, err := cloudevents.NewEventFromHTTPRequest(r)
		if err != nil {
			t.Error(err)
		}
		events <- event
	}))
	defer server.Close()
	tenant := reloadstest.NewTenant()
	tenant.AddWebhook(reloadstest.Webhook{Secret: secret, URL: server.URL})
	client := tenant.NewClient()
	for _, status := range []reloads.Status{
		reloads.StatusSucceeded, reloads.StatusFailed, reloads.StatusExceededLimit, reloads.StatusCanceled,
	} {
		tenant.AddApp("app", reloadstest.App{Outcome: status, ErrorMessage: "no <engine>"})
		if status == reloads.StatusCanceled {
			tenant.AddApp("app", reloadstest.App{QueueFor: time.Hour})
		}
		reload, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		if status == reloads.StatusCanceled {
			if _, err := client.Cancel(t.Context(), reload.ID); err != nil {
				t.Fatal(err)
			}
		}
		event := <-events
		if event == nil {
			t.Fatal("the delivery is not a CloudEvent")
		}
		if err := event.Validate(); err != nil {
			t.Errorf("%s: %v", status, err)
		}
		var data struct {
			ID        string
			Status    reloads.Status
			Succeeded *bool
		}
		if err := event.DataAs(&data); err != nil {
			t.Error(err)
		}
		if event.Type() != webhook.ReloadFinished || event.Source() != "com.qlik/reloads" || event.Time().IsZero() ||
			event.DataContentType() != cloudevents.ApplicationJSON || event.Extensions()["tenantid"] != reload.TenantID {
			t.Errorf("%s: the attributes are\n%s", status, event)
		}
		if data.ID != reload.ID || data.Status != status || data.Succeeded == nil || *data.Succeeded != (status == reloads.StatusSucceeded) {
			t.Errorf("%s: the data are %s", status, event.Data())
		}
	}
}

// signer signs requests as the service does.
type signer struct{}

func (signer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	r = r.Clone(r.Context())
	r.Header.Set("Qlik-Signature", hex.EncodeToString(mac.Sum(nil)))
	r.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(r)
}

// newEvent returns an event that the SDK made.
func newEvent(t *testing.T, eventType string) cloudevents.Event {
	t.Helper()
	event := cloudevents.NewEvent()
	event.SetID("b347fd0d")
	event.SetSource("com.qlik/reloads")
	event.SetType(eventType)
	event.SetTime(time.Date(2026, 10, 30, 7, 6, 22, 500e6, time.UTC))
	event.SetExtension("tenantid", "t1")
	event.SetExtension("host", "tenant.example.com")
	data := map[string]any{"id": "r1", "appId": "a1", "userId": "u1", "succeeded": true, "status": "SUCCEEDED", "durationSeconds": 1.5}
	if err := event.SetData(cloudevents.ApplicationJSON, data); err != nil {
		t.Fatal(err)
	}
	return event
}

// The handler accepts events that the SDK makes and sends in structured mode.
func TestTheHandlerAcceptsEventsOfTheSDK(t *testing.T) {
	events := make(chan webhook.Event, 10)
	handler, err := webhook.New(secret, func(e webhook.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	client, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(server.URL), cehttp.WithRoundTripper(signer{}))
	if err != nil {
		t.Fatal(err)
	}
	send := func(ctx context.Context, event cloudevents.Event) (status int) {
		var result *cehttp.Result
		if !cloudevents.ResultAs(client.Send(ctx, event), &result) {
			t.Fatal("the event was not sent")
		}
		return result.StatusCode
	}
	structured := binding.WithForceStructured(t.Context())
	if status := send(structured, newEvent(t, webhook.ReloadFinished)); status != http.StatusNoContent {
		t.Fatalf("status %d", status)
	}
	want := webhook.Event{
		ID: "b347fd0d", Source: "com.qlik/reloads", Type: webhook.ReloadFinished, TenantID: "t1",
		Time: time.Date(2026, 10, 30, 7, 6, 22, 500e6, time.UTC),
		Data: webhook.Data{
			Reload:    reloads.Reload{ID: "r1", AppID: "a1", UserID: "u1", Status: reloads.StatusSucceeded},
			Succeeded: true, DurationSeconds: 1.5,
		},
		Extra: map[string]json.RawMessage{
			"specversion": json.RawMessage(`"1.0"`), "datacontenttype": json.RawMessage(`"application/json"`),
			"host": json.RawMessage(`"tenant.example.com"`),
		},
	}
	if diff := cmp.Diff(want, <-events); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if status := send(structured, newEvent(t, "com.qlik.v1.app.opened")); status != http.StatusNoContent || len(events) > 0 {
		t.Errorf("another type of event: status %d, %d events", status, len(events))
	}
	// The service does not use the binary mode, in which the attributes are headers, which the signature does not cover.
	if status := send(binding.WithForceBinary(t.Context()), newEvent(t, webhook.ReloadFinished)); status != http.StatusBadRequest || len(events) > 0 {
		t.Errorf("binary mode: status %d, %d events", status, len(events))
	}
}

// An event that package webhook encodes is the one that it decoded.
func TestEncodedEventsAreCloudEvents(t *testing.T) {
	want := newEvent(t, webhook.ReloadFinished)
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var event webhook.Event
	if err := json.Unmarshal(text, &event); err != nil {
		t.Fatal(err)
	}
	text, err = json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	var got cloudevents.Event
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want.Context.AsV1(), got.Context.AsV1()); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}
