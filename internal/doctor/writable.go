package doctor

import (
	"fmt"
	"os"
)

// Writable returns the reason why an embedded server could not store its data
// in a directory. It creates the directory if it does not exist.
func Writable(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, "probe"); err == nil {
			_ = f.Close()
			err = os.Remove(f.Name())
		}
	}
	if err != nil {
		return fmt.Errorf("the data directory %s cannot be used: %w: give another with --data or PARLEY_DATA", dir, err)
	}
	if free, known := freeBytes(dir); known && free < DefaultTolerance().FreeBytes {
		return fmt.Errorf("%d MB are left on the disk of %s: free some, or give another with --data", free>>20, dir)
	}
	return nil
}
