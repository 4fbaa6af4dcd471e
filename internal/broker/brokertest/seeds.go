package brokertest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// seedsAtOnce is how many seeds run at once: they mostly wait for timeouts.
const seedsAtOnce = 8

// Seeds runs a test once for each seed, several at once: for the seeds 1 to short,
// or to the number in PARLEY_SEEDS. PARLEY_SEED=7 runs seed 7 alone. A seed that
// fails prints how to run it again.
func Seeds(t *testing.T, short int, run func(t *testing.T, seed uint64)) {
	t.Helper()
	first, last := uint64(1), uint64(short)
	read := func(name string) uint64 {
		n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
		if err != nil || n == 0 {
			t.Fatalf("%s=%q: it must be a number above 0", name, os.Getenv(name))
		}
		return n
	}
	if os.Getenv("PARLEY_SEEDS") != "" {
		last = read("PARLEY_SEEDS")
	}
	if os.Getenv("PARLEY_SEED") != "" {
		first = read("PARLEY_SEED")
		last = first
	}
	var g errgroup.Group
	g.SetLimit(seedsAtOnce)
	test, _, _ := strings.Cut(t.Name(), "/")
	for seed := first; seed <= last; seed++ {
		g.Go(func() error {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("run seed %d again: PARLEY_SEED=%d go test -count=1 -run '^%s$' in this package", seed, seed, test)
					}
				})
				run(t, seed)
			})
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
