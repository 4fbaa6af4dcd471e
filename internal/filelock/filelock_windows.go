package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// Lock locks a file for this process, or reports that another one has it.
func Lock(f *os.File) (taken bool, err error) {
	return lockFile(f, windows.LOCKFILE_EXCLUSIVE_LOCK)
}

// LockShared is [Lock] for a short look: several processes may hold it, while none
// holds the other.
func LockShared(f *os.File) (taken bool, err error) { return lockFile(f, 0) }

func lockFile(f *os.File, how uint32) (taken bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_FAIL_IMMEDIATELY|how, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return true, nil
	}
	return false, err
}
