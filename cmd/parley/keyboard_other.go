//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd || windows)

package main

import (
	"errors"
	"os"
)

// dropTyped does nothing: here only what was already read can be dropped.
func dropTyped(*os.File) {}

// hideTyped fails: it is not known how to hide what is typed here.
func hideTyped(*os.File) (show func(), err error) { return nil, errors.ErrUnsupported }
