// Package redisserver starts a redis-server on a loopback port, for tests and examples.
package redisserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNotInstalled means that redis-server is not in the PATH.
var ErrNotInstalled = errors.New("redis-server is not in the PATH: install it, for example on Debian: apt-get install redis-server")

// Server is a redis-server that [Start] started. Its methods must not be called concurrently.
type Server struct {
	Addr string // host and port

	path    string
	args    []string
	process *exec.Cmd
	output  bytes.Buffer
}

// Start starts a redis-server on a free port, with its data in dir, and waits until it responds. It returns
// [ErrNotInstalled] if redis-server is not in the PATH. The args are further directives, such as "--appendonly", "yes".
// Without them, the server keeps its data in memory only.
func Start(dir string, args ...string) (*Server, error) {
	return start(append([]string{"--dir", dir, "--save", ""}, args...))
}

// StartSentinel starts a Sentinel with the configuration file, to which it writes. Otherwise it is like [Start].
func StartSentinel(config string) (*Server, error) {
	return start([]string{config, "--sentinel"})
}

func start(args []string) (*Server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrNotInstalled
	}
	for range 3 { // another process may take the port in between
		var addr string
		if addr, err = freeAddr(); err != nil {
			return nil, err
		}
		s := &Server{Addr: addr, path: path, args: args}
		if err = s.Restart(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// freeAddr returns a free port below those that the system chooses, so that no connection takes it while a server is
// stopped. The port of the cluster bus, which is 10000 higher, is below them, too.
func freeAddr() (string, error) {
	for {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(10_000)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		defer l.Close()
		return l.Addr().String(), nil
	}
}

// Restart starts a stopped server again, on the same port, and waits until it responds.
func (s *Server) Restart() error {
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	s.process = exec.Command(s.path, append(slices.Clone(s.args), "--bind", host, "--port", port)...)
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	if err := s.process.Start(); err != nil {
		return err
	}
	if err := s.waitReady(); err != nil {
		s.Stop()
		return fmt.Errorf("redis-server: %w\n%s", err, s.output.String())
	}
	return nil
}

// waitReady waits up to 20 s until the server responds. It returns an error at once if another server has its port.
func (s *Server) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: s.Addr, ContextTimeoutEnabled: true})
	defer client.Close()
	for {
		info, err := client.Info(ctx, "server").Result()
		switch own := fmt.Sprintf("process_id:%d\r\n", s.process.Process.Pid); {
		case err == nil && !strings.Contains(info, own):
			return fmt.Errorf("another server responds on %s", s.Addr)
		case err == nil || ctx.Err() != nil:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Pause stops the server as it is: it keeps its connections but does not respond. Continue ends that.
func (s *Server) Pause() error { return s.process.Process.Signal(syscall.SIGSTOP) }

// Continue lets a paused server run again.
func (s *Server) Continue() error { return s.process.Process.Signal(syscall.SIGCONT) }

// Stop kills the server, as a crash would, and waits until the process has ended.
func (s *Server) Stop() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}
