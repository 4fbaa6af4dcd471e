//go:build faultpoints

package fault

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// plan is what the variables PARLEY_FAULT, such as
// tool-worker/tool-ran#2=kill for the second time that the moment is reached, and
// PARLEY_FAULT_LOG, a file for the moments at which it acted, say.
type plan struct {
	mu     sync.Mutex
	name   Name
	left   int
	action string
	log    string
}

var planned = sync.OnceValue(func() *plan {
	p := &plan{log: os.Getenv("PARLEY_FAULT_LOG")}
	where, action, ok := strings.Cut(os.Getenv("PARLEY_FAULT"), "=")
	if !ok {
		return p
	}
	name, times, _ := strings.Cut(where, "#")
	p.name, p.action, p.left = Name(name), action, 1
	_, _ = fmt.Sscan(times, &p.left) // the first time, if none is given
	return p
})

// Point kills or suspends this process if the plan says so.
func Point(name Name) {
	p := planned()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.name != name {
		return
	}
	if p.left--; p.left != 0 {
		return
	}
	if f, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		_, _ = fmt.Fprintf(f, "%s=%s\n", name, p.action)
		_ = f.Close()
	}
	sig := syscall.SIGKILL
	if p.action == "suspend" {
		sig = syscall.SIGSTOP
	}
	_ = syscall.Kill(os.Getpid(), sig)
	if sig == syscall.SIGKILL {
		select {} // until the signal arrives
	}
}
