package broker

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockShared is lock for a moment's look: several may hold it, beside nobody who has
// called lock.
func lockShared(f *os.File) (taken bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return true, nil
	}
	return false, err
}

// private accepts every directory: what others may do follows from its access list,
// which a new directory has from the one that it is in.
func private(string) error { return nil }

// lock locks the file for this process, or returns an error if another process
// has it.
func lock(f *os.File) (taken bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	return errors.Is(err, windows.ERROR_LOCK_VIOLATION), err
}
