// Package command makes tools of programs. A program is started once for each
// call, never through a shell: its arguments are texts of the description and
// values of the call, one item each. What the program prints is the result.
//
// Whatever the program does, a call comes to an end: output is bounded, its
// process group is ended with it, on cancel and at the deadline, and a child
// that keeps the output open is not waited for. A process that leaves the group
// (setsid) gets away.
package command

import (
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const (
	// MaxOutput bounds what a program may print, in bytes, where the spec's
	// ResultBytes does not.
	MaxOutput = 32 << 20
	// Grace is how long processes have between SIGTERM and SIGKILL, and how long
	// output is awaited after the program has ended, where Config does not say.
	Grace = 2 * time.Second
	// longestGrace bounds Config.Grace.
	longestGrace = time.Minute
)

// Config describes a program, as tools.yaml writes it.
type Config struct {
	// Command is the program and its arguments. The program is a fixed text: a
	// path (relative to the base directory) if it holds a /, else a name that is
	// looked up in the worker's PATH, once, by [New].
	Command []Item `yaml:"command"`
	// Stdin is "json" for the arguments as one JSON object, or "none" (the
	// default).
	Stdin string `yaml:"stdin"`
	// Stdout is "text", or "json" for a result that is data, too. The default is
	// json if the spec has an output schema, else text.
	Stdout string `yaml:"stdout"`
	// Dir is where the program runs: absolute, or below the base directory, which
	// is the default.
	Dir string `yaml:"dir"`
	// Env is all that the program sees of the worker's environment, besides
	// PARLEY_CALL, PARLEY_CONVERSATION, PARLEY_TURN and PWD.
	Env Env `yaml:"env"`
	// Grace is a duration such as 5s, at most 1m; the default is [Grace].
	Grace string `yaml:"grace"`
}

// Item is one argument of a program: a fixed text, or where a value goes. A
// value that is missing or null leaves the item out, an array repeats it.
type Item struct {
	Text string `yaml:"-"` // fixed, if nothing else is set
	// Arg names the argument of the call.
	Arg string `yaml:"arg"`
	// JSON puts all arguments as one JSON object.
	JSON bool `yaml:"json"`
	// Flag goes before the value, as an item of its own. Of a boolean only the
	// flag is given, for true, and nothing for false.
	Flag string `yaml:"flag"`
	// Prefix goes right before the value, in the same item.
	Prefix string `yaml:"prefix"`
	// Dash lets a value begin with "-". Otherwise such a value is refused, unless
	// it comes behind a fixed "--" or a prefix.
	Dash bool `yaml:"dash"`
	// Path says that the value is a path below Dir. One that leads out of it, by
	// .., from the root or through a symbolic link, is refused.
	Path bool `yaml:"path"`

	wrong string // what stood there instead
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
	called  string // the program as it was written: its argument 0
	program string // absolute
	dir     string // absolute, without symbolic links
	env     []string
	json    bool // stdout is
	stdin   bool // gets the arguments
	limit   int  // bytes of output
	grace   time.Duration
}

// New makes a tool. Relative paths in c begin at base, a directory. The error
// is [tool.Problems], with fields below "exec".
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
