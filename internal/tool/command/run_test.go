package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/command"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

func TestWhatAProgramPrints(t *testing.T) {
	for _, c := range []struct {
		name   string
		items  []command.Item
		config command.Config
		want   string
	}{
		{"the whole output is the result", self(t, "print", text("a\nb")), command.Config{}, "a\nb"},
		{"garbage is repaired", self(t, "garbage"), command.Config{}, "a\uFFFD\x00\x1b[31mb\uFFFD"},
		{"a program that prints nothing is reported so", self(t, "print", text("")), command.Config{}, "succeeded and printed nothing)"},
		{"JSON is brought to one line", self(t, "print", text(` {"a": 1,
			"b": [] } `)), command.Config{Stdout: "json"}, `{"a":1,"b":[]}`},
		{"the environment is what is allowed", self(t, "environment"), command.Config{Env: command.Env{Pass: []string{"COMMAND_TEST_SHOWN"}, Set: map[string]string{"FIXED": "a b"}}},
			"COMMAND_TEST_SHOWN=yes\nFIXED=a b\nPWD="},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("COMMAND_TEST_SHOWN", "yes")
			t.Setenv("COMMAND_TEST_SECRET", "hidden")
			c.config.Command = c.items
			got, err := tooltest.Run(t, made(t, events.ToolSpec{}, c.config), `{}`)
			if err != nil || !strings.Contains(got, c.want) || strings.Contains(got, "hidden") {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
	t.Run("a result of 20 MB is whole, from arguments of 20 MB", func(t *testing.T) {
		it := made(t, events.ToolSpec{Schema: schema("v")}, command.Config{Command: self(t, "stdin"), Stdin: "json"})
		args := `{"v":"` + strings.Repeat("x", 20<<20) + `"}`
		if got, err := tooltest.Run(t, it, args); err != nil || got != args+"\n" {
			t.Fatal(len(got), err)
		}
	})
	t.Run("arguments that a program does not read are no failure", func(t *testing.T) {
		it := made(t, events.ToolSpec{Schema: schema("v")}, command.Config{Command: self(t, "print", text("done")), Stdin: "json"})
		if got, err := tooltest.Run(t, it, `{"v":"`+strings.Repeat("x", 5<<20)+`"}`); err != nil || got != "done" {
			t.Fatal(got, err)
		}
	})
	t.Run("JSON is data, too", func(t *testing.T) {
		it := made(t, events.ToolSpec{Output: json.RawMessage(`{}`)}, command.Config{Command: self(t, "print", text(`[1]`))})
		got, err := it.Run(t.Context(), tool.Input{Arguments: json.RawMessage(`{}`)})
		if err != nil || string(got.Structured) != "[1]" {
			t.Fatal(got, err)
		}
	})
	t.Run("lines are shown as they come, and together are the result", func(t *testing.T) {
		var shown []string
		long := strings.Repeat("é", 9000)
		it := made(t, events.ToolSpec{}, command.Config{Command: self(t, "print", text("one\ntwo\n"+long))})
		got, err := it.Run(t.Context(), tool.Input{Arguments: json.RawMessage(`{}`), Output: func(s string) { shown = append(shown, s) }})
		if err != nil || len(shown) == 0 || strings.Join(shown, "") != got.Content || strings.ContainsRune(got.Content, '\uFFFD') {
			t.Fatalf("%q %v", shown, err)
		}
	})
	t.Run("the program runs in its directory", func(t *testing.T) {
		base := t.TempDir()
		if err := os.Mkdir(filepath.Join(base, "d"), 0o755); err != nil {
			t.Fatal(err)
		}
		it, err := command.New(events.ToolSpec{Name: "it"}, quick(t, command.Config{Command: self(t, "directory"), Dir: "d"}), base)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tooltest.Run(t, it, `{}`); err != nil || filepath.Base(got) != "d" {
			t.Fatal(got, err)
		}
		if err := os.Remove(filepath.Join(base, "d")); err != nil {
			t.Fatal(err)
		}
		_, err = tooltest.Run(t, it, `{}`)
		wantFailure(t, err, "cannot be started")
	})
}

func TestHowAProgramFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		items []command.Item
		spec  events.ToolSpec
		want  string
	}{
		{"another exit code is a failure with what it said", self(t, "fail", text("no such \xff thing\n")), events.ToolSpec{}, "ended with exit status 3. Its stderr: no such \uFFFD thing"},
		{"without a word on stderr it is what it printed", self(t, "fail", text("")), events.ToolSpec{}, "It printed last: half a result"},
		{"a program that kills itself is reported as killed", self(t, "kill itself"), events.ToolSpec{}, "ended with signal: killed"},
		{"JSON was promised and is not there", self(t, "print", text("oops")), events.ToolSpec{Output: json.RawMessage(`{}`)}, "did not print one JSON value"},
		{"two values of JSON are not one", self(t, "print", text("{}{}")), events.ToolSpec{Output: json.RawMessage(`{}`)}, "did not print one JSON value"},
		{"nothing is no JSON", self(t, "print", text("")), events.ToolSpec{Output: json.RawMessage(`{}`)}, "It printed: nothing"},
		{"one byte too much ends it", self(t, "print", text("12345")), events.ToolSpec{ResultBytes: 4}, "printed more than 4 bytes"},
		{"what may work later fails a tool that runs once", self(t, "later"), events.ToolSpec{}, "exit status 75"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := tooltest.Run(t, made(t, c.spec, command.Config{Command: c.items}), `{}`)
			wantFailure(t, err, c.want)
		})
	}
	t.Run("exactly as much as is allowed is fine", func(t *testing.T) {
		got, err := tooltest.Run(t, made(t, events.ToolSpec{ResultBytes: 5}, command.Config{Command: self(t, "print", text("12345"))}), `{}`)
		if err != nil || got != "12345" {
			t.Fatal(got, err)
		}
	})
	t.Run("exit code 75 is tried again where that does no harm", func(t *testing.T) {
		_, err := tooltest.Run(t, made(t, events.ToolSpec{Effect: events.EffectPure}, command.Config{Command: self(t, "later")}), `{}`)
		if _, retry := tool.RetryAfter(err); !retry {
			t.Fatal(err)
		}
	})
	t.Run("a program that is gone is a failure", func(t *testing.T) {
		base := t.TempDir()
		program := filepath.Join(base, "p")
		if err := os.WriteFile(program, []byte("#!/bin/true\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		it, err := command.New(events.ToolSpec{Name: "it"}, command.Config{Command: []command.Item{text("./p")}}, base)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(program); err != nil {
			t.Fatal(err)
		}
		_, err = tooltest.Run(t, it, `{}`)
		wantFailure(t, err, "cannot be started")
	})
}

func TestAGigabyteCostsLittle(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	t.Run("on stdout the program is ended, though it ignores what ends others", func(t *testing.T) {
		before := heap()
		_, err := tooltest.Run(t, made(t, events.ToolSpec{ResultBytes: 1 << 20}, command.Config{Command: self(t, "gigabyte")}), `{}`)
		wantFailure(t, err, "printed more than 1048576 bytes and was terminated")
		if used := heap() - before; used > 16<<20 {
			t.Fatalf("%d bytes were allocated", used)
		}
	})
	t.Run("on stderr only the end is kept", func(t *testing.T) {
		before := heap()
		got, err := tooltest.Run(t, made(t, events.ToolSpec{}, command.Config{Command: self(t, "gigabyte of complaints")}), `{}`)
		if err != nil || !strings.Contains(got, "printed on stderr: …xxx") || len(got) > 5000 {
			t.Fatal(len(got), err)
		}
		if used := heap() - before; used > 16<<20 {
			t.Fatalf("%d bytes were allocated", used)
		}
	})
}

// gone waits until a process is no more, or is dead and only not yet fetched.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err == nil && bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
		runtime.Gosched()
	}
}

func TestACallEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		items []command.Item
	}{
		{"when a program is cancelled", self(t, "stay")},
		{"when a program ignores the cancel", self(t, "ignore")},
		{"when a child ignores the cancel", self(t, "family", text("stay"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			pid, done := startReady(ctx, t, made(t, events.ToolSpec{}, command.Config{Command: c.items}))
			cancel()
			if err := <-done; tool.StatusOf(err) != events.StatusCancelled {
				t.Fatal(err)
			}
			gone(t, pid)
		})
	}
	t.Run("when its time is over, and says so with what was printed", func(t *testing.T) {
		it := made(t, events.ToolSpec{TimeoutMS: 1500}, command.Config{Command: self(t, "ignore")})
		_, err := tooltest.Run(t, it, `{}`)
		if tool.StatusOf(err) != events.StatusTimeout || !strings.Contains(err.Error(), "timed out and was terminated") || !strings.Contains(err.Error(), "ready") {
			t.Fatal(err)
		}
	})
	t.Run("when the program has gone and a child holds the output open", func(t *testing.T) {
		var pid int
		it := made(t, events.ToolSpec{}, command.Config{Command: self(t, "family", text("go")), Grace: "3s"}) // the child has to start within it
		p, done := startReady(t.Context(), t, it)
		pid = p
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		gone(t, pid)
	})
	t.Run("before it begins when it is cancelled already", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := made(t, events.ToolSpec{}, command.Config{Command: self(t, "stay")}).Run(ctx, tool.Input{})
		if tool.StatusOf(err) != events.StatusCancelled {
			t.Fatal(err)
		}
	})
}
