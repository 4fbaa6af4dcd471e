package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// dropTyped does nothing: what a terminal holds cannot be dropped here, only what
// was read of it.
func dropTyped(*os.File) {}

// hideTyped keeps a terminal from showing what is typed until show is called.
func hideTyped(f *os.File) (show func(), err error) {
	console := windows.Handle(f.Fd())
	var before uint32
	if err := windows.GetConsoleMode(console, &before); err != nil {
		return nil, err
	}
	if err := windows.SetConsoleMode(console, before&^windows.ENABLE_ECHO_INPUT); err != nil {
		return nil, err
	}
	return func() { _ = windows.SetConsoleMode(console, before) }, nil // it fails where the terminal is gone
}
