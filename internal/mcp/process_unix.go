//go:build unix

package mcp

import (
	"os"
	"syscall"
)

// ownGroup makes a process the leader of a group, so that its children end with
// it. One that leaves the group, as a daemon does, is out of reach.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// endGroup asks a process and its children to end.
func endGroup(p *os.Process) { signalGroup(p, syscall.SIGTERM) }

// killGroup ends them.
func killGroup(p *os.Process) { signalGroup(p, syscall.SIGKILL) }

// signalGroup does not report that nobody is left: that is what it is for.
func signalGroup(p *os.Process, s syscall.Signal) { _ = syscall.Kill(-p.Pid, s) }
