package main

// The processes of the demo and of the tests on this machine.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"
)

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// redisServer is a redis-server process.
type redisServer struct{ process *exec.Cmd }

// startRedis starts a redis-server that keeps its data in dir, and waits until it responds.
func startRedis(ctx context.Context, dir, addr string) (*redisServer, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "redis-server", "--bind", host, "--port", port, "--dir", dir, "--save", "", //nolint:gosec // the arguments are those of demo
		"--appendonly", "yes", "--appendfsync", "always")
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w; on Debian, install it with: apt-get install redis-server", err)
	}
	server := &redisServer{cmd}
	rdb, err := connectRedis("redis://" + addr)
	if err != nil {
		return nil, err
	}
	defer rdb.Close()
	for range 200 {
		if err = rdb.Ping(ctx).Err(); err == nil {
			return server, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	server.stop()
	return nil, errors.Join(errors.New("redis-server does not respond"), err)
}

// stop kills the server, as a crash would.
func (s *redisServer) stop() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

// workers are worker processes that are started again when they end, as systemd or Kubernetes would do it.
type workers struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	processes []*os.Process // nil while there is none
}

// startWorkers starts n processes of this program, with additional environment variables.
func startWorkers(ctx context.Context, n int, env ...string) *workers {
	ctx, cancel := context.WithCancel(ctx)
	w := &workers{cancel: cancel, processes: make([]*os.Process, n)}
	for i := range n {
		w.running.Go(func() {
			for ctx.Err() == nil {
				w.runProcess(ctx, i, env)
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		})
	}
	return w
}

func (w *workers) runProcess(ctx context.Context, i int, env []string) {
	cmd := exec.CommandContext(ctx, os.Args[0]) //nolint:gosec // the program itself
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		return
	}
	w.set(i, cmd.Process)
	_ = cmd.Wait() // that it ended is all that counts
	w.set(i, nil)
}

func (w *workers) set(i int, p *os.Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.processes[i] = p
}

// kill kills a worker if it is running, with SIGKILL.
func (w *workers) kill(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.processes[i] != nil && w.processes[i].Kill() == nil
}

// stop kills all workers and waits until they have ended.
func (w *workers) stop() {
	w.cancel()
	w.running.Wait()
}
