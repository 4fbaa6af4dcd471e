package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/parleybus/parley"
)

// scriptTimeout is how long a process of a script may run, upTimeout how long one of up,
// which the whole script uses.
const (
	scriptTimeout = 60 * time.Second
	upTimeout     = 4 * time.Minute
)

// TestScripts runs the command as people and programs do. Each script has a
// data directory of its own, no provider keys, and an Ollama that is not there.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, params(filepath.Join("testdata", "script")))
}

// params are those of the scripts of a directory.
func params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PARLEY_DATA", filepath.Join(e.WorkDir, "data"))
			e.Setenv("OLLAMA_HOST", "http://127.0.0.1:1")
			e.Setenv("LANG", "C.UTF-8")
			e.Values[ups{}] = map[string]*child{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":     exits,
			"hangup":    hangup,
			"interrupt": interrupt,
			"up":        up,
			"kill9":     kill9,
			"latest":    latest,
			"cursor":    cursor,
			"server":    natsServer,
			"port":      port,
			"long":      long,
			"sealed":    sealed,
			"waits":     waits,
			"until":     until,
			"publish":   publish,
			"messages":  messages,

			"mcp-servers": mcpServers,
		},
	}
}

// exits CODE COMMAND...: the command ends with the exit code, and whatever it
// complains about is one line.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	var want int
	if _, err := fmt.Sscan(args[0], &want); err != nil {
		ts.Fatalf("exits wants a code, got %q", args[0])
	}
	got := exitCode(ts.Exec(args[1], args[2:]...))
	if got != want {
		ts.Fatalf("%s ended with exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// child is a process of a script whose output is read as it comes.
type child struct {
	cmd    *exec.Cmd
	out    *bufio.Scanner
	read   bytes.Buffer // what was read of the output
	stderr bytes.Buffer
	pipe   *os.File
}

func begin(ts *testscript.TestScript, args []string) *child {
	path, err := lookPath(ts, args[0])
	ts.Check(err)
	c := &child{cmd: exec.Command(path, args[1:]...)}
	c.cmd.Dir = ts.MkAbs(".")
	c.cmd.Env = environment(ts)
	c.cmd.Stderr = &c.stderr
	r, w, err := os.Pipe()
	ts.Check(err)
	c.cmd.Stdout, c.pipe, c.out = w, r, bufio.NewScanner(r)
	ts.Check(c.cmd.Start())
	ts.Check(w.Close())
	// One that hangs is ended, so that the script fails and not the whole test.
	limit := scriptTimeout
	if len(args) > 1 && args[1] == "up" {
		limit = upTimeout
	}
	late := time.AfterFunc(limit, func() { _ = c.cmd.Process.Kill() })
	ts.Defer(func() {
		late.Stop()
		_ = c.cmd.Process.Kill() // it has ended where the script went well
		_ = c.pipe.Close()
	})
	return c
}

// complaint ends the process, and returns what it wrote to stderr.
func (c *child) complaint() string {
	_ = c.cmd.Process.Kill() // it has ended, or never will
	_ = c.cmd.Wait()         // which also waits for all of stderr
	return c.stderr.String()
}

// lookPath finds a command as the script's own PATH has it.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, name); isFile(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("no command %q in PATH", name)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "PARLEY_DATA", "OLLAMA_HOST", "NATS_URL", "PARLEY_SIGN_KEY", "NO_COLOR"} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// until reads lines up to the one that done accepts.
func (c *child) until(done func(line string) bool) bool {
	for c.out.Scan() {
		line := c.out.Text()
		c.read.WriteString(line + "\n")
		if done(line) {
			return true
		}
	}
	return false
}

func (c *child) lines(n int) bool {
	return c.until(func(string) bool { n--; return n <= 0 })
}

// end returns the output of the process, and its exit code.
func (c *child) end(ts *testscript.TestScript) int {
	code := exitCode(c.cmd.Wait())
	fmt.Fprint(ts.Stdout(), c.read.String())
	fmt.Fprint(ts.Stderr(), c.stderr.String())
	return code
}

// hangup N COMMAND...: reads N lines of the output and goes away, as head does.
func hangup(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	c := begin(ts, args[1:])
	if !c.lines(n) {
		ts.Fatalf("the output ended before line %d: %s%s", n, c.read.String(), c.complaint())
	}
	ts.Check(c.pipe.Close())
	if code := c.end(ts); code != 0 {
		ts.Fatalf("after the reader went away: exit code %d, stderr %q", code, c.stderr.String())
	}
}

// interrupt CODE N COMMAND...: reads N lines, presses Ctrl-C, and wants CODE.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	c := begin(ts, args[2:])
	if !c.lines(n) {
		ts.Fatalf("the output ended before line %d: %s%s", n, c.read.String(), c.complaint())
	}
	ts.Check(c.cmd.Process.Signal(os.Interrupt))
	c.until(func(string) bool { return false })
	if code := c.end(ts); code != want {
		ts.Fatalf("interrupted: exit code %d, want %d; stderr %q", code, want, c.stderr.String())
	}
}

// up VAR [ARGS...]: runs parley up until the script ends, waits for its banner,
// and puts the server's URL, with the token if it is embedded, into VAR. It must end with 0 when it is stopped.
func up(ts *testscript.TestScript, _ bool, args []string) {
	c := begin(ts, append([]string{"parley", "up"}, args[1:]...))
	if !c.until(func(line string) bool { return strings.HasPrefix(line, "Ctrl-C stops") }) {
		ts.Fatalf("parley up ended: %s%s", c.read.String(), c.complaint())
	}
	for line := range strings.Lines(c.read.String()) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "server" {
			ts.Setenv(args[0], f[1])
			if strings.Contains(line, "(embedded") {
				ts.Setenv(args[0], urlOf(ts, args))
			}
		}
	}
	fmt.Fprint(ts.Stdout(), c.read.String())
	running := ts.Value(ups{}).(map[string]*child)
	running[args[0]] = c
	ts.Defer(func() {
		if running[args[0]] != c {
			return // it was killed
		}
		_ = c.cmd.Process.Signal(os.Interrupt) // Wait tells how it ended
		c.until(func(string) bool { return false })
		if code := exitCode(c.cmd.Wait()); code != 0 {
			ts.Logf("parley up %v ended with exit code %d: %s", args, code, c.stderr.String())
			panic("parley up did not end well")
		}
	})
}

// urlOf is what `parley env` says of the data directory of up's arguments.
func urlOf(ts *testscript.TestScript, args []string) string {
	env := []string{"env", "--json"}
	if i := slices.Index(args, "--data"); i >= 0 {
		env = append(env, args[i:i+2]...)
	}
	path, err := lookPath(ts, "parley")
	ts.Check(err)
	cmd := exec.Command(path, env...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
	raw, err := cmd.Output()
	ts.Check(err)
	var vars map[string]string
	ts.Check(json.Unmarshal(raw, &vars))
	return vars["NATS_URL"]
}

// ups is the key of the processes that up runs, by the VAR of each.
type ups struct{}

// kill9 VAR: ends a process of up as a crash does.
func kill9(ts *testscript.TestScript, _ bool, args []string) {
	running := ts.Value(ups{}).(map[string]*child)
	c := running[args[0]]
	delete(running, args[0])
	ts.Check(c.cmd.Process.Kill())
	c.until(func(string) bool { return false })
	if code := exitCode(c.cmd.Wait()); code != -1 {
		ts.Fatalf("parley up ended by itself, with exit code %d", code)
	}
}

// latest VAR: the id of the newest conversation.
func latest(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("parley", "ls", "-n", "1", "--output", "json"))
	var all []struct{ ID string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &all))
	if len(all) != 1 {
		ts.Fatalf("ls lists %d conversations", len(all))
	}
	ts.Setenv(args[0], all[0].ID)
}

// cursor VAR N FILE REST: the cursor of line N of FILE; the lines after it go
// to REST.
func cursor(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	lines := strings.SplitAfter(ts.ReadFile(args[2]), "\n")
	if len(lines) <= n {
		ts.Fatalf("%s has %d lines", args[2], len(lines))
	}
	var e entry
	ts.Check(json.Unmarshal([]byte(lines[n-1]), &e))
	ts.Setenv(args[0], e.Cursor)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(strings.Join(lines[n:], "")), 0o600))
}

// server VAR [jetstream]: a NATS server that is not Parley's.
func natsServer(ts *testscript.TestScript, _ bool, args []string) {
	opts := &server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		JetStream: len(args) > 1, StoreDir: ts.MkAbs("nats")}
	s, err := server.NewServer(opts)
	ts.Check(err)
	s.Start()
	ts.Defer(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		ts.Fatalf("the NATS server is not ready")
	}
	ts.Setenv(args[0], s.ClientURL())
}

// port VAR taken|closed: a port where a server listens, or none.
func port(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	if args[1] == "closed" {
		ts.Check(l.Close())
		return
	}
	ts.Defer(func() { _ = l.Close() })
}

// long VAR BYTES: a text that long.
func long(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Setenv(args[0], strings.Repeat("a", n))
}

// sealed FILE: a file is in the place where a directory should be made, which not even
// root can write into.
func sealed(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), nil, 0o400))
}

// waits VAR N: waits until N things wait for somebody, over all conversations;
// the conversation that waits for the shortest time goes to VAR, the calls to VAR_1 and so on.
func waits(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	c := begin(ts, []string{"parley", "approvals", "--follow", "--output", "json"})
	var seen []parley.WaitingChange
	ok := c.until(func(line string) bool {
		var w parley.WaitingChange
		ts.Check(json.Unmarshal([]byte(line), &w))
		if w.Change == "waits" {
			seen = append(seen, w)
		}
		return len(seen) == n
	})
	if !ok {
		ts.Fatalf("%d things wait, want %d: %s", len(seen), n, c.complaint())
	}
	// What waited before comes in any order of conversations.
	slices.SortStableFunc(seen, func(a, b parley.WaitingChange) int { return a.Since.Compare(*b.Since) })
	for i, w := range seen {
		ts.Setenv(args[0], w.Conversation)
		ts.Setenv(fmt.Sprintf("%s_%d", args[0], i+1), w.Call)
	}
	ts.Check(c.cmd.Process.Signal(os.Interrupt))
	c.until(func(string) bool { return false })
	if code := c.end(ts); code != 0 {
		ts.Fatalf("approvals --follow got the signal to stop: exit code %d, %s", code, c.stderr.String())
	}
}

// until TEXT COMMAND...: reads the output up to a line that the regular
// expression matches, presses Ctrl-C, and wants 0.
func until(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	c := begin(ts, args[1:])
	if !c.until(want.MatchString) {
		ts.Fatalf("the output ended before %q: %s%s", want, c.read.String(), c.complaint())
	}
	ts.Check(c.cmd.Process.Signal(os.Interrupt))
	c.until(func(string) bool { return false })
	if code := c.end(ts); code != 0 {
		ts.Fatalf("interrupted: exit code %d; stderr %q", code, c.stderr.String())
	}
}

// publish URL SUBJECT DATA [HEADER=VALUE]: a message as any NATS client may send
// it, which the server stores.
func publish(ts *testscript.TestScript, _ bool, args []string) {
	nc, err := nats.Connect(args[0])
	ts.Check(err)
	defer nc.Close()
	m := nats.NewMsg(args[1])
	m.Data = []byte(args[2])
	if len(args) > 3 {
		name, value, _ := strings.Cut(args[3], "=")
		m.Header.Set(name, value)
	}
	_, err = nc.RequestMsg(m, 10*time.Second)
	ts.Check(err)
}

// messages URL: every message that the server keeps, a line each: its subject and its
// bytes.
func messages(ts *testscript.TestScript, _ bool, args []string) {
	nc, err := nats.Connect(args[0])
	ts.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		stream, err := js.Stream(ctx, name)
		ts.Check(err)
		state := stream.CachedInfo().State
		for at := max(1, state.FirstSeq); at <= state.LastSeq; at++ {
			m, err := stream.GetMsg(ctx, at)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue // acknowledged or replaced
			}
			ts.Check(err)
			fmt.Fprintf(ts.Stdout(), "%s %s\n", m.Subject, m.Data)
		}
	}
	ts.Check(names.Err())
}
