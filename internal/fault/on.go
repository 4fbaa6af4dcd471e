//go:build faultpoints

package fault

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// plan is what the variables PARLEY_FAULT, such as
// tool-worker/tool-ran#2=kill for the second time that the moment is reached, and
// PARLEY_FAULT_LOG, a file that gets a line when the moment is reached, say. A test that
// has done what the process waits for creates the file with ".done" behind its name.
type plan struct {
	mu     sync.Mutex
	name   Name
	left   int
	action Action
	log    string
}

// heldAtMost bounds how long a process waits for the test.
const heldAtMost = 30 * time.Second

var planned = sync.OnceValue(func() *plan {
	p := &plan{log: os.Getenv("PARLEY_FAULT_LOG")}
	where, action, ok := strings.Cut(os.Getenv("PARLEY_FAULT"), "=")
	if !ok {
		return p
	}
	name, times, _ := strings.Cut(where, "#")
	p.name, p.action, p.left = Name(name), Action(action), 1
	_, _ = fmt.Sscan(times, &p.left) // the first time, if none is given
	return p
})

// Point strikes this process if the plan says so.
func Point(name Name) {
	p := planned()
	if !p.reached(name) {
		return
	}
	switch p.action {
	case Kill:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal arrives
	case Stop:
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	default:
		for until := time.Now().Add(heldAtMost); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
			if _, err := os.Stat(p.log + ".done"); err == nil {
				return
			}
		}
	}
}

// reached records that the moment is reached, and reports whether it is the planned one.
func (p *plan) reached(name Name) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.name != name {
		return false
	}
	if p.left--; p.left != 0 {
		return false
	}
	if f, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		_, _ = fmt.Fprintf(f, "%s=%s\n", name, p.action)
		_ = f.Close()
	}
	return true
}
