//go:build !planted

package fault

// Planted is false in this build: the compiler removes what depends on it.
func Planted(Bug) bool { return false }
