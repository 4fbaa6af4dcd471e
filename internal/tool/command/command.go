// Package command makes programs available as tools. A program is started once
// for each call, never through a shell: its arguments are texts of the
// description and values of the call, one item each. The program's output is
// the result.
//
// Every call ends, whatever the program does: output is bounded, the program's
// process group is terminated at the end, on cancel and at the deadline, and a
// child that keeps the output open is not waited for. A process that leaves the
// group (setsid) is not terminated.
package command

import (
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const (
	// MaxOutput bounds a program's output, in bytes, if the spec's ResultBytes
	// is not set.
	MaxOutput = 32 << 20
	// Grace is the default time between SIGTERM and SIGKILL, and the time to
	// wait for output after the program has ended.
	Grace = 2 * time.Second
	// longestGrace bounds Config.Grace.
	longestGrace = time.Minute
)

// Config describes a program, as in tools.yaml.
type Config struct {
	// Command is the program and its arguments. The program is a fixed text: a
	// path (relative to the base directory) if it contains a /, else a name
	// that is looked up in the worker's PATH, once, by [New].
	Command []Item `yaml:"command"`
	// Stdin is "json" for the arguments as one JSON object, or "none" (the
	// default).
	Stdin string `yaml:"stdin"`
	// Stdout is "text", or "json" for a structured result. The default is json
	// if the spec has an output schema, else text.
	Stdout string `yaml:"stdout"`
	// Dir is the program's working directory: absolute, or below the base
	// directory, which is the default.
	Dir string `yaml:"dir"`
	// Env is the part of the worker's environment that the program gets, in
	// addition to PARLEY_CALL, PARLEY_CONVERSATION, PARLEY_TURN and PWD.
	Env Env `yaml:"env"`
	// Grace is a duration such as 5s, at most 1m; the default is [Grace].
	Grace string `yaml:"grace"`
}

// Item is one argument of a program: a fixed text, or a placeholder for a
// value. A missing or null value omits the item, an array repeats it.
type Item struct {
	Text string `yaml:"-"` // a fixed text, if nothing else is set
	// Arg names the argument of the call.
	Arg string `yaml:"arg"`
	// JSON inserts all arguments as one JSON object.
	JSON bool `yaml:"json"`
	// Flag is inserted before the value, as a separate item. For a boolean only
	// the flag is inserted, if it is true.
	Flag string `yaml:"flag"`
	// Prefix is prepended to the value, in the same item.
	Prefix string `yaml:"prefix"`
	// Dash allows a value that starts with "-". Otherwise such a value is
	// refused, unless it follows a fixed "--" or a prefix.
	Dash bool `yaml:"dash"`
	// Path marks the value as a path below Dir. A path that leaves it, by ..,
	// as an absolute path or through a symbolic link, is refused.
	Path bool `yaml:"path"`

	wrong string // the wrong YAML value
}

// UnmarshalYAML implements goccy's yaml.InterfaceUnmarshaler.
func (i *Item) UnmarshalYAML(decode func(any) error) error {
	var it any
	if err := decode(&it); err != nil {
		return err
	}
	switch it := it.(type) {
	case string:
		i.Text = it
		return nil
	case map[string]any:
		type item Item // without this method
		return decode((*item)(i))
	}
	i.wrong = "it is not a text: write it in quotes"
	return nil
}

// fixed reports whether the item is only its text.
func (i Item) fixed() bool {
	return i.Arg == "" && !i.JSON && i.Flag == "" && i.Prefix == "" && !i.Dash && !i.Path
}

// command is the tool.
type command struct {
	spec    events.ToolSpec
	items   []Item // without the program
	called  string // the program as in the description: its argument 0
	program string // absolute
	dir     string // absolute, without symbolic links
	env     []string
	json    bool // stdout is
	stdin   bool // gets the arguments
	limit   int  // bytes of output
	grace   time.Duration
}

// New returns a tool. Relative paths in c are relative to base, a directory.
// The error is [tool.Problems], with fields below "exec".
func New(spec events.ToolSpec, c Config, base string) (tool.Tool, error) {
	var p tool.Problems
	t := &command{spec: spec, limit: MaxOutput, grace: Grace, stdin: c.Stdin == "json"}
	if spec.ResultBytes > 0 {
		t.limit = int(spec.ResultBytes)
	}
	t.json = c.Stdout == "json" || c.Stdout == "" && len(spec.Output) > 0
	t.check(c, &p)
	t.place(c, base, &p)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Spec implements [tool.Tool].
func (t *command) Spec() events.ToolSpec { return t.spec }
