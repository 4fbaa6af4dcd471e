package conformance_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// language is a worker that the checklist is applied to, with a tool that takes
// pause_ms.
type language struct {
	name, tool  string
	good, wrong string   // arguments, open at the end; the wrong ones make the tool fail
	answer      string   // part of the result for the good ones
	besides     []string // other tools that the program always serves
	command     []string
	env         []string
}

// tools returns all tools that the worker serves.
func (l language) tools() []string { return append([]string{l.tool}, l.besides...) }

// languages returns the workers that can run on this machine: the Go worker
// always, the others if their dependencies are installed. With PARLEY_EXAMPLES set
// all must be installed, so that CI does not pass without them.
//
// The JavaScript client is looked for in examples/javascript/node_modules, or in
// the directory that PARLEY_NODE_MODULES names; the Python one where Python
// finds it, PYTHONPATH included.
func languages(t *testing.T) []language {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all := []language{{name: "Go", tool: "echo", good: `{"text":"again"`, wrong: `{"text":7`, answer: "again",
		besides: []string{"read_result"}, command: []string{self}, env: []string{asWorker + "=1"}}}
	add := func(l language, err error) {
		switch {
		case err == nil:
			all = append(all, l)
		case os.Getenv("PARLEY_EXAMPLES") != "" && l.name == "JavaScript":
			t.Errorf("the %s worker cannot be run: %v: run npm install in examples/javascript, or set PARLEY_NODE_MODULES", l.name, err)
		default:
			t.Logf("the %s worker cannot be run here: %v", l.name, err)
		}
	}
	add(javascript(t))
	add(python(t))
	return all
}

func javascript(t *testing.T) (language, error) {
	t.Helper()
	l := language{name: "JavaScript", tool: "convert_units", good: `{"value":2,"from":"km","to":"m"`, wrong: `{"value":2,"from":"km","to":"stone"`, answer: "2000 m"}
	node, err := exec.LookPath("node")
	if err != nil {
		return l, err
	}
	modules := os.Getenv("PARLEY_NODE_MODULES")
	if modules == "" {
		modules = filepath.Join("..", "javascript", "node_modules")
	}
	if _, err := os.Stat(filepath.Join(modules, "@nats-io", "jetstream")); err != nil {
		return l, err
	}
	// Node looks for modules next to the program: copy the program there.
	source, err := os.ReadFile(filepath.Join("..", "javascript", "worker.mjs"))
	if err != nil {
		return l, err
	}
	dir := t.TempDir()
	if modules, err = filepath.Abs(modules); err != nil {
		return l, err
	}
	program := filepath.Join(dir, "worker.mjs")
	// Garbage is collected all the time, so that nothing works only because it was not.
	l.command = []string{node, "--expose-gc", "--import", "data:text/javascript,setInterval(gc,20).unref()", program}
	return l, errors.Join(os.Symlink(modules, filepath.Join(dir, "node_modules")), os.WriteFile(program, source, 0o600))
}

func python(t *testing.T) (language, error) {
	t.Helper()
	l := language{name: "Python", tool: "word_count", good: `{"text":"to be or not to be"`, wrong: `{"text":7`, answer: "6 words"}
	python, err := exec.LookPath("python3")
	if err != nil {
		return l, err
	}
	l.command = []string{python, filepath.Join("..", "python", "worker.py")}
	if err := exec.CommandContext(t.Context(), python, "-c", "import nats").Run(); err == nil {
		return l, nil
	}
	t.Log("nats-py is not installed: the Python worker runs on a stand-in of the functions that it uses")
	standin, err := filepath.Abs(filepath.Join("testdata", "standin"))
	l.env = []string{"PYTHONPATH=" + standin, "PYTHONDONTWRITEBYTECODE=1"}
	return l, err
}

// process is a running worker.
type process struct {
	name string
	cmd  *exec.Cmd
	out  lockedBuffer
	done chan struct{}
	err  error // why it ended, once done is closed
}

// lockedBuffer holds the output of a process.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements [io.Writer].
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// start starts a worker and waits until it is announced.
func (s *stage) start(l language, name string) *process {
	s.t.Helper()
	p := s.launch(l, name)
	s.eventually(soon, name+" announces itself", func() bool {
		select {
		case <-p.done:
			s.t.Fatalf("%s ended: %v\n%s", name, p.err, p.out.String())
		default:
		}
		return s.offer(l, name) != nil
	})
	return p
}

// launch starts a worker; it ends with the test.
func (s *stage) launch(l language, name string) *process {
	s.t.Helper()
	cmd := exec.Command(l.command[0], l.command[1:]...)
	cmd.Env = slices.Concat(os.Environ(), s.env, l.env, []string{"PARLEY_NAME=" + name})
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	s.t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		if output := strings.TrimSpace(p.out.String()); output != "" && s.t.Failed() {
			s.t.Logf("output of %s:\n%s", name, output)
		}
	})
	return p
}

func (p *process) signal(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig) // it may have ended
}
