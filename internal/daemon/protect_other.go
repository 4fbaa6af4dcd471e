//go:build !linux

package daemon

// Protect does nothing on this system: programs of the same user may read the memory
// of this process, as far as the system lets them.
func Protect() {}
