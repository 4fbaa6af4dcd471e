//go:build unix

package command

import (
	"os"
	"os/exec"
	"syscall"
)

// lead makes the program the leader of a new process group, and its cancel a
// SIGTERM to the whole group. After the grace os/exec kills the leader, and
// sweep the others.
func lead(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
			return os.ErrProcessDone
		}
		return nil
	}
}

// sweep kills the rest of the group of a program that has ended. While a
// process of the group exists, the system does not reuse the group's number.
func sweep(group int) {
	if err := syscall.Kill(-group, syscall.SIGKILL); err != nil {
		return // the group is empty
	}
}
