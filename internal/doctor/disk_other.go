//go:build !linux && !darwin && !freebsd

package doctor

// freeBytes would return the free space on the disk of a directory; it is
// unknown on this system.
func freeBytes(string) (free uint64, known bool) { return 0, false }
