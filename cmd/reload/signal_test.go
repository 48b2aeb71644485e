package main

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// signals are the signals that end a command, with the status and the first word of the error.
var signals = map[string]struct {
	signal os.Signal
	status int
	says   string
}{
	"SIGINT":  {os.Interrupt, statusInterrupted, "reload: interrupted: "},
	"SIGTERM": {syscall.SIGTERM, statusTerminated, "reload: terminated: "},
	"SIGHUP":  {syscall.SIGHUP, statusTerminated, "reload: terminated: "},
}

// yearlyTenant is a tenant with an app whose reloads are queued for an hour.
func yearlyTenant() *reloadstest.Tenant {
	tenant := reloadstest.NewTenant(reloadstest.WithToken(testKey, reloadstest.User))
	tenant.AddApp("yearly", reloadstest.App{QueueFor: time.Hour})
	return tenant
}

func TestASignalWhileCreateWaits(t *testing.T) {
	t.Parallel()
	for name, s := range signals {
		for flag, want := range map[string]reloads.Status{"--utc": reloads.StatusQueued, "--cancel-on-abort": reloads.StatusCanceled} {
			t.Run(name+" "+flag, func(t *testing.T) {
				t.Parallel()
				tenant := yearlyTenant()
				_, env := serve(t, tenant)
				p := start(t, env, "create", "--appId", "yearly", "--wait", flag)
				p.expect("of app yearly")
				p.expect("QUEUED")
				p.signal(s.signal)
				r := p.wait()
				if r.status != s.status || !strings.Contains(r.stderr, s.says) || !strings.Contains(r.stdout, string(want)) {
					t.Errorf("%+v", r)
				}
				if got := tenant.Reloads()[0].Status; got != want {
					t.Errorf("the reload is %s, want %s", got, want)
				}
				if goesOn := want == reloads.StatusQueued; strings.Contains(r.stderr, "hint: the reload goes on") != goesOn {
					t.Errorf("the hint is wrong: %s", r.stderr)
				}
			})
		}
	}
}

func TestASignal(t *testing.T) {
	t.Parallel()
	for name, s := range signals {
		for command, args := range map[string][]string{"wait": {"wait", "ID"}, "watch": {"watch", "ID"}, "log": {"log", "ID", "--follow"}, "ls": {"ls"}} {
			t.Run(name+" "+command, func(t *testing.T) {
				t.Parallel()
				requests := make(chan struct{}, 100)
				_, env := serve(t, hanging(t, requests))
				p := start(t, env, args...)
				<-requests
				p.signal(s.signal)
				if r := p.wait(); r.status != s.status || !strings.Contains(r.stderr, s.says) || strings.Contains(r.stderr, "hint:") {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

// The first signal cancels the reload, but the tenant does not respond. The second one, of any kind, ends the command.
func TestASecondSignal(t *testing.T) {
	t.Parallel()
	for name, s := range signals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := yearlyTenant()
			canceling := make(chan struct{}, 100)
			hang := hanging(t, canceling)
			_, env := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/cancel") {
					hang.ServeHTTP(w, r)
					return
				}
				tenant.ServeHTTP(w, r)
			}))
			p := start(t, env, "create", "--appId", "yearly", "--wait", "--cancel-on-abort")
			p.expect("of app yearly")
			p.expect("QUEUED")
			p.signal(os.Interrupt)
			<-canceling
			p.signal(s.signal)
			if r := p.wait(); r.status != s.status || r.stdout != "" || strings.Contains(r.stderr, "reload:") {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Under nohup, the end of the session does not end the command.
func TestAnIgnoredSignal(t *testing.T) {
	t.Parallel()
	requests := make(chan struct{}, 100)
	_, env := serve(t, hanging(t, requests))
	p := &process{t: t, cmd: command(t, env)}
	p.cmd.Path, p.cmd.Args = "/bin/sh", []string{"sh", "-c", `trap "" HUP; exec "$0" wait ID`, binary}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-requests
	p.signal(syscall.SIGHUP)
	p.signal(os.Interrupt)
	if r := newResult(t, p.cmd.Wait(), &p.stdout, &p.stderr); r.status != statusInterrupted {
		t.Errorf("%+v", r)
	}
}

// While the plan or the key is read, a signal ends the command as it ends other programs.
func TestASignalWhileTheInputIsRead(t *testing.T) {
	t.Parallel()
	for name, s := range signals {
		for _, args := range [][]string{{"ls", "--server", "https://tenant.example.com", "--api-key-file", "-"}, {"run", "--fake", "-f", "-"}} {
			t.Run(name+" "+args[0], func(t *testing.T) {
				t.Parallel()
				stdin, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer stdin.Close()
				defer w.Close()
				cmd := command(t, nil, args...)
				cmd.Stdin = stdin
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Process.Signal(s.signal); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait()
				if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != s.signal {
					t.Errorf("%v", cmd.ProcessState)
				}
			})
		}
	}
}
