package main

import (
	"errors"
	"testing"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func TestRefreshStopsAtTheFirstFailure(t *testing.T) {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("good", reloadstest.App{})
	tenant.AddApp("bad", reloadstest.App{Outcome: reloads.StatusFailed})
	err := refresh(t.Context(), tenant.NewClient(), []string{"good", "bad", "good"})
	if !errors.Is(err, reloads.ErrReloadFailed) || len(tenant.Reloads()) != 2 {
		t.Errorf("got %v after %d reloads, want a failed reload after 2", err, len(tenant.Reloads()))
	}
}
