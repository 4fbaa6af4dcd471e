package conformance

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a running program under test.
type Process struct {
	Name string
	Done chan struct{} // closed when it has ended
	Err  error         // why it ended, once Done is closed

	check *Check
	cmd   *exec.Cmd
	stdin io.WriteCloser

	mu    sync.Mutex
	all   bytes.Buffer // of both outputs
	lines []string     // of its standard output, complete ones
	rest  string
}

// outlives is how long the output of an ended process may stay open: a process that it
// has started may hold it.
const outlives = 2 * time.Second

// Launch starts the program under test with further environment variables, and a name
// for it in PARLEY_NAME. It is killed when the rule ends.
func (s *Stage) Launch(name string, env ...string) *Process {
	return s.LaunchProgram(s.program, name, env...)
}

// LaunchProgram is [Stage.Launch] of any program.
func (s *Stage) LaunchProgram(program Program, name string, env ...string) *Process {
	cmd := exec.Command(program.Command[0], program.Command[1:]...)
	// Only the rule's bus counts, whatever the environment names.
	inherited := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NATS_") })
	cmd.Env = slices.Concat(inherited, s.Env, program.Env, []string{"PARLEY_NAME=" + name}, env)
	cmd.WaitDelay = outlives
	p := &Process{Name: name, check: s.Check, cmd: cmd, Done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = stdout{p}, stderr{p}
	var err error
	if p.stdin, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.Fatalf("start %s: %v", strings.Join(program.Command, " "), err)
	}
	go func() {
		p.Err = cmd.Wait()
		close(p.Done)
	}()
	s.mu.Lock()
	s.output = append(s.output, p)
	s.mu.Unlock()
	s.Cleanup(func() {
		p.Signal(syscall.SIGKILL)
		<-p.Done
	})
	return p
}

// Signal sends a signal; the process may have ended.
func (p *Process) Signal(sig syscall.Signal) {
	if sig == syscall.SIGKILL {
		_ = p.cmd.Process.Kill()
		return
	}
	_ = p.cmd.Process.Signal(sig)
}

// Exit waits until the process has ended and returns its exit code.
func (p *Process) Exit(d time.Duration) int {
	select {
	case <-p.Done:
	case <-time.After(d):
		p.check.Fatalf("%s did not exit within %v", p.Name, d)
	case <-p.check.ctx.Done():
		p.check.Fatalf("%s did not exit before the rule's time was up", p.Name)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stop sends SIGTERM and checks that the process exits with code 0.
func (p *Process) Stop() {
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(2 * Soon); code != 0 {
		p.check.Errorf("%s exits with code %d after SIGTERM, expected 0", p.Name, code)
	}
}

// Running ends the rule if the process has ended.
func (p *Process) Running() {
	select {
	case <-p.Done:
		p.check.Fatalf("%s ended: %v, expected it to run until SIGTERM", p.Name, p.Err)
	default:
	}
}

// Tell writes a line to the process.
func (p *Process) Tell(line string) {
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.check.Fatalf("%s does not read its standard input: %v", p.Name, err)
	}
}

// Lines returns the complete lines of its standard output so far.
func (p *Process) Lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// Output returns what it has printed, on both outputs.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all.String()
}

type (
	stdout struct{ p *Process }
	stderr struct{ p *Process }
)

// Write implements [io.Writer].
func (w stdout) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	w.p.all.Write(b)
	lines := strings.Split(w.p.rest+string(b), "\n")
	w.p.lines, w.p.rest = append(w.p.lines, lines[:len(lines)-1]...), lines[len(lines)-1]
	return len(b), nil
}

// Write implements [io.Writer].
func (w stderr) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.all.Write(b)
}
