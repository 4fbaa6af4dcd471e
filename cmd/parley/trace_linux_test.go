package main

import (
	"runtime"
	"syscall"
)

// attach traces a process, as a debugger does, for a moment.
func attach(pid int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.PtraceAttach(pid); err != nil {
		return err
	}
	var status syscall.WaitStatus
	_, err := syscall.Wait4(pid, &status, 0, nil)
	_ = syscall.PtraceDetach(pid) // it ends with this thread
	return err
}
