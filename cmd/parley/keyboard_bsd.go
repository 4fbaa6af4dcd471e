//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropTyped drops what was typed at a terminal and not read.
func dropTyped(f *os.File) {
	const readable = 1 // FREAD of sys/fcntl.h
	// It fails only without a terminal.
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.TIOCFLUSH, readable)
}
