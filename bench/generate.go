//go:build !oapi

package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
)

// newGenerated has no client: it is generated first, and needs the build tag.
func newGenerated(string, *http.Client) (client, error) { return nil, nil }

// start generates the client of oapi-codegen, and runs this program again with it.
func start(ctx context.Context, args []string) error {
	for _, command := range [][]string{
		{"go", "generate", "./oapi"},
		append([]string{"go", "run", "-tags", "oapi", "."}, args...),
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return nil
}
