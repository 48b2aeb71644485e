package main

import "runtime/debug"

// version returns the version of the module that the command was built from, or "devel" if it is not known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
