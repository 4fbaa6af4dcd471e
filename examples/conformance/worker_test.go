package conformance_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/conformance/llmworker"
	"github.com/parleybus/parley/internal/conformance/toolworker"
)

// language is a worker that the checklist is applied to.
type language struct {
	name string
	conformance.Program
	toolworker.Tool
}

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
	all := []language{{"Go", conformance.Program{Command: []string{self}, Env: []string{asProgram + "=tool-worker"}},
		toolworker.Tool{Name: "echo", Arguments: `{"text":"again"}`, Failing: `{"text":7}`, Answer: "again", Besides: []string{"read_result"}}}}
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

// unitConverter is the tool of the example in JavaScript.
func unitConverter() toolworker.Tool {
	return toolworker.Tool{Name: "convert_units", Arguments: `{"value":2,"from":"km","to":"m"}`, Failing: `{"value":2,"from":"km","to":"stone"}`, Answer: "2000 m"}
}

// parrot is the model of the example in JavaScript.
func parrot() llmworker.Model { return llmworker.Model{Route: "parrot", Model: "parrot/one"} }

func javascript(t *testing.T) (language, error) {
	t.Helper()
	l := language{name: "JavaScript", Tool: unitConverter()}
	var err error
	l.Command, err = script(t, "worker.mjs")
	return l, err
}

// script returns the command that runs an example in JavaScript, after the changes, which
// replace the first text of each pair by the second.
func script(t *testing.T, name string, changes ...string) ([]string, error) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, err
	}
	modules := os.Getenv("PARLEY_NODE_MODULES")
	if modules == "" {
		modules = filepath.Join("..", "javascript", "node_modules")
	}
	if _, err := os.Stat(filepath.Join(modules, "@nats-io", "jetstream")); err != nil {
		return nil, err
	}
	if modules, err = filepath.Abs(modules); err != nil {
		return nil, err
	}
	source, err := os.ReadFile(filepath.Join("..", "javascript", name))
	if err != nil {
		return nil, err
	}
	text := string(source)
	for i := 0; i+1 < len(changes); i += 2 {
		if strings.Count(text, changes[i]) != 1 {
			t.Fatalf("%s has %q %d times, want once", name, changes[i], strings.Count(text, changes[i]))
		}
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	// Node looks for modules next to the program: copy the program there.
	dir := t.TempDir()
	program := filepath.Join(dir, name)
	// Garbage is collected all the time, so that nothing works only because it was not.
	command := []string{node, "--expose-gc", "--import", "data:text/javascript,setInterval(gc,20).unref()", program}
	return command, errors.Join(os.Symlink(modules, filepath.Join(dir, "node_modules")), os.WriteFile(program, []byte(text), 0o600))
}

func python(t *testing.T) (language, error) {
	t.Helper()
	l := language{name: "Python", Tool: toolworker.Tool{Name: "word_count", Arguments: `{"text":"to be or not to be"}`, Failing: `{"text":7}`, Answer: "6 words"}}
	python, err := exec.LookPath("python3")
	if err != nil {
		return l, err
	}
	l.Command = []string{python, filepath.Join("..", "python", "worker.py")}
	if err := exec.CommandContext(t.Context(), python, "-c", "import nats").Run(); err == nil {
		return l, nil
	}
	t.Log("nats-py is not installed: the Python worker runs on a stand-in of the functions that it uses")
	standin, err := filepath.Abs(filepath.Join("testdata", "standin"))
	l.Env = []string{"PYTHONPATH=" + standin, "PYTHONDONTWRITEBYTECODE=1"}
	return l, err
}
