//go:build planted

package fault

import "os"

// Planted reports whether the variable PARLEY_PLANTED names this bug. Inlined,
// it would leave no text of the bug in the binary for the test to find.
//
//go:noinline
func Planted(b Bug) bool { return os.Getenv("PARLEY_PLANTED") == string(b) }
