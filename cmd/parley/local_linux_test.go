package main

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The users as which these tests run processes, when root runs them.
const (
	oneUser     = 65533
	anotherUser = 65534 // nobody
)

// house is a directory that every user can enter, with the command and a thief.
type house struct {
	t    *testing.T
	dir  string
	root bool
}

func newHouse(t *testing.T) *house {
	t.Helper()
	// Not t.TempDir: only its user can enter it.
	dir, err := os.MkdirTemp("", "parley-local-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what is left is seen in the system's directory
	h := &house{t: t, dir: dir, root: os.Getuid() == 0}
	h.must(os.Chmod(dir, 0o755))
	own, err := os.Executable()
	h.must(err)
	for _, name := range []string{"parley", "thief"} {
		in, err := os.Open(own)
		h.must(err)
		out, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY, 0o755)
		h.must(err)
		_, err = io.Copy(out, in)
		h.must(err)
		h.must(out.Close())
		h.must(in.Close())
	}
	h.must(os.Mkdir(filepath.Join(dir, "home"), 0o755))
	if h.root {
		h.must(os.Chown(filepath.Join(dir, "home"), oneUser, oneUser))
	}
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// command is a program of the house, run by a user if root runs the test.
func (h *house) command(user uint32, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(h.dir, name), args...)
	cmd.Dir = filepath.Join(h.dir, "home")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "PARLEY_DATA=" + filepath.Join(cmd.Dir, "data"), "OLLAMA_HOST=127.0.0.1:1"}
	if h.root {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	return cmd
}

// up runs `parley up` with keys in its environment until the test ends, and returns
// its process id and the addresses of its server and of its health endpoints.
func (h *house) up(args ...string) (pid int, nats, health string) {
	h.t.Helper()
	cmd := h.command(oneUser, "parley", append([]string{"up", "--port", "0", "--http", "127.0.0.1:0", "--log-level", "info"}, args...)...)
	cmd.Env = append(cmd.Env, "OPENAI_API_KEY="+stolenKey, "OPENAI_BASE_URL=http://127.0.0.1:1/v1", "NATS_TOKEN="+stolenToken, "SHOP_KEY="+stolenKey)
	r, w, err := os.Pipe()
	h.must(err)
	cmd.Stdout, cmd.Stderr = w, w
	h.must(cmd.Start())
	h.must(w.Close())
	done := make(chan struct{})
	late := time.AfterFunc(scriptTimeout, func() { _ = cmd.Process.Kill() }) // the test fails then
	out := bufio.NewScanner(r)
	var said strings.Builder
	for banner := false; !banner || health == ""; {
		if !out.Scan() {
			h.t.Fatalf("parley up ended: %s", said.String())
		}
		said.WriteString(out.Text() + "\n")
		fields := strings.Fields(out.Text())
		if len(fields) > 1 && fields[0] == "server" {
			nats = fields[1]
		}
		if _, address, found := strings.Cut(out.Text(), "address="); found {
			health = "http://" + address
		}
		banner = banner || strings.HasPrefix(out.Text(), "Ctrl-C stops")
	}
	late.Stop()
	go func() {
		defer close(done)
		for out.Scan() { // so that it never waits for a reader
		}
	}()
	h.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // Wait says how it ended
		<-done
		_ = r.Close()
		if err := cmd.Wait(); err != nil {
			h.t.Errorf("parley up ended with %v", err)
		}
	})
	return cmd.Process.Pid, nats, health
}

// TestAnotherUserCanDoNothing: neither connect, nor read, write or stop anything, and
// the health endpoints tell nothing that is secret.
func TestAnotherUserCanDoNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pid, nats, health := h.up()
	if !h.root {
		t.Log("NOT RUN: only root can be another user")
		return
	}
	out, err := h.command(anotherUser, "thief", fmt.Sprint(pid), filepath.Join(h.dir, "home", "data"), nats, health).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("another user %v\n%s", err, out)
	}
	// The same thief is not stopped by something else: the owner can.
	out, err = h.command(oneUser, "thief", "0", filepath.Join(h.dir, "home", "data"), nats, health).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `opens "server.json"`) {
		t.Errorf("the owner cannot open his own file: %v\n%s", err, out)
	}
	if u, err := url.Parse(nats); err != nil || u.User != nil {
		t.Errorf("the banner shows %s", nats)
	}
}

// TestAToolGetsNoKeys: a program that a tool runs is of the same user. It gets no
// key, and cannot read the memory or the first environment of the process that runs it.
func TestAToolGetsNoKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	file := filepath.Join(h.dir, "tools.yaml")
	h.must(os.WriteFile(file, []byte(`
tools:
- name: steal
  description: tries to get at the worker
  effect: pure
  exec: {command: [`+filepath.Join(h.dir, "thief")+`]}
`), 0o644))
	h.up("--tools-file", file)
	out, err := h.command(oneUser, "parley", "tools", "call", "steal", "{}").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "printed nothing") {
		t.Errorf("a tool %v\n%s", err, out)
	}
	// What holds for a user does not hold within one; docs/security.md says so.
	found, err := h.command(oneUser, "parley", "env").Output()
	if err != nil || !strings.HasPrefix(string(found), "export NATS_URL=nats://") {
		t.Errorf("the user's own command: %v %s", err, found)
	}
}
