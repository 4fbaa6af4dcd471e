//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package main

import "os"

// dropTyped does nothing: what a terminal holds cannot be dropped here, only what
// was read of it.
func dropTyped(*os.File) {}
