//go:build unix

package command

import (
	"os"
	"os/exec"
	"syscall"
)

// lead makes the program the leader of a process group of its own, and its
// cancel a SIGTERM to all of the group. After the grace the leader is killed by
// os/exec, the others by sweep.
func lead(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
			return os.ErrProcessDone
		}
		return nil
	}
}

// sweep kills what is left of the group of a program that has ended. While one
// of the group is left, its number is not given to others.
func sweep(group int) {
	if err := syscall.Kill(-group, syscall.SIGKILL); err != nil {
		return // nobody is left
	}
}
