//go:build unix

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// Lock locks a file for this process, or reports that another one has it.
func Lock(f *os.File) (taken bool, err error) { return flock(f, syscall.LOCK_EX) }

// LockShared is [Lock] for a short look: several processes may hold it, while none
// holds the other.
func LockShared(f *os.File) (taken bool, err error) { return flock(f, syscall.LOCK_SH) }

func flock(f *os.File, how int) (taken bool, err error) {
	err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
