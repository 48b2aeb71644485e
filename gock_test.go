package reloads_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/h2non/gock.v1"

	"github.com/reloads-go/reloads"
)

const tenantURL = "https://your-tenant.us.qlikcloud.com"

// gockClient returns a client with the default transport, which gock replaces. gock is global, so tests that use it do
// not run in parallel.
func gockClient(t *testing.T) *reloads.Client {
	t.Helper()
	t.Cleanup(func() {
		if !gock.IsDone() {
			t.Errorf("%d mocks were not used", len(gock.Pending()))
		}
		if gock.HasUnmatchedRequest() {
			t.Errorf("a request does not match any mock: %s", gock.GetUnmatchedRequests()[0].URL)
		}
		gock.Off()
	})
	client, err := reloads.NewClient(tenantURL, reloads.APIKey(testToken), reloads.WithLimiters(unlimited))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestGockTriggerGetCancel(t *testing.T) {
	client := gockClient(t)
	api := func() *gock.Request {
		return gock.New(tenantURL).MatchHeader("Authorization", "^Bearer "+testToken+"$")
	}
	api().Post("/api/v1/reloads$").JSON(map[string]any{"appId": documented.AppID, "partial": true}).
		Reply(http.StatusCreated).File("testdata/record_queued.json")
	api().Get("/api/v1/reloads/6909d1c64e8d3c7d9b1f2a32$").Reply(http.StatusOK).File("testdata/record_queued.json")
	api().Post("/api/v1/reloads/6909d1c64e8d3c7d9b1f2a32/actions/cancel$").Reply(http.StatusAccepted).JSON(`{"status":"CANCELING"}`)
	api().Post("/api/v1/reloads/6909d1c64e8d3c7d9b1f2a32/actions/cancel$").Reply(http.StatusConflict).File("testdata/error_409.json")

	triggered, err := client.Trigger(t.Context(), reloads.Request{AppID: documented.AppID, Partial: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Get(t.Context(), triggered.ID)
	if diff := cmp.Diff(triggered, got); diff != "" || err != nil {
		t.Errorf("%v (-triggered +got):\n%s", err, diff)
	}
	if status, err := client.Cancel(t.Context(), triggered.ID); status != reloads.StatusCanceling || err != nil {
		t.Errorf("cancel: %s, %v", status, err)
	}
	if _, err := client.Cancel(t.Context(), triggered.ID); !errors.Is(err, reloads.ErrNotCancelable) {
		t.Errorf("second cancel: %v", err)
	}
}

func TestGockListTwoPages(t *testing.T) {
	client := gockClient(t)
	gock.New(tenantURL).Get("/api/v1/reloads$").MatchParam("appId", "^app$").MatchParam("limit", "^1$").
		Reply(http.StatusOK).JSON(pageJSON(`{"next":{"href":"`+tenantURL+`/api/v1/reloads?appId=app&limit=1&next=abc"}}`, "1"))
	gock.New(tenantURL).Get("/api/v1/reloads$").MatchParam("next", "^abc$").
		Reply(http.StatusOK).JSON(pageJSON(`{}`, "2"))
	ids, _, err := collect(client.All(t.Context(), reloads.ListOptions{AppID: "app", PageSize: 1}))
	if diff := cmp.Diff([]string{"1", "2"}, ids); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestGockRefusedTriggers(t *testing.T) {
	client := gockClient(t)
	for _, c := range []struct {
		status int
		file   string
		want   error
	}{
		{http.StatusTooManyRequests, "error_429_pending.json", reloads.ErrReloadPending},
		{http.StatusForbidden, "error_403_quota.json", reloads.ErrQuotaExceeded},
		{http.StatusForbidden, "error_403_forbidden.json", reloads.ErrForbidden},
	} {
		gock.New(tenantURL).Post("/api/v1/reloads$").Reply(c.status).File("testdata/" + c.file)
		if _, err := client.Trigger(t.Context(), reloads.Request{AppID: "app"}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.file, err, c.want)
		}
	}
}
