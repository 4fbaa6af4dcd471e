package daemon

import "golang.org/x/sys/unix"

// Protect keeps other processes of the same user, such as the programs that tools
// run, from reading the memory of this process and the environment that it was
// started with. Only root can, and can debug it. It also disables core dumps.
func Protect() {
	// It fails for no process that may call it.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
