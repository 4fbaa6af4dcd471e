//go:build unix

package broker

import (
	"fmt"
	"os"
)

// private refuses a directory in which every user may write: another one could
// replace the files with which a server is found.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&0o002 != 0 {
		err = fmt.Errorf("every user may write to the data directory %s: run chmod o-w on it, or give another --data", dir)
	}
	return err
}
