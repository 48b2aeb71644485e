package report

import "testing"

func TestCut(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"äöü": "äöü", "äöüß": "äöü…"} {
		if got := cut(s, 3); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
