//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd || windows)

package main

import (
	"errors"
	"os"
)

// dropTyped does nothing: what a terminal holds cannot be dropped here, only what
// was read of it.
func dropTyped(*os.File) {}

// hideTyped fails: it is not known how to hide what is typed here.
func hideTyped(*os.File) (show func(), err error) { return nil, errors.ErrUnsupported }
