//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package main

import "os"

// dropTyped does nothing: here only what was already read can be dropped.
func dropTyped(*os.File) {}
