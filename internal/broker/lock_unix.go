//go:build unix

package broker

import (
	"errors"
	"os"
	"syscall"
)

// lock locks the file for this process, or returns an error if another process
// has it.
func lock(f *os.File) (taken bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), err
}
