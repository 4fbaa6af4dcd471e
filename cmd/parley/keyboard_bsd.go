//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropTyped drops what a terminal holds that was typed and not read.
func dropTyped(f *os.File) {
	const readable = 1 // FREAD of sys/fcntl.h
	// It fails only where there is no terminal, which holds nothing then.
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.TIOCFLUSH, readable)
}
