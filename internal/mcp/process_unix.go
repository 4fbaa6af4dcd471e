//go:build unix

package mcp

import (
	"os"
	"syscall"
)

// ownGroup makes a process the leader of a group, so that its children end with
// it. A child that leaves the group, as a daemon does, is not ended.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// endGroup sends SIGTERM to a process and its children.
func endGroup(p *os.Process) { signalGroup(p, syscall.SIGTERM) }

// killGroup sends SIGKILL to them.
func killGroup(p *os.Process) { signalGroup(p, syscall.SIGKILL) }

// signalGroup does not report an empty group, which is the goal.
func signalGroup(p *os.Process, s syscall.Signal) { _ = syscall.Kill(-p.Pid, s) }
