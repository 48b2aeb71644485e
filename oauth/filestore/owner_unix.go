//go:build unix

package filestore

import (
	"io/fs"
	"os"
	"syscall"
)

// ownerOf returns the ID of the user who owns a file.
func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return os.Getuid() // unreachable: os.Stat returns a Stat_t
}
