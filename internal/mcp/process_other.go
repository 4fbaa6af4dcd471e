//go:build !unix

package mcp

import (
	"os"
	"syscall"
)

// ownGroup does nothing where there are no process groups.
func ownGroup() *syscall.SysProcAttr { return nil }

// endGroup ends a process; its children stay.
func endGroup(p *os.Process) { killGroup(p) }

// killGroup ends a process. That it has ended before is no error.
func killGroup(p *os.Process) { _ = p.Kill() }
