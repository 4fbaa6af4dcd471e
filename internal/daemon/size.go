package daemon

import (
	"fmt"

	"github.com/docker/go-units"
)

// size is a flag's number of bytes, written as 512MiB or 20GiB.
type size int64

// Set implements pflag.Value.
func (s *size) Set(text string) error {
	n, err := units.RAMInBytes(text)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a size such as 512MiB or 20GiB", text)
	}
	*s = size(n)
	return nil
}

// String implements pflag.Value. A flag of 0 is not printed as a default.
func (s *size) String() string {
	if *s == 0 {
		return "0"
	}
	return units.BytesSize(float64(*s))
}

// Type implements pflag.Value.
func (s *size) Type() string { return "size" }
