package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropTyped drops what a terminal holds that was typed and not read.
func dropTyped(f *os.File) {
	// It fails only where there is no terminal, which holds nothing then.
	_ = unix.IoctlSetInt(int(f.Fd()), unix.TCFLSH, unix.TCIFLUSH)
}
