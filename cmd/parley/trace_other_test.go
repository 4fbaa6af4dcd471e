//go:build !linux

package main

import "errors"

// attach would trace a process; there is no test of it on this system.
func attach(int) error { return errors.ErrUnsupported }
