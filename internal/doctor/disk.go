//go:build linux || darwin || freebsd

package doctor

import "syscall"

// freeBytes returns the free space on the disk of a directory.
func freeBytes(dir string) (free uint64, known bool) {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0, false
	}
	return uint64(st.Bavail) * uint64(st.Bsize), true
}
