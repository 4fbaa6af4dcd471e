package command_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/command"
)

func TestWhatIsRefusedInADescription(t *testing.T) {
	base := t.TempDir()
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	echo := []command.Item{text("echo"), {Arg: "v"}}
	for _, c := range []struct {
		name   string
		config command.Config
		field  string
	}{
		{"no command", command.Config{Stdin: "json"}, "exec.command"},
		{"a program that the call chooses", command.Config{Command: []command.Item{{Arg: "v"}}}, "exec.command[0]"},
		{"a program that does not exist", command.Config{Command: []command.Item{text("no-such-program"), {Arg: "v"}}}, "exec.command[0]"},
		{"a program that cannot be run", command.Config{Command: []command.Item{text("./file"), {Arg: "v"}}}, "exec.command[0]"},
		{"an argument that the input does not have", command.Config{Command: append(echo[:2:2], command.Item{Arg: "w"})}, "exec.command[2].arg"},
		{"a property that goes nowhere", command.Config{Command: echo[:1]}, "input.properties.v"},
		{"a flag without a value", command.Config{Command: append(echo[:2:2], command.Item{Flag: "-x"})}, "exec.command[2]"},
		{"flag and prefix", command.Config{Command: []command.Item{text("echo"), {Arg: "v", Flag: "-x", Prefix: "x="}}}, "exec.command[1]"},
		{"arg and json", command.Config{Command: []command.Item{text("echo"), {Arg: "v", JSON: true}}}, "exec.command[1]"},
		{"a path of all arguments", command.Config{Command: []command.Item{text("echo"), {JSON: true, Path: true}}}, "exec.command[1]"},
		{"a zero byte", command.Config{Command: append(echo[:2:2], text("a\x00b"))}, "exec.command[2]"},
		{"an unknown stdin", command.Config{Command: echo, Stdin: "xml"}, "exec.stdin"},
		{"an unknown stdout", command.Config{Command: echo, Stdout: "xml"}, "exec.stdout"},
		{"a grace that is too long", command.Config{Command: echo, Grace: "1h"}, "exec.grace"},
		{"a grace without a unit", command.Config{Command: echo, Grace: "5"}, "exec.grace"},
		{"a directory that does not exist", command.Config{Command: echo, Dir: "none"}, "exec.dir"},
		{"a directory that is a file", command.Config{Command: echo, Dir: "file"}, "exec.dir"},
		{"a directory upwards", command.Config{Command: echo, Dir: "../.."}, "exec.dir"},
		{"a directory upwards through a link", command.Config{Command: echo, Dir: "link"}, "exec.dir"},
		{"a variable with a strange name", command.Config{Command: echo, Env: command.Env{Pass: []string{"A=B"}}}, "exec.env"},
		{"a fixed variable with a strange name", command.Config{Command: echo, Env: command.Env{Set: map[string]string{"A B": ""}}}, "exec.env"},
		{"a fixed variable with a zero byte", command.Config{Command: echo, Env: command.Env{Set: map[string]string{"A": "\x00"}}}, "exec.env"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := command.New(events.ToolSpec{Name: "it", Schema: schema("v")}, c.config, base)
			p, ok := errors.AsType[tool.Problems](err)
			if !ok || len(p) != 1 || p[0].Field != c.field {
				t.Fatalf("got %v, want one problem at %s", err, c.field)
			}
		})
	}
	t.Run("an absolute directory may be anywhere", func(t *testing.T) {
		if _, err := command.New(events.ToolSpec{Name: "it", Schema: schema("v")}, command.Config{Command: echo, Dir: outside}, base); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a program is not looked up in the worker's current directory", func(t *testing.T) {
		t.Setenv("PATH", ".")
		t.Chdir(base)
		if err := os.WriteFile(filepath.Join(base, "tool"), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := command.New(events.ToolSpec{Name: "it"}, command.Config{Command: []command.Item{text("tool")}}, base); err == nil {
			t.Fatal("was found")
		}
		if _, err := command.New(events.ToolSpec{Name: "it"}, command.Config{Command: []command.Item{text("./tool")}}, base); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("everything that is wrong is reported at once", func(t *testing.T) {
		_, err := command.New(events.ToolSpec{Name: "it", Schema: schema("v")}, command.Config{Stdin: "x", Stdout: "y", Dir: "none"}, base)
		if p, ok := errors.AsType[tool.Problems](err); !ok || len(p) != 5 {
			t.Fatal(err)
		}
	})
}
