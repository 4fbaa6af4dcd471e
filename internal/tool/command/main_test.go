package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/command"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

// TestMain runs the tests, or plays one of the programs that they call.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "play" {
		os.Exit(play(os.Args[2], os.Args[3:]))
	}
	goleak.VerifyTestMain(m)
}

// play is a program that behaves as its name says.
func play(what string, args []string) int {
	switch what {
	case "arguments":
		fmt.Printf("%q\n", args)
	case "stdin":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return 1
		}
	case "environment":
		for _, e := range os.Environ() {
			if !strings.HasPrefix(e, "GO") { // from quick
				fmt.Println(e)
			}
		}
	case "directory":
		dir, err := os.Getwd()
		fmt.Print(dir)
		return code(err)
	case "print":
		fmt.Print(args[0])
	case "fail":
		fmt.Print("half a result")
		fmt.Fprint(os.Stderr, args[0])
		return 3
	case "later":
		return 75
	case "garbage":
		os.Stdout.Write([]byte("a\xff\xfe\x00\x1b[31mb\xe2\x82"))
	case "gigabyte", "gigabyte of complaints":
		to := os.Stdout
		if what != "gigabyte" {
			to = os.Stderr
		}
		signal.Ignore(syscall.SIGPIPE, syscall.SIGTERM)
		block := []byte(strings.Repeat("x", 1<<20))
		for range 1 << 10 {
			if _, err := to.Write(block); err != nil && what != "gigabyte" {
				return 1
			}
		}
	case "kill itself":
		return code(syscall.Kill(os.Getpid(), syscall.SIGKILL))
	case "stay":
		fmt.Println("ready", os.Getpid())
		forever()
	case "ignore":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		fmt.Println("ready", os.Getpid())
		forever()
	case "family":
		// A child that ignores SIGTERM; args say whether the parent stays.
		child := exec.Command(os.Args[0], "play", "ignore")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 1
		}
		if args[0] == "stay" {
			forever()
		}
		fmt.Println("parent goes")
	}
	return 0
}

// forever waits longer than any test.
func forever() { <-time.After(time.Hour) }

func code(err error) int {
	if err != nil {
		return 1
	}
	return 0
}

// text is a fixed item.
func text(s string) command.Item { return command.Item{Text: s} }

// self is the command that plays a program, with more items.
func self(t *testing.T, what string, more ...command.Item) []command.Item {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]command.Item{text(program), text("play"), text(what)}, more...)
}

// schema is an input with properties of these names and of any type.
func schema(names ...string) json.RawMessage {
	properties := map[string]any{}
	for _, n := range names {
		properties[n] = map[string]any{}
	}
	raw, err := json.Marshal(map[string]any{"type": "object", "properties": properties})
	if err != nil {
		return nil
	}
	return raw
}

// quick lets the programs end at once under the race detector, which otherwise
// waits a second, and without a warning when coverage is measured.
func quick(t *testing.T, c command.Config) command.Config {
	t.Helper()
	set := map[string]string{"GORACE": "atexit_sleep_ms=0", "GOCOVERDIR": t.TempDir()}
	maps.Copy(set, c.Env.Set)
	c.Env.Set = set
	return c
}

// made makes a tool whose description must be right.
func made(t *testing.T, spec events.ToolSpec, c command.Config) tool.Tool {
	t.Helper()
	spec.Name = "it"
	if c.Grace == "" {
		c.Grace = "200ms"
	}
	it, err := command.New(spec, quick(t, c), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// wantFailure checks that err is one that the model reads.
func wantFailure(t *testing.T, err error, want string) {
	t.Helper()
	tooltest.Ended(t, err, want, 10_000)
}

// startReady runs a tool and returns when it has printed the line that it is ready:
// its process, and the channel of its end.
func startReady(ctx context.Context, t *testing.T, it tool.Tool) (pid int, done <-chan error) {
	t.Helper()
	ready, ended := make(chan int, 1), make(chan error, 1)
	go func() {
		_, err := it.Run(ctx, tool.Input{Arguments: json.RawMessage(`{}`), Output: func(text string) {
			var pid int
			if n, err := fmt.Sscanf(text, "ready %d", &pid); n == 1 && err == nil {
				ready <- pid
			}
		}})
		ended <- err
	}()
	select {
	case pid = <-ready:
	case err := <-ended: // both may be there
		select {
		case pid = <-ready:
			ended <- err
		default:
			t.Fatalf("ended before it was ready: %v", err)
		}
	}
	return pid, ended
}
