package main

import "testing"

func TestFollowingALogThatGrows(t *testing.T) {
	t.Parallel()
	_, env := serve(t, &scripted{})
	if r := run(t, env, "log", "1", "--follow"); r.stdout != "one\ntwo\nthree\n" || r.status != statusOK {
		t.Errorf("%+v", r)
	}
	_, env = serve(t, &scripted{})
	if r := run(t, env, "log", "1", "--follow", "--raw", "--tail", "0"); r.stdout != "two\r\nthree" || r.status != statusOK {
		t.Errorf("raw, only new lines: %+v", r)
	}
}
