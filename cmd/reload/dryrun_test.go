package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestDryRun(t *testing.T) {
	t.Parallel()
	plan := writeFile(t, "plan.yaml", "max-active: 2\nonce: a night\nstep-timeout: 2h\n"+night)
	args := []string{"--dry-run", "--rerun", "1", "--after-pending"}
	golden(t, "run-dry-run", run(t, nil, append([]string{"run", "-f", plan}, args...)...), append([]string{"run", "-f", "plan.yaml"}, args...)...)
}

func TestLimitsInADryRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		apps int
		args []string
		want string
	}{
		{1, nil, "\n\n1 step in 1 layer.\n"},
		{50, nil, "\n\n50 steps in 1 layer.\n"},
		{51, nil, "\n\n51 steps in 1 layer. At 50 triggers a minute, the last one is possible after 1 minute.\n"},
		{151, []string{"--max-active", "4"}, "\n\nOptions: max-active: 4.\n151 steps in 1 layer. At least 38 reloads run one after another." +
			" At 50 triggers a minute, the last one is possible after 3 minutes.\n"},
	} {
		var apps strings.Builder
		for i := range c.apps {
			fmt.Fprintf(&apps, "app-%d\n", i)
		}
		args := append([]string{"run", "--dry-run", "-f", writeFile(t, "apps.txt", apps.String())}, c.args...)
		if r := run(t, nil, args...); r.status != statusOK || !strings.HasSuffix(r.stdout, c.want) {
			t.Errorf("%d apps %q: %+v, want %q", c.apps, c.args, r, c.want)
		}
	}
}
