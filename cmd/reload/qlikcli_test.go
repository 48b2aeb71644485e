package main

import (
	"strings"
	"testing"
)

func TestFlagsOfQlikCLI(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"create", "-f", "body.json"}, "--file of qlik-cli is not supported: use --appId"},
		{[]string{"create", "--file=body.json"}, "--file of qlik-cli is not supported: use --appId"},
		{[]string{"create", "--appId", "a", "--interval", "5"}, "--interval of qlik-cli is not supported: "},
		{[]string{"ls", "--interval", "5"}, "--interval of qlik-cli is not supported: "},
		{[]string{"ls", "-c", "config.yml"}, "--config of qlik-cli is not supported: use --context NAME"},
		{[]string{"ls", "--config=config.yml"}, "--config of qlik-cli is not supported: use --context NAME"},
		{[]string{"ls", "--headers", "Authorization=Bearer " + secret}, "--headers of qlik-cli is not supported: set the credentials with QLIK_API_KEY"},
		{[]string{"ls", "--headers=Authorization=Bearer " + secret}, "--headers of qlik-cli is not supported: "},
		{[]string{"ls", "--insecure"}, "--insecure of qlik-cli is not supported: certificates are always verified"},
		{[]string{"ls", "--server-type", "cloud"}, "--server-type of qlik-cli is not supported: leave it out"},
		{[]string{"ls", "-t"}, "--traffic of qlik-cli is not supported: use --verbose"},
		{[]string{"ls", "-k" + secret}, "unknown shorthand flag: -k"},
		{[]string{"ls", "--key=" + secret}, "unknown flag: --key"},
		{[]string{"create", "--appId", "a", "--variables", secret}, "--variables must be k=v pairs"},
	} {
		r := run(t, nil, append([]string{"--fake"}, c.args...)...)
		if r.status != statusUsage || r.stdout != "" || !strings.HasPrefix(r.stderr, "reload: "+c.says) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%q: %+v, want %q", c.args, r, c.says)
		}
	}
}
