//go:build !unix

package mcp

import (
	"os"
	"syscall"
)

// ownGroup does nothing: there are no process groups on this system.
func ownGroup() *syscall.SysProcAttr { return nil }

// endGroup ends a process; its children keep running.
func endGroup(p *os.Process) { killGroup(p) }

// killGroup kills a process. It is not an error if the process has already
// exited.
func killGroup(p *os.Process) { _ = p.Kill() }
