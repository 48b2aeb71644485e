package webhook_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
	"github.com/reloads-go/reloads/webhook"
)

const (
	secret    = "a-secret-of-a-webhook-for-tests-1"
	oldSecret = "the-secret-before-the-rotation-00"
)

// event is the body of a delivery.
const event = `{"specversion":"1.0","id":"e1","source":"com.qlik/reloads","type":"com.qlik.v1.reload.finished",` +
	`"data":{"id":"r1","appId":"a1","userId":"u1","succeeded":true}}`

func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

// newHandler returns a handler, and the events that it passed on.
func newHandler(t testing.TB, opts ...webhook.Option) (http.Handler, *[]webhook.Event) {
	t.Helper()
	var events []webhook.Event
	handler, err := webhook.New(secret, func(e webhook.Event) { events = append(events, e) }, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return handler, &events
}

// post sends a delivery to the handler.
func post(handler http.Handler, signature string, body io.Reader) *http.Response {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", body)
	if signature != "" {
		r.Header.Set("Qlik-Signature", signature)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

func TestAnEventIsPassedOn(t *testing.T) {
	for _, signature := range []string{sign(secret, event), strings.ToUpper(sign(secret, event)), sign(oldSecret, event)} {
		handler, events := newHandler(t, webhook.WithSecret("not-used-"+secret), webhook.WithSecret(oldSecret))
		resp := post(handler, signature, strings.NewReader(event))
		if resp.StatusCode != http.StatusNoContent || len(*events) != 1 || (*events)[0].Data.ID != "r1" {
			t.Errorf("signature %s: status %d, events %+v", signature, resp.StatusCode, *events)
		}
	}
}

// An event needs nothing but its type and the ID of the reload.
func TestAnEventWithOtherTypesIsPassedOn(t *testing.T) {
	longest := strings.Repeat("\u00e4", 256)
	for data, id := range map[string]string{
		`{"id":"r1","partial":"false"}`: "r1", `{"id":"r1","weight":1.5}`: "r1", `{"startTime":5,"id":"r1"}`: "r1", `{"id":"r1","appId":1,"status":2}`: "r1",
		`{"id":"` + longest + `"}`: longest, `{"id":"` + longest + `","links":1}`: longest,
	} {
		body := `{"type":"com.qlik.v1.reload.finished","data":` + data + `}`
		handler, events := newHandler(t)
		resp := post(handler, sign(secret, body), strings.NewReader(body))
		if resp.StatusCode != http.StatusNoContent || len(*events) != 1 || (*events)[0].Data.ID != id {
			t.Errorf("%s: status %d, events %+v", data, resp.StatusCode, *events)
		}
	}
}

// A request that a test or another server made can have no Body.
func TestNilBody(t *testing.T) {
	for signature, status := range map[string]int{sign(secret, ""): http.StatusBadRequest, sign(secret, event): http.StatusUnauthorized} {
		handler, _ := newHandler(t)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, &http.Request{Method: http.MethodPost, Header: http.Header{"Qlik-Signature": {signature}}})
		if w.Code != status {
			t.Errorf("status %d, want %d", w.Code, status)
		}
	}
}

// A refused delivery is not passed on, and neither the response nor the log repeats a part of it.
func TestRefusals(t *testing.T) {
	const private = "private-"
	unsigned := strings.Replace(event, "r1", private, 1)
	large := strings.Repeat("x", 256<<10)
	typed := func(data string) string {
		return `{"type":"com.qlik.v1.reload.finished","private-":"private-","data":` + data + `}`
	}
	for name, c := range map[string]struct {
		status          int
		signature, body string // the signature is the right one by default
	}{
		"not hexadecimal":     {401, private, unsigned},
		"half a signature":    {401, sign(secret, unsigned)[:32], unsigned},
		"and a larger body":   {401, sign(secret, large)[:32], large + "x"}, // is not read
		"a prefix":            {401, "sha256=" + sign(secret, unsigned), unsigned},
		"another secret":      {401, sign(oldSecret, unsigned), unsigned},
		"another body":        {401, sign(secret, unsigned), unsigned + " "},
		"no body":             {400, "", ""},
		"not JSON":            {400, "", private},
		"null":                {400, "", "null"},
		"a batch":             {400, "", "[" + unsigned + "]"},
		"no type":             {400, "", `{"private-":1,"data":{"id":"private-"}}`},
		"type not a string":   {400, "", `{"type":["private-"],"data":{"id":"private-"}}`},
		"no data":             {400, "", `{"type":"com.qlik.v1.reload.finished"}`},
		"null data":           {400, "", typed("null")},
		"data not a reload":   {400, "", typed(`"private-"`)},
		"no reload ID":        {400, "", typed(`{"appId":"private-"}`)},
		"ID not a string":     {400, "", typed(`{"id":1,"appId":"private-"}`)},
		"empty ID":            {400, "", typed(`{"id":"","weight":1.5,"appId":"private-"}`)},
		"ID too long":         {400, "", typed(`{"id":"private-` + strings.Repeat("x", 249) + `"}`)},
		"ID too long, weight": {400, "", typed(`{"id":"private-` + strings.Repeat("x", 249) + `","weight":1.5}`)},
		"a body of 256 KiB":   {400, "", large},
		"more than 256 KiB":   {413, "", large + "x"},
		"unsigned and larger": {413, sign(oldSecret, ""), large + "x"},
	} {
		t.Run(name, func(t *testing.T) {
			checkRefusal(t, c.status, cmp.Or(c.signature, sign(secret, c.body)), strings.NewReader(c.body))
		})
	}
	t.Run("no signature", func(t *testing.T) { checkRefusal(t, 401, "", strings.NewReader(unsigned)) })
	t.Run("incomplete body", func(t *testing.T) {
		body := io.MultiReader(strings.NewReader(unsigned), iotest.ErrReader(io.ErrUnexpectedEOF))
		checkRefusal(t, 400, sign(secret, unsigned), body)
	})
}

func checkRefusal(t *testing.T, status int, signature string, body io.Reader) {
	t.Helper()
	logged := captureLog(t)
	handler, events := newHandler(t)
	resp := post(handler, signature, body)
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != status || len(*events) > 0 {
		t.Errorf("status %d, events %+v, want %d and no event", resp.StatusCode, *events, status)
	}
	if shown := fmt.Sprint(resp.Header, string(text)); strings.Contains(shown, "private-") || strings.Contains(shown, "xx") || logged.Len() > 0 {
		t.Errorf("response %s, log %s", shown, logged)
	}
}

// captureLog returns what the default loggers print until the test ends.
func captureLog(t *testing.T) *bytes.Buffer {
	var text bytes.Buffer
	logger := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug - 1})))
	log.SetOutput(&text)
	t.Cleanup(func() { slog.SetDefault(logger); log.SetOutput(os.Stderr) })
	return &text
}

func TestOtherMethods(t *testing.T) {
	handler, events := newHandler(t)
	for _, method := range []string{"GET", "HEAD", "PUT", "OPTIONS", "post"} {
		r := httptest.NewRequestWithContext(t.Context(), method, "/", strings.NewReader(event))
		r.Header.Set("Qlik-Signature", sign(secret, event))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" || len(*events) > 0 {
			t.Errorf("%s: status %d, Allow %q, events %v", method, w.Code, w.Header().Get("Allow"), *events)
		}
	}
}

// A webhook in the tenant can have several event types. Their data have other fields.
func TestOtherEventsAreIgnored(t *testing.T) {
	for _, body := range []string{
		`{"type":"com.qlik.v1.app.reload.finished","data":{"id":"r1"}}`,
		`{"type":"com.qlik.v1.reload.finished.again","data":{"id":5,"weight":"x"}}`,
		`{"type":"COM.QLIK.V1.RELOAD.FINISHED","data":"text"}`,
		`{"type":"com.qlik.v1.app.deleted"}`,
	} {
		handler, events := newHandler(t)
		if resp := post(handler, sign(secret, body), strings.NewReader(body)); resp.StatusCode != http.StatusNoContent || len(*events) > 0 {
			t.Errorf("%s: status %d, events %v", body, resp.StatusCode, *events)
		}
	}
}

func TestNewRefusesInvalidArguments(t *testing.T) {
	handle := func(webhook.Event) {}
	for name, c := range map[string]struct {
		secret string
		handle func(webhook.Event)
		opts   []webhook.Option
		want   string
	}{
		"short secret":  {secret[:31], handle, nil, "a secret has 31 characters, want 32 to 64"},
		"long secret":   {strings.Repeat("s", 65), handle, nil, "a secret has 65 characters, want 32 to 64"},
		"no secret":     {"", handle, nil, "a secret has 0 characters, want 32 to 64"},
		"second secret": {secret, handle, []webhook.Option{webhook.WithSecret(oldSecret[:31])}, "a secret has 31 characters, want 32 to 64"},
		"nil option":    {secret, handle, []webhook.Option{nil}, "an option is nil"},
		"nil function":  {secret, nil, nil, "handle is nil"},
	} {
		handler, err := webhook.New(c.secret, c.handle, c.opts...)
		if handler != nil || !errors.Is(err, reloads.ErrBadRequest) || !strings.HasSuffix(err.Error(), "webhook: "+c.want) {
			t.Errorf("%s: got %v and the error %v, want %q", name, handler, err, c.want)
		}
	}
	for _, s := range []string{secret[:32], strings.Repeat("s", 64), strings.Repeat("ä", 64)} {
		if _, err := webhook.New(s, handle); err != nil {
			t.Errorf("%d bytes: %v", len(s), err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	handler, _ := newHandler(t, webhook.WithSecret(oldSecret))
	other, _ := newHandler(t)
	option := webhook.WithSecret(secret)
	_, refusal := webhook.New(secret[:31], func(webhook.Event) {})
	for _, value := range []any{handler, &handler, struct{ h http.Handler }{handler}, option, refusal} {
		shown := fmt.Sprintf("%v %+v %#v %s %q %x %d", value, value, value, value, value, value, value)
		var text bytes.Buffer
		slog.New(slog.NewJSONHandler(&text, nil)).Info("", "value", value)
		slog.New(slog.NewTextHandler(&text, nil)).Info("", "value", value)
		encoded, _ := json.Marshal(value)
		shown += text.String() + string(encoded) + gocmp.Diff(any(handler), any(other)) + gocmp.Diff(option, webhook.WithSecret(oldSecret))
		for _, s := range []string{secret[:31], oldSecret, fmt.Sprintf("%x", secret[:31])} {
			if strings.Contains(shown, s) {
				t.Errorf("%T: the text contains a secret: %s", value, shown)
			}
		}
	}
}

// The events of the fake tenant arrive when their reloads finish, in no time of the test.
func TestEventsOfTheFakeTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant()
		handler, events := newHandler(t)
		tenant.AddWebhook(reloadstest.Webhook{
			Secret: secret, Handler: handler,
			Fault: func(r reloads.Reload) reloadstest.EventFault {
				return reloadstest.EventFault{WrongSignature: r.AppID == "forged"}
			},
		})
		tenant.AddApp("forged", reloadstest.App{RunFor: time.Minute})
		tenant.AddApp("sales", reloadstest.App{RunFor: time.Hour, Outcome: reloads.StatusFailed, ErrorMessage: "no such table"})
		client := tenant.NewClient()
		var want *reloads.Reload
		for result := range client.RunAll(context.Background(), []reloads.Request{{AppID: "forged"}, {AppID: "sales", Weight: 3}}) {
			want = result.Reload
		}
		synctest.Wait()
		if len(*events) != 1 {
			t.Fatalf("got %d events, want 1", len(*events))
		}
		got := (*events)[0]
		if got.Type != webhook.ReloadFinished || !got.Time.Equal(want.EndTime) || got.Data.Succeeded || got.Data.DurationSeconds != 3600 {
			t.Errorf("got the event %+v", got)
		}
		record := *want
		record.EndTime, record.Log, record.Links = time.Time{}, "", reloads.Links{}
		if diff := gocmp.Diff(record, got.Data.Reload); diff != "" {
			t.Errorf("the record of the event (-want +got):\n%s", diff)
		}
	})
}

func FuzzHandler(f *testing.F) {
	f.Add(event, sign(secret, event), true)
	f.Add(event, "", false)
	f.Add(`{"type":"x"}`, strings.Repeat("0", 64), false)
	f.Add(`{"type":"com.qlik.v1.reload.finished","time":5,"data":{"id":"r","succeeded":1,"weight":1.0,"x":{}}}`, "", true)
	f.Fuzz(func(t *testing.T, body, signature string, signed bool) {
		if signed {
			signature = sign(secret, body)
		}
		handler, events := newHandler(t)
		resp := post(handler, signature, strings.NewReader(body))
		valid := strings.EqualFold(signature, sign(secret, body))
		switch {
		case resp.StatusCode == http.StatusRequestEntityTooLarge && len(body) > 256<<10:
		case !valid && resp.StatusCode != http.StatusUnauthorized,
			valid && resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusBadRequest,
			resp.StatusCode != http.StatusNoContent && len(*events) != 0:
			t.Fatalf("status %d, %d events", resp.StatusCode, len(*events))
		}
		for _, e := range *events {
			checkRoundTrip(t, e)
		}
	})
}

func BenchmarkHandler(b *testing.B) {
	handler, err := webhook.New(secret, func(webhook.Event) {}, webhook.WithSecret(oldSecret))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, signature, body string }{
		{"Event", sign(secret, fullEvent), fullEvent},
		{"WrongSignature", sign(oldSecret, "another body"), fullEvent},
		{"NoSignature", "", fullEvent},
		{"WrongSignature256KiB", sign(oldSecret, "another body"), strings.Repeat("x", 256<<10)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				post(handler, c.signature, strings.NewReader(c.body))
			}
		})
	}
}
