//go:build unix

package filestore

import (
	"io/fs"
	"syscall"
)

// ownerOf returns the ID of the user who owns a file. The info must be that of os.Stat.
func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
