package redislimit_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A wrong local clock has no effect because the package does not read the wall clock. It uses only differences between
// values of time.Time, for which Go uses the monotonic clock. The tests therefore do not need to inject a clock.
func TestNoWallClockIsRead(t *testing.T) {
	t.Parallel()
	durations := map[string]bool{
		"Now": true, "Since": true, "Until": true, "Duration": true, "Time": true, "NewTimer": true, "After": true,
		"Nanosecond": true, "Microsecond": true, "Millisecond": true, "Second": true, "Minute": true, "Hour": true,
	}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	check := func(files *token.FileSet, n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		name := selector.Sel.Name
		if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "time" {
			calls++
			if !durations[name] {
				t.Errorf("%s: time.%s is not allowed", files.Position(n.Pos()), name)
			}
		}
		if strings.HasPrefix(name, "Unix") || name == "Format" || name == "AppendFormat" || name == "UTC" || name == "Local" {
			t.Errorf("%s: %s reads the wall clock", files.Position(n.Pos()), name)
		}
		return true
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool { return check(files, n) })
	}
	if calls == 0 {
		t.Error("no use of package time was found")
	}
}

// A process does not send local times to Redis. It sends only times that it received from Redis, and durations.
func TestNoTimeIsSent(t *testing.T) {
	t.Parallel()
	client, _ := connect(t, startRedis(t))
	var sent arguments
	client.AddHook(&sent)
	l := newLimiter(t, client, 50, time.Minute)
	l.Pause(time.Now().Add(time.Millisecond))
	if err := within(t, l, time.Hour); err != nil {
		t.Fatal(err)
	}
	year := (365 * 24 * time.Hour).Seconds()
	now := float64(time.Now().Unix())
	numbers := 0
	for _, argument := range sent {
		x, err := strconv.ParseFloat(argument, 64)
		if err != nil {
			continue
		}
		numbers++
		for _, unit := range []float64{1, 1e3, 1e6, 1e9} {
			if seconds := x / unit; seconds > now-year && seconds < now+year {
				t.Errorf("%s is a local time", argument)
			}
		}
	}
	if numbers < 20 {
		t.Errorf("%d numbers were sent, want those of two scripts: %q", numbers, sent)
	}
}

// arguments is a hook that records the arguments of the scripts.
type arguments []string

func (a *arguments) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a *arguments) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (a *arguments) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); cmd.Name() == "evalsha" && len(*a) < 30 {
			// Skip the command, the hash, the number of keys, and the key.
			for _, arg := range args[4:] {
				*a = append(*a, fmt.Sprint(arg))
			}
		}
		return next(ctx, cmd)
	}
}
