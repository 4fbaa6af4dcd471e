package command

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/tool"
)

// check finds the errors in a description.
func (t *command) check(c Config, p *tool.Problems) {
	if c.Stdin != "" && c.Stdin != "json" && c.Stdin != "none" {
		p.Add("exec.stdin", "stdin is %q: give json or none", c.Stdin)
	}
	if c.Stdout != "" && c.Stdout != "json" && c.Stdout != "text" {
		p.Add("exec.stdout", "stdout is %q: give text or json", c.Stdout)
	}
	if c.Stdout == "text" && len(t.spec.Output) > 0 {
		p.Add("exec.stdout", "a tool with an output schema prints JSON: leave stdout out, or output")
	}
	if c.Grace != "" {
		grace, err := time.ParseDuration(c.Grace)
		if err != nil || grace <= 0 || grace > longestGrace {
			p.Add("exec.grace", "grace is %q: give a duration above 0 and up to %s, such as 5s", c.Grace, longestGrace)
		}
		t.grace = grace
	}
	known := tool.Parameters(t.spec.Schema)
	used := map[string]bool{}
	whole := c.Stdin == "json"
	for n, i := range c.Command {
		at := fmt.Sprintf("exec.command[%d]", n)
		_, exists := known[i.Arg]
		switch {
		case i.wrong != "":
			p.Add(at, "%s", i.wrong)
		case strings.ContainsRune(i.Text+i.Flag+i.Prefix, 0):
			p.Add(at, "it contains a NUL byte, which cannot be passed to a program")
		case n == 0 && (!i.fixed() || i.Text == ""):
			p.Add(at, "the first item is the program: a fixed text, never a value of the call")
		case i.JSON && i.Arg != "":
			p.Add(at, "arg and json exclude each other: give one")
		case !i.fixed() && !i.JSON && i.Arg == "":
			p.Add(at, "it names no value: give arg or json")
		case i.JSON && (i.Path || i.Dash):
			p.Add(at, "path and dash are for arg, not for json")
		case i.Flag != "" && i.Prefix != "":
			p.Add(at, "flag and prefix exclude each other: give one")
		case i.Arg != "" && !exists:
			p.Add(at+".arg", "the input has no property %q", i.Arg)
		}
		used[i.Arg] = true
		whole = whole || i.JSON
	}
	if len(c.Command) == 0 {
		p.Add("exec.command", "there is no command: give a list of the program and its arguments")
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !used[name] && !whole {
			p.Add("input.properties."+name, "the program never gets %q: put {arg: %s} into the command, or give stdin: json", name, name)
		}
	}
}

// place resolves the program, the directory and the environment.
func (t *command) place(c Config, base string, p *tool.Problems) {
	var err error
	if t.dir, err = directory(base, c.Dir); err != nil {
		p.Add("exec.dir", "%v", err)
	}
	if t.env, err = c.Env.Resolve(); err != nil {
		p.Add("exec.env", "%v", err)
	}
	if len(c.Command) == 0 || c.Command[0].Text == "" {
		return
	}
	t.called, t.items = c.Command[0].Text, c.Command[1:]
	if t.program, err = program(base, t.called); err != nil {
		p.Add("exec.command[0]", "%v", err)
	}
}

// program returns the file to run.
func program(base, name string) (string, error) {
	file := name
	if strings.ContainsAny(name, `/`+string(filepath.Separator)) && !filepath.IsAbs(name) {
		file = filepath.Join(base, name)
	}
	found, err := exec.LookPath(file)
	if err != nil {
		return "", fmt.Errorf("the program cannot be run: %w; a name is looked up in the worker's PATH, a path with / begins at this file", err)
	}
	if ext := strings.ToLower(filepath.Ext(found)); runtime.GOOS == "windows" && (ext == ".bat" || ext == ".cmd") {
		return "", fmt.Errorf("%s is run by a shell, which reads arguments as code: name a program", found)
	}
	return filepath.Abs(found)
}

// directory resolves the working directory of a program. A relative one must be
// below base, also after resolving symbolic links.
func directory(base, dir string) (string, error) {
	root, err := filepath.Abs(base)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return "", fmt.Errorf("the base directory cannot be resolved: %w", err)
	}
	whole := dir
	if !filepath.IsAbs(dir) {
		whole = filepath.Join(root, dir)
	}
	found, err := filepath.EvalSymlinks(whole)
	if err != nil {
		return "", fmt.Errorf("dir must be a directory that exists: %w", err)
	}
	if info, err := os.Stat(found); err != nil || !info.IsDir() {
		return "", fmt.Errorf("dir must be a directory, and %s is none", found)
	}
	if below, err := filepath.Rel(root, found); !filepath.IsAbs(dir) && (err != nil || !filepath.IsLocal(below)) {
		return "", fmt.Errorf("dir leads out of this file's directory, to %s: write it as an absolute path if that is meant", found)
	}
	return found, nil
}

// Env is an environment.
type Env struct {
	// Pass are the names of the worker's variables that are passed on, if they
	// are set. Those of [secret.Own] are refused. The default is PATH, HOME, LANG, LC_ALL, TZ and TMPDIR, and on
	// Windows SystemRoot.
	Pass []string `yaml:"pass"`
	// Set are variables with fixed values; they override those of Pass.
	Set map[string]string `yaml:"set"`
}

// Resolve returns the environment as NAME=value, sorted. It is never nil.
func (e Env) Resolve() ([]string, error) {
	name := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	pass := e.Pass
	if pass == nil {
		pass = []string{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SystemRoot"}
	}
	all := map[string]string{}
	for _, n := range pass {
		if !name.MatchString(n) {
			return nil, fmt.Errorf("pass: %.100q is not a variable name: give letters, digits and _", n)
		}
		if secret.Own(n) {
			return nil, fmt.Errorf("pass: %s is for the worker itself: if the program is to have it, write set: {%s: \"${%s}\"}", n, n, n)
		}
		if value, ok := os.LookupEnv(n); ok {
			all[n] = value
		}
	}
	for n, value := range e.Set {
		if !name.MatchString(n) {
			return nil, fmt.Errorf("set: %.100q is not a variable name: give letters, digits and _", n)
		}
		if strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("set: the value of %s holds a zero byte", n)
		}
		all[n] = value
	}
	env := []string{}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		env = append(env, n+"="+all[n])
	}
	return env, nil
}
