package chaos_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process whose clock jumps is built with another time.Now, by an overlay of the
// compiler: the wall clock is wrong by the seconds in a file that the process has
// mapped; what it measures with the monotonic clock stays right, as when an
// administrator or NTP sets a clock. libfaketime does not reach Go programs, and
// Linux's time namespaces do not have the wall clock.
//
// PARLEY_CLOCKS=1 adds such jumps to the plans. The standard library is built anew for
// it, which takes minutes the first time.

const wrongClock = `package time

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

var wrongSeconds = sync.OnceValue(func() *int64 {
	path, ok := syscall.Getenv("PARLEY_WRONG_CLOCK")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("open PARLEY_WRONG_CLOCK: " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("map PARLEY_WRONG_CLOCK: " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&page[0]))
})

func wrongBy() int64 { return atomic.LoadInt64(wrongSeconds()) }
`

func clocksJump() bool { return os.Getenv("PARLEY_CLOCKS") != "" }

// overlay writes the files of a wrong clock and returns the compiler's list of them.
func overlay(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("go env GOROOT: %v", err)
	}
	std, dir := filepath.Join(strings.TrimSpace(string(out)), "src", "time"), t.TempDir()
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	if strings.Count(string(source), now) != 1 {
		t.Fatalf("time.Now of %s is not as this test knows it: look how it reads the clock, and change the overlay", std)
	}
	changed := strings.Replace(string(source), now, strings.Replace(now, "\n", "\n\tsec += wrongBy()\n", 1), 1)
	list, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(std, "time.go"):  filepath.Join(dir, "time.go"),
		filepath.Join(std, "wrong.go"): filepath.Join(dir, "wrong.go"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"time.go": changed, "wrong.go": wrongClock, "overlay.json": string(list)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "overlay.json")
}

// jumps are the times at which clocks jump, by up to a quarter of an hour in both
// directions. They are drawn apart, so that a seed is the same plan without them.
func jumps(seed uint64) (all []event) {
	r := rand.New(rand.NewPCG(seed, 12))
	for range 1 + r.IntN(4) {
		all = append(all, event{At: time.Duration(r.IntN(4000)) * time.Millisecond, Kind: "clock", Role: r.IntN(len(roles())),
			For: time.Duration(r.IntN(1801)-900) * time.Second})
	}
	return all
}

// clock is the file of a process's wrong clock.
func (d *deployment) clock(n int) string { return filepath.Join(d.dir, fmt.Sprintf("clock-%d", n)) }

// setClock makes a process's clock wrong. The file is mapped: it is written in place.
func (d *deployment) setClock(n int, by time.Duration) {
	f, err := os.OpenFile(d.clock(n), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(by/time.Second))), 0)
		if closed := f.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		d.t.Errorf("set the clock of process %d: %v", n, err)
	}
}
