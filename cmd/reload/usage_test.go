package main

import (
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"nonsense"}, `unknown command "nonsense"`},
		{[]string{"runn"}, `unknown command "runn" for "reload"; did you mean run? (see reload --help)`},
		{[]string{"help", "nope"}, `unknown command "nope" for "reload"`},
		{[]string{"completion", "tcsh"}, `unknown command "tcsh" for "reload completion"`},
		{[]string{"--fake", "log", "x", "--json"}, "a log is text"},
		{[]string{"--fake", "log", "x", "--quiet"}, "a log is text"},
		{[]string{"ls", "--server", "127.0.0.1:8080", "--api-key-file", "testdata/ls.golden"}, "the URL of the tenant must begin with https://"},
		{[]string{"ls", "--server", "localhost:8080", "--api-key-file", "testdata/ls.golden"}, "the URL of the tenant must begin with https://"},
		{[]string{"--fake", "ls", "--nonsense"}, "--nonsense"},
		{[]string{"--fake", "ls", "extra"}, "extra"},
		{[]string{"--fake", "ls", "--limit", "0"}, "use --all"},
		{[]string{"--fake", "ls", "--limit", "-1"}, "use --all"},
		{[]string{"--fake", "ls", "--limit", "1", "--all"}, "all limit"},
		{[]string{"--fake", "ls", "--next", "a", "--prev", "b"}, "next prev"},
		{[]string{"--fake", "ls", "--json", "--quiet"}, "only one of"},
		{[]string{"--fake", "create"}, `"appId"`},
		{[]string{"--fake", "create", "sales"}, "reload create --appId sales (see"},
		{[]string{"--fake", "create", "sales", "stock"}, "--appId; for several apps, use reload run"},
		{[]string{"--fake", "create", "--appId", "a", "--attach"}, "require --wait"},
		{[]string{"--fake", "create", "--appId", "a", "--weight", "11"}, "must be 1 to 10"},
		{[]string{"--fake", "create", "--appId", "a", "--variables", secret}, "must be k=v"},
		{[]string{"--fake", "get"}, "accepts 1 arg"},
		{[]string{"--fake", "get", ".."}, `".."`},
		{[]string{"--fake", "wait"}, "at least 1 arg"},
		{[]string{"--fake", "wait", ""}, "a reload ID is empty"},
		{[]string{"--fake", "log", "x", "--tail", "-1"}, "--tail"},
		{[]string{"--fake", "ls", "--timeout", "-1s"}, "--timeout"},
		{[]string{"--fake", "--server", "https://x.example.com", "ls"}, "fake"},
		{[]string{"ls", "--server", "http://tenant.example.com", "--api-key-file", "testdata/ls.golden"}, "loopback"},
		{[]string{"ls", "--server", "https://tenant.example.com", "--api-key-file", "testdata/ls.golden"}, "token"},
		{[]string{"ls", "--server", "https://tenant.example.com"}, "QLIK_API_KEY is not set"},
		{[]string{"ls", "--server", "https://tenant.example.com", "--api-key-file", "does/not/exist"}, "does/not/exist"},
	} {
		if r := run(t, nil, c.args...); r.status != statusUsage || r.stdout != "" || !strings.Contains(r.stderr, c.says) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%q: status %d, stdout %q, stderr %q, want 2 and a line with %q", c.args, r.status, r.stdout, r.stderr, c.says)
		}
	}
}
