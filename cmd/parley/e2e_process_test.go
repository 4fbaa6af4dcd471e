package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// drainMost is how long a process may take to stop after the signal.
const drainMost = 15 * time.Second

// processes starts the binaries, and ends those that are left.
type processes struct {
	t        *testing.T
	bin, dir string
	url      string // of the NATS server
	env      []string
	stdin    io.Reader // of the commands; none is empty
}

// build builds the binaries once, with the server of the same module.
func build(t *testing.T) *processes {
	t.Helper()
	p := &processes{t: t, bin: t.TempDir(), dir: t.TempDir()}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", p.bin+string(filepath.Separator),
		".", "../orchestrator", "../llm-worker", "../tool-worker", "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the binaries: %v\n%s", err, out)
	}
	return p
}

// process is a running process. Its output is kept, line by line.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and renewed with each line
	over  bool
	errs  bytes.Buffer // of a command whose output is its result
}

// start starts a service; it is read where it logs, on standard error.
func (p *processes) start(name string, args ...string) *process {
	p.t.Helper()
	return p.begin(true, name, args...)
}

// command starts a command for people, which is read on standard output.
func (p *processes) command(args ...string) *process {
	p.t.Helper()
	return p.begin(false, "parley", args...)
}

func (p *processes) begin(service bool, name string, args ...string) *process {
	p.t.Helper()
	r := &process{t: p.t, name: name, done: make(chan struct{}), more: make(chan struct{})}
	r.cmd = exec.Command(filepath.Join(p.bin, name), args...)
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "NATS_URL=" + p.url, "OLLAMA_HOST=http://127.0.0.1:1"}
	r.cmd.Env = append(r.cmd.Env, p.env...)
	r.cmd.Dir, r.cmd.Stdin = p.dir, p.stdin
	var out io.Reader
	var err error
	if service {
		out, err = r.cmd.StderrPipe()
	} else {
		r.cmd.Stderr = &r.errs
		out, err = r.cmd.StdoutPipe()
	}
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		p.t.Fatalf("start %s: %v", name, err)
	}
	go r.collect(out)
	p.t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // it has ended where the test went well
		<-r.done
		if p.t.Failed() && service {
			p.t.Logf("%s printed:\n%s", name, strings.Join(r.printed(), "\n"))
		}
	})
	return r
}

func (r *process) collect(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		r.mu.Lock()
		if line != "" {
			r.lines = append(r.lines, strings.TrimSuffix(line, "\n"))
		}
		r.over = err != nil
		close(r.more)
		r.more = make(chan struct{})
		r.mu.Unlock()
		if err != nil {
			break
		}
	}
	r.err = r.cmd.Wait()
	close(r.done)
}

func (r *process) printed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

// output is what a command printed so far.
func (r *process) output() string { return strings.Join(r.printed(), "\n") + "\n" }

// await waits for the n-th line that holds text, and returns it.
func (r *process) await(n int, text string) string {
	r.t.Helper()
	late := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		more, over, found := r.more, r.over, 0
		for _, line := range r.lines {
			if strings.Contains(line, text) {
				if found++; found == n {
					r.mu.Unlock()
					return line
				}
			}
		}
		r.mu.Unlock()
		if over {
			r.t.Fatalf("%s ended and never printed %q:\n%s%s", r.name, text, r.output(), r.errs.String())
		}
		select {
		case <-more:
		case <-late:
			r.t.Fatalf("%s does not print %q:\n%s%s", r.name, text, r.output(), r.errs.String())
		}
	}
}

// finish waits for a command to end well.
func (r *process) finish() string {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(40 * time.Second):
		r.t.Fatalf("%v does not end; it printed\n%s", r.cmd.Args, r.output()) // it may still be writing errors
	}
	if r.err != nil {
		r.t.Fatalf("%v: %v\n%s", r.cmd.Args, r.err, r.errs.String())
	}
	return r.output()
}

// megabytes is a line of what the kernel says of a process, such as VmRSS.
func (r *process) megabytes(line string) float64 {
	r.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), line+":")
	var kilobytes float64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		r.t.Fatalf("%s of %s: %v", line, r.name, err)
	}
	return kilobytes / 1024
}

// kill ends a process as a crash does.
func (r *process) kill() {
	r.t.Helper()
	if err := r.cmd.Process.Kill(); err != nil {
		r.t.Fatalf("kill %s: %v", r.name, err)
	}
	<-r.done
}

// stop tells a process to stop, and wants it to end well within drainMost.
func (r *process) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatalf("stop %s: %v", r.name, err)
	}
	select {
	case <-r.done:
	case <-time.After(drainMost):
		r.t.Fatalf("%s does not stop within %s:\n%s", r.name, drainMost, r.output())
	}
	if r.err != nil {
		r.t.Fatalf("%s got the signal to stop: %v\n%s%s", r.name, r.err, r.output(), r.errs.String())
	}
}

// get requests a path of a service's health address, which the service logs.
func (r *process) get(path string) (status int, body string) {
	r.t.Helper()
	_, address, _ := strings.Cut(r.await(1, "health and metrics"), "address=")
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s%s", address, path), http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	// A connection that is kept would outlive the test.
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatalf("%s: %v", r.name, err)
	}
	defer func() { _ = res.Body.Close() }() // it was read to its end
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatalf("%s: %s: %v", r.name, path, err)
	}
	return res.StatusCode, string(raw)
}
