package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reloads-go/reloads/reloadstest"
)

// Every attempt has a span, and no span contains the token.
func TestEveryAttemptHasItsSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := reloadstest.NewTenant()
		tenant.AddApp("sales", reloadstest.App{RunFor: time.Second})
		spans, err := trace(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%+v", spans); strings.Contains(text, tenant.Token()) {
			t.Error("a span contains the token")
		}
		var out bytes.Buffer
		if err := show(&out, spans); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			got = append(got, regexp.MustCompile(`( +|/)[0-9a-f]{24}`).ReplaceAllString(strings.Join(strings.Fields(line)[:3], " "), "/ID"))
		}
		want := []string{
			"SPAN STATUS BEGAN", "reload sales -",
			"POST /api/v1/reloads 429", "POST /api/v1/reloads 201",
			"GET /api/v1/reloads/ID 502", "GET /api/v1/reloads/ID 200",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s\n%s", diff, &out)
		}
	})
}
