//go:build !linux && !darwin && !freebsd

package doctor

// freeBytes is the space that is left on the disk of a directory; it is not known
// here.
func freeBytes(string) (free uint64, known bool) { return 0, false }
