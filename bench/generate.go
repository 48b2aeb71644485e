//go:build !oapi

package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
)

// newGenerated returns nil, because the generated client exists only with the build tag oapi.
func newGenerated(string, *http.Client) (client, error) { return nil, nil }

// start generates the client of oapi-codegen, and then runs this program again with the build tag oapi.
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
