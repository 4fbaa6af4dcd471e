package worker

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/topology"
)

func TestNoTwoWorkersHaveTheSameName(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		for _, name := range []string{"w", strings.Repeat("long-", 12)} {
			made := UniqueName(name)
			if err := topology.CheckToken("worker", made); err != nil || seen[made] {
				t.Fatalf("%s was made before: %v, %v", made, seen[made], err)
			}
			seen[made] = true
		}
	}
}
