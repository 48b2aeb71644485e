package reloadstest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/reloads-go/reloads"
)

// Webhook is where a tenant delivers the events of finished reloads; see [Tenant.AddWebhook].
type Webhook struct {
	// Secret is what the deliveries are signed with. The service requires 32 to 64 characters; the tenant accepts any text.
	Secret string
	// Handler receives the deliveries in memory, without a network connection. It is called concurrently. If it panics, there
	// is no response. As in an [http.Server], the panic is logged unless its value is [http.ErrAbortHandler].
	Handler http.Handler
	// URL is the address that receives the deliveries. It is ignored if Handler is set. A delivery fails after 10 s without a
	// response. A redirect is not followed.
	URL string
	// Fault returns the fault of the event of a reload. It is called once for each reload that has finished, one call at a
	// time. It must not call methods of the tenant. nil means that no event has a fault.
	Fault func(reloads.Reload) EventFault
}

// EventFault is what happens to the event of a reload instead of one delivery at its end. The fields can be combined. With
// the zero EventFault, nothing goes wrong.
type EventFault struct {
	// Lost makes the event get lost: it is not delivered.
	Lost bool
	// Delay is the time from the end of the reload to the delivery. Events whose delays differ can arrive out of order.
	// 0 or less means no delay.
	Delay time.Duration
	// Repeats is how many times the event is delivered again, each time after the response to the previous delivery.
	Repeats int
	// WrongSignature makes the signature that of another secret.
	WrongSignature bool
}

// Delivery is one delivery of an event to a webhook.
type Delivery struct {
	Time     time.Time // when the delivery started, by the clock of the process
	ReloadID string
	Status   int // the status code of the response, the final one after any of 1xx; 0 if there was none
}

// AddWebhook adds a webhook: from now on, the tenant delivers an event to it when a reload has finished, also if it was
// canceled. Reloads that finished before and those of [Tenant.AddReload] have no event. Each event is delivered once to each
// webhook, whatever the response is, unless the webhook has a Fault.
//
// A delivery is a POST of a CloudEvent, with its signature in the header Qlik-Signature. The tenant uses timers for it, and no
// goroutine lasts longer than the deliveries of one event. Inside a [testing/synctest] bubble, use a Handler: a bubble does
// not wait for network connections.
func (t *Tenant) AddWebhook(w Webhook) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.applyLateTriggers()
	first := len(t.webhooks) == 0
	t.webhooks = append(t.webhooks, t.deliverer(w))
	if !first {
		return // every reload has its timer already
	}
	for _, rec := range t.records {
		if rec.announced = !rec.active(t.now()); !rec.announced {
			t.announce(rec)
		}
	}
	for _, late := range t.late {
		t.wake(late.at)
	}
}

// Deliveries returns all deliveries to webhooks that have ended, in the order of their ends. The caller owns the result.
func (t *Tenant) Deliveries() []Delivery {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.deliveries)
}

// never is later than the end of any reload.
var never = time.Unix(1<<40, 0)

// announce delivers the event of a reload when the reload has finished: now, or when a timer calls announce again. It must
// be called when the reload was added and when it was canceled. The caller must hold the lock.
func (t *Tenant) announce(rec *record) {
	if len(t.webhooks) == 0 || !rec.scripted || rec.announced || t.byID[rec.ID] != rec {
		return
	}
	now := t.now()
	end := rec.at(never).EndTime
	if end.After(now) {
		time.AfterFunc(end.Sub(now), func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.announce(rec) // does nothing if a cancel made the reload finish earlier
		})
		return
	}
	rec.announced = true
	if r := rec.at(now); r.Ended() { // always, unless its App has an Outcome that is not a terminal status
		for _, deliver := range t.webhooks {
			deliver(r)
		}
	}
}

// wake makes the late triggers take effect at the given time, so that their reloads are announced even if no request comes.
func (t *Tenant) wake(at time.Time) {
	if len(t.webhooks) == 0 {
		return
	}
	time.AfterFunc(at.Sub(t.now()), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.applyLateTriggers()
	})
}

// deliverer returns a function that delivers the event of a reload in the background. It is a function, so that printing a
// Tenant does not reveal the secret of the webhook.
func (t *Tenant) deliverer(w Webhook) func(reloads.Reload) {
	return func(r reloads.Reload) {
		var fault EventFault
		if w.Fault != nil {
			fault = w.Fault(r)
		}
		if fault.Lost {
			return
		}
		secret := w.Secret
		if fault.WrongSignature {
			secret += "another"
		}
		body := event(r)
		deliver := func() {
			for range 1 + max(0, fault.Repeats) {
				d := Delivery{Time: time.Now(), ReloadID: r.ID, Status: w.post(body, secret)}
				t.mu.Lock()
				t.deliveries = append(t.deliveries, d)
				t.mu.Unlock()
			}
		}
		if fault.Delay <= 0 {
			go deliver() // a timer that is due at once may crash with the race detector of Go 1.26
		} else {
			time.AfterFunc(fault.Delay, deliver)
		}
	}
}

// post makes one delivery. It returns the status code of the response, or 0 if there was none.
func (w Webhook) post(body []byte, secret string) int {
	url := w.URL
	if w.Handler != nil {
		url = "https://webhook.example.com/"
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	req.Header.Set("Qlik-Signature", hex.EncodeToString(mac.Sum(nil)))
	req.Header.Set("Content-Type", "application/json") // as the service does, instead of application/cloudevents+json
	req.Header.Set("User-Agent", "Qlik Webhook")
	if w.Handler != nil {
		return serve(w.Handler, req)
	}
	req.Close = true // no connection remains
	client := &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// serve calls the handler as a server does. It returns the status code of the response, or 0 if the handler panicked.
func serve(handler http.Handler, req *http.Request) (status int) {
	defer func() {
		if value := recover(); value != nil {
			status = 0
			if value != http.ErrAbortHandler { //nolint:errorlint // net/http does not unwrap it, either
				log.Printf("reloadstest: the handler of a webhook panicked: %v\n%s", value, debug.Stack())
			}
		}
	}()
	resp := statusWriter{header: http.Header{}}
	handler.ServeHTTP(&resp, req)
	return cmp.Or(resp.status, http.StatusOK)
}

// statusWriter is an http.ResponseWriter that keeps the final status code only.
type statusWriter struct {
	header http.Header
	status int // 0 until it is known
}

func (w *statusWriter) Header() http.Header { return w.header }

func (w *statusWriter) WriteHeader(status int) {
	if status < 100 || status >= 200 || status == http.StatusSwitchingProtocols { // others are followed by the final one
		w.status = cmp.Or(w.status, status)
	}
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(p), nil
}

// event returns the event of a finished reload in the JSON format of CloudEvents, with the fields that the service documents
// (qlik.dev, "Reloads" events).
func event(r reloads.Reload) []byte {
	attributes := map[string]any{
		"specversion": "1.0", "id": r.ID + "-finished", "source": "com.qlik/reloads", "type": "com.qlik.v1.reload.finished",
		"time": r.EndTime, "datacontenttype": "application/json",
		"tenantid": r.TenantID, "userid": r.UserID, "toplevelresourceid": r.AppID,
	}
	members := map[string]json.RawMessage{"succeeded": json.RawMessage(strconv.FormatBool(r.Status == reloads.StatusSucceeded))}
	if !r.StartTime.IsZero() {
		members["durationSeconds"] = strconv.AppendFloat(nil, r.RunTime().Seconds(), 'f', -1, 64)
	}
	maps.Copy(members, r.Extra)
	r.Extra, r.EndTime, r.EngineTime, r.Log, r.Links = members, time.Time{}, time.Time{}, "", reloads.Links{}
	attributes["data"] = r
	body, _ := json.Marshal(attributes) // fails only if the test has added a reload with invalid JSON in Extra
	return body
}
