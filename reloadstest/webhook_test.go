package reloadstest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

const webhookSecret = "a-secret-of-a-webhook-for-tests-1"

// inbox is a handler that records the deliveries to it.
type inbox struct {
	mu     sync.Mutex
	start  time.Time
	got    []string // the reload ID, status and time of each delivery
	events []map[string]any
}

func newInbox() *inbox { return &inbox{start: time.Now()} }

func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	mac.Write(body)
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Qlik-Signature") != hex.EncodeToString(mac.Sum(nil)) {
		http.Error(w, "wrong signature", http.StatusUnauthorized)
		return
	}
	var event map[string]any
	if err := json.Unmarshal(body, &event); err != nil {
		panic(err)
	}
	data := event["data"].(map[string]any)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.events = append(in.events, event)
	in.got = append(in.got, fmt.Sprintf("%v %v %v", data["id"], data["status"], time.Since(in.start)))
}

// expect waits and then compares the deliveries so far.
func (in *inbox) expect(t *testing.T, want ...string) {
	t.Helper()
	time.Sleep(24 * time.Hour)
	synctest.Wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	if diff := cmp.Diff(want, in.got); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
}

// start triggers a reload of an app of its own, with the same ID.
func start(t *testing.T, tenant *reloadstest.Tenant, id string, script reloadstest.App) {
	t.Helper()
	tenant.AddApp(id, script)
	if _, ok := tenant.Trigger(id, reloads.Reload{ID: id}); !ok {
		t.Fatalf("%s was not triggered", id)
	}
}

func TestEventsOfFinishedReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, tenant := newInbox(), reloadstest.NewTenant(reloadstest.WithClockSkew(-time.Hour))
		start(t, tenant, "over", reloadstest.App{})
		start(t, tenant, "before", reloadstest.App{RunFor: 3 * time.Second})
		tenant.AddReload(reloads.Reload{ID: "history", Status: reloads.StatusFailed})
		tenant.AddWebhook(reloadstest.Webhook{Secret: webhookSecret, Handler: in})
		tenant.AddReload(reloads.Reload{ID: "history2", Status: reloads.StatusFailed})
		start(t, tenant, "fast", reloadstest.App{})
		start(t, tenant, "failed", reloadstest.App{QueueFor: time.Second, RunFor: time.Second, Outcome: reloads.StatusFailed})
		start(t, tenant, "replaced", reloadstest.App{RunFor: time.Second})
		tenant.AddReload(reloads.Reload{ID: "replaced", Status: reloads.StatusSucceeded})
		start(t, tenant, "endless", reloadstest.App{Outcome: reloads.StatusReloading})
		in.expect(t, "fast SUCCEEDED 0s", "failed FAILED 2s", "before SUCCEEDED 3s")
	})
}

// A cancel can make a reload finish earlier or later than its script says.
func TestEventsOfCanceledReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, tenant := newInbox(), reloadstest.NewTenant()
		tenant.AddWebhook(reloadstest.Webhook{Secret: webhookSecret, Handler: in})
		start(t, tenant, "queued", reloadstest.App{QueueFor: time.Minute})
		start(t, tenant, "running", reloadstest.App{RunFor: time.Minute, CancelFor: time.Second})
		start(t, tenant, "slow", reloadstest.App{RunFor: time.Minute, CancelFor: time.Hour})
		time.Sleep(5 * time.Second)
		for _, id := range []string{"queued", "running", "slow", "slow"} {
			if got := do(t, tenant, http.MethodPost, "/"+id+"/actions/cancel", ""); got.status >= 300 {
				t.Errorf("canceling %s: status %d", id, got.status)
			}
		}
		in.expect(t, "queued CANCELED 5s", "running CANCELED 6s", "slow CANCELED 1h0m5s")
	})
}

// A trigger that takes effect late has an event, even if no request comes.
func TestEventsOfLateTriggers(t *testing.T) {
	for _, early := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			in, tenant := newInbox(), newTenant(reloadstest.App{RunFor: time.Second})
			hook := reloadstest.Webhook{Secret: webhookSecret, Handler: in}
			if early {
				tenant.AddWebhook(hook)
			}
			postLate(t, tenant, "Bearer "+tenant.Token(), `{"appId":"app"}`, time.Minute)
			if !early {
				tenant.AddWebhook(hook)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if len(in.got) != 1 || !strings.HasSuffix(in.got[0], " SUCCEEDED 1m1s") {
				t.Errorf("early %v: deliveries %q", early, in.got)
			}
		})
	}
}

func TestEventFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, tenant := newInbox(), reloadstest.NewTenant()
		faults := map[string]reloadstest.EventFault{
			"lost": {Lost: true}, "late": {Delay: time.Hour}, "twice": {Repeats: 1}, "forged": {WrongSignature: true},
			"late twice": {Delay: 2 * time.Hour, Repeats: 1}, "negative": {Delay: -1, Repeats: -1},
		}
		tenant.AddWebhook(reloadstest.Webhook{
			Secret: webhookSecret, Handler: in,
			Fault: func(r reloads.Reload) reloadstest.EventFault { return faults[r.ID] },
		})
		for i, id := range []string{"lost", "late", "twice", "forged", "late twice", "negative", "good"} {
			start(t, tenant, id, reloadstest.App{RunFor: time.Duration(i+1) * time.Second})
		}
		in.expect(t, "twice SUCCEEDED 3s", "twice SUCCEEDED 3s", "negative SUCCEEDED 6s", "good SUCCEEDED 7s",
			"late SUCCEEDED 1h0m2s", "late twice SUCCEEDED 2h0m5s", "late twice SUCCEEDED 2h0m5s")
		if in.events[0]["id"] != in.events[1]["id"] || in.events[0]["id"] == in.events[2]["id"] {
			t.Errorf("the IDs of the events are %v, %v, %v", in.events[0]["id"], in.events[1]["id"], in.events[2]["id"])
		}
		var statuses []string
		for _, d := range tenant.Deliveries() {
			statuses = append(statuses, fmt.Sprint(d.ReloadID, " ", d.Status, " ", d.Time.Sub(in.start)))
		}
		want := []string{"twice 200 3s", "twice 200 3s", "forged 401 4s", "negative 200 6s", "good 200 7s", "late 200 1h0m2s",
			"late twice 200 2h0m5s", "late twice 200 2h0m5s"}
		if diff := cmp.Diff(want, statuses); diff != "" {
			t.Errorf("Deliveries (-want +got):\n%s", diff)
		}
	})
}

func TestContentOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, tenant := newInbox(), reloadstest.NewTenant()
		tenant.AddWebhook(reloadstest.Webhook{Secret: webhookSecret, Handler: in})
		tenant.AddApp("app", reloadstest.App{
			QueueFor: time.Second, RunFor: 1500 * time.Millisecond, Outcome: reloads.StatusFailed, ErrorCode: "EngineConnectionError", ErrorMessage: "no engine",
		})
		tenant.Trigger("app", reloads.Reload{
			ID: "r", TenantID: "t", UserID: "u", Type: reloads.TypeChronos, Weight: 3, Partial: true, ResourceID: "nightly", ResourceType: "tasks",
			Extra: map[string]json.RawMessage{"taskId": json.RawMessage(`"task"`)},
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []map[string]any{{
			"specversion": "1.0", "id": "r-finished", "source": "com.qlik/reloads", "type": "com.qlik.v1.reload.finished",
			"time": "2000-01-01T00:00:02.5Z", "datacontenttype": "application/json", "tenantid": "t", "userid": "u", "toplevelresourceid": "app",
			"data": map[string]any{
				"id": "r", "appId": "app", "tenantId": "t", "userId": "u", "type": "chronos", "status": "FAILED", "succeeded": false, "partial": true,
				"weight": 3.0, "resourceId": "nightly", "resourceType": "tasks", "taskId": "task", "durationSeconds": 1.5,
				"creationTime": "2000-01-01T00:00:00Z", "startTime": "2000-01-01T00:00:01Z",
				"errorCode": "EngineConnectionError", "errorMessage": "no engine",
			},
		}}
		if diff := cmp.Diff(want, in.events); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
	})
}

// Nothing runs between the deliveries: a bubble would not end if a goroutine waited.
func TestEventsThatAreStillToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, tenant := newInbox(), reloadstest.NewTenant()
		late := func(reloads.Reload) reloadstest.EventFault { return reloadstest.EventFault{Delay: time.Hour} }
		tenant.AddWebhook(reloadstest.Webhook{Secret: webhookSecret, Handler: in, Fault: late})
		start(t, tenant, "over", reloadstest.App{})
		start(t, tenant, "long", reloadstest.App{RunFor: time.Hour})
		synctest.Wait()
	})
}

// Each webhook gets the events, with its own secret. Printing the tenant does not show the secrets.
func TestSeveralWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, tenant := newInbox(), newInbox(), reloadstest.NewTenant()
		const otherSecret = "the-secret-of-another-webhook-xyz"
		tenant.AddWebhook(reloadstest.Webhook{Secret: webhookSecret, Handler: first})
		tenant.AddWebhook(reloadstest.Webhook{Secret: otherSecret, Handler: second})
		start(t, tenant, "r", reloadstest.App{RunFor: time.Second})
		first.expect(t, "r SUCCEEDED 1s")
		if len(second.got) != 0 || len(tenant.Deliveries()) != 2 {
			t.Errorf("the other webhook accepted %q, and there are %d deliveries", second.got, len(tenant.Deliveries()))
		}
		shown := fmt.Sprintf("%+v %#v", tenant, tenant)
		if strings.Contains(shown, webhookSecret) || strings.Contains(shown, otherSecret) {
			t.Error("a printed tenant shows the secret of a webhook")
		}
	})
}

// eventually waits until condition is true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s it is still not true that %s", what)
		}
	}
}

func TestEventsToAURL(t *testing.T) {
	in := newInbox()
	server := httptest.NewServer(in)
	defer server.Close()
	before := runtime.NumGoroutine()
	tenant := reloadstest.NewTenant()
	for _, url := range []string{server.URL, "http://127.0.0.1:1", "::", ""} {
		tenant.AddWebhook(reloadstest.Webhook{Secret: webhookSecret, URL: url})
	}
	start(t, tenant, "r", reloadstest.App{RunFor: time.Millisecond})
	eventually(t, "there are four deliveries, one with a response", func() bool {
		statuses := map[int]int{}
		for _, d := range tenant.Deliveries() {
			statuses[d.Status]++
		}
		return cmp.Equal(statuses, map[int]int{200: 1, 0: 3})
	})
	in.mu.Lock()
	if len(in.events) != 1 {
		t.Errorf("%d events arrived, want 1", len(in.events))
	}
	in.mu.Unlock()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// deliveries returns the statuses of the deliveries of one event to the webhook.
func deliveries(t *testing.T, w reloadstest.Webhook) (statuses []int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant()
		tenant.AddWebhook(w)
		start(t, tenant, "r", reloadstest.App{RunFor: time.Second})
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, d := range tenant.Deliveries() {
			statuses = append(statuses, d.Status)
		}
	})
	return statuses
}

// A handler that panics has no response, as in a server, and the next deliveries follow.
func TestHandlerThatPanics(t *testing.T) {
	var logged strings.Builder
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	for _, value := range []any{http.ErrAbortHandler, "no luck"} {
		logged.Reset()
		calls := 0
		got := deliveries(t, reloadstest.Webhook{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if calls++; calls == 2 {
					return
				}
				w.WriteHeader(http.StatusAccepted)
				panic(value)
			}),
			Fault: func(reloads.Reload) reloadstest.EventFault { return reloadstest.EventFault{Repeats: 2} },
		})
		if diff := cmp.Diff([]int{0, 200, 0}, got); diff != "" {
			t.Errorf("%v: statuses (-want +got):\n%s", value, diff)
		}
		if n := strings.Count(logged.String(), "no luck"); value == http.ErrAbortHandler && logged.Len() > 0 || value != http.ErrAbortHandler && n != 2 {
			t.Errorf("%v: the log is %q", value, &logged)
		}
	}
}

func TestHandlerIgnoresTheURL(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "webhook.example.com" {
			w.WriteHeader(http.StatusMisdirectedRequest)
		}
	})
	for _, url := range []string{"", "::", "http://elsewhere.example.com/"} {
		if diff := cmp.Diff([]int{200}, deliveries(t, reloadstest.Webhook{Handler: handler, URL: url})); diff != "" {
			t.Errorf("%q: statuses (-want +got):\n%s", url, diff)
		}
	}
}

// The statuses are those that a server would send.
func TestStatusesOfAHandler(t *testing.T) {
	for _, c := range []struct {
		written []int
		want    int
	}{
		{nil, 200}, {[]int{103}, 200}, {[]int{100, 103, 401}, 401}, {[]int{103, 204, 500}, 204}, {[]int{204, 103}, 204}, {[]int{101, 204}, 101},
	} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for _, status := range c.written {
				w.WriteHeader(status)
			}
			_, _ = w.Write(nil)
		})
		if diff := cmp.Diff([]int{c.want}, deliveries(t, reloadstest.Webhook{Handler: handler})); diff != "" {
			t.Errorf("%v: statuses (-want +got):\n%s", c.written, diff)
		}
	}
}

func TestRedirectsOfAURLAreNotFollowed(t *testing.T) {
	in := newInbox()
	target := httptest.NewServer(in)
	defer target.Close()
	want := map[int]int{}
	tenant := reloadstest.NewTenant()
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		want[status] = 1
		server := httptest.NewServer(http.RedirectHandler(target.URL, status))
		defer server.Close()
		tenant.AddWebhook(reloadstest.Webhook{Secret: webhookSecret, URL: server.URL})
	}
	start(t, tenant, "r", reloadstest.App{RunFor: time.Millisecond})
	eventually(t, "there are two deliveries", func() bool { return len(tenant.Deliveries()) == 2 })
	got := map[int]int{}
	for _, d := range tenant.Deliveries() {
		got[d.Status]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.events) > 0 {
		t.Errorf("%d events arrived at the target", len(in.events))
	}
}
