//go:build unix

package broker

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the file for this process, or says that another has it.
func lock(f *os.File) (taken bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), err
}
