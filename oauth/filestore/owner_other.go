//go:build !unix

package filestore

import (
	"io/fs"
	"os"
)

// ownerOf returns the current user, because files have no owner ID.
func ownerOf(fs.FileInfo) int { return os.Getuid() }
