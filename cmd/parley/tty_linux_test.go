package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestTerminal runs the scripts in which somebody sits at a terminal.
func TestTerminal(t *testing.T) {
	t.Parallel()
	p := params(filepath.Join("testdata", "terminal"))
	p.Cmds["terminal"] = runTerminal
	testscript.Run(t, p)
}

// openTerminal is both ends of a new terminal.
func openTerminal() (person, program *os.File, err error) {
	if person, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	fd := int(person.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100})
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	return person, program, err
}

// runTerminal is terminal CODE FILE COMMAND...: runs the command in a terminal
// and plays FILE line by line: "? TEXT" waits for what the regular
// expression matches, behind what was waited for before; "> TEXT" types a line;
// "^C" and "^D" press that; "! COMMAND" runs parley elsewhere, on the one
// conversation that waits. The command must
// end with CODE. What the terminal showed is the standard output.
func runTerminal(ts *testscript.TestScript, _ bool, args []string) {
	person, program, err := openTerminal()
	ts.Check(err)
	path, err := lookPath(ts, args[2])
	ts.Check(err)
	cmd := exec.Command(path, args[3:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), append(environment(ts), "TERM=xterm", "NO_COLOR=1", "USER=ann", "EDITOR="+ts.Getenv("EDITOR"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	ts.Check(program.Close())
	late := time.AfterFunc(scriptTimeout, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	s := &sight{more: make(chan string)}
	go s.read(person)
	defer func() {
		_ = cmd.Process.Kill() // it has ended where the script went well
		for range s.more {
			continue
		}
		_ = person.Close()
	}()
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		s.do(ts, person, strings.TrimSuffix(line, "\n"))
	}
	for text := range s.more {
		s.shown += text
	}
	code := exitCode(cmd.Wait())
	fmt.Fprint(ts.Stdout(), strings.ReplaceAll(s.shown, "\r\n", "\n"))
	if want := args[0]; fmt.Sprint(code) != want {
		ts.Fatalf("exit code %d, want %s; the terminal showed\n%s", code, want, s.shown)
	}
}

// sight is what a terminal shows.
type sight struct {
	more  chan string // closed when the program has left the terminal
	shown string
	at    int // behind what was waited for
}

func (s *sight) read(person *os.File) {
	defer close(s.more)
	buf := make([]byte, 4096)
	for {
		n, err := person.Read(buf)
		if n > 0 {
			s.more <- string(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (s *sight) do(ts *testscript.TestScript, person *os.File, line string) {
	what, rest, _ := strings.Cut(line, " ")
	switch what {
	case "?":
		s.await(ts, rest)
	case ">":
		_, err := person.WriteString(rest + "\n")
		ts.Check(err)
	case "^C":
		_, err := person.WriteString("\x03")
		ts.Check(err)
	case "^D":
		_, err := person.WriteString("\x04")
		ts.Check(err)
	case "!":
		// The conversation is the one that waits.
		waits(ts, false, []string{"ELSEWHERE", "1"})
		ts.Check(ts.Exec("parley", append(strings.Fields(rest), ts.Getenv("ELSEWHERE"))...))
	case "", "#":
	default:
		ts.Fatalf("%q is nothing to do at a terminal", line)
	}
}

func (s *sight) await(ts *testscript.TestScript, text string) {
	want, err := regexp.Compile(text)
	ts.Check(err)
	for {
		if found := want.FindStringIndex(s.shown[s.at:]); found != nil {
			s.at += found[1]
			return
		}
		text, ok := <-s.more
		if !ok {
			ts.Fatalf("the terminal never showed %q but\n%s", want, s.shown)
		}
		s.shown += text
	}
}
