// Package manifest reads tools.yaml: commands and HTTP endpoints that become
// tools, and the MCP servers whose tools are to be served. docs/tools.md
// describes the file.
//
// A file with an error yields nothing. The error lists every problem, each with
// file and line.
package manifest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/command"
	"github.com/parleybus/parley/internal/tool/web"
)

// The bounds of a file.
const (
	MaxFile   = 256 << 10 // bytes
	maxTools  = 500       // entries of each list
	maxResult = 256 << 20 // bytes, of result_bytes
	maxLine   = 16 << 10  // bytes
	maxNested = 100       // lists and maps in one another
)

// Manifest is the content of a file.
type Manifest struct {
	// MCP are the servers, in the order of the file.
	MCP   []MCP
	tools []tool.Tool
	// Secrets are values that nothing may show: those of headers and parameters that
	// come from the environment, and of headers and variables whose name says so.
	Secrets []string
}

// Tools returns the commands and endpoints, in the order of the file.
func (m *Manifest) Tools() []tool.Tool { return m.tools }

// MCP is an MCP server: a program, or an address.
type MCP struct {
	Name string
	// Command is the program and its arguments, as for os/exec; nil if there is
	// a URL. It runs in Dir, the file's directory, with Env in addition to the
	// few variables that every server gets.
	Command []string
	Dir     string
	Env     []string // NAME=value
	// URL is the address of a server with streamable HTTP. Headers are sent
	// with each request.
	URL     string
	Headers map[string]string
	// ClientID, ClientSecret and Scopes are for a login at a URL; all may be empty.
	ClientID, ClientSecret string
	Scopes                 []string
	// Prefix is prepended to the names of the server's tools.
	Prefix string
	// StartTimeout bounds a start, Timeout a call; 0 for the default.
	StartTimeout, Timeout time.Duration
}

// file is the state while a file is parsed.
type file struct {
	name, dir string
	problems  []problem
	lines     map[string]int // of the names so far
	lookup    Lookup
	secrets   []string
}

// Lookup looks up a variable of the environment, as [os.LookupEnv] does.
type Lookup func(name string) (value string, found bool)

type problem struct {
	line int
	text string
}

// Load reads a file. It resolves programs, directories and environment
// variables at once, and relative paths from the file's directory. lookup looks up
// the variables that ${NAME} names.
func Load(path string, lookup Lookup) (*Manifest, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the tools: %w", err)
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the tools: %w", err)
	}
	return parse(path, raw, lookup)
}

func parse(path string, raw []byte, lookup Lookup) (*Manifest, error) {
	f := &file{name: path, dir: filepath.Dir(path), lines: map[string]int{}, lookup: lookup}
	m := &Manifest{}
	f.read(raw, m)
	if err := f.err(); err != nil {
		return nil, err
	}
	m.Secrets = f.secrets
	return m, nil
}

// add adds a problem; an error of the YAML library is cut to one line.
func (f *file) add(line int, format string, args ...any) {
	text, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n")
	f.problems = append(f.problems, problem{line: line, text: text})
}

// err lists the problems, one a line.
func (f *file) err() error {
	var all []error
	for _, p := range f.problems {
		if p.line > 0 {
			all = append(all, fmt.Errorf("%s:%d: %s", f.name, p.line, p.text))
		} else {
			all = append(all, fmt.Errorf("%s: %s", f.name, p.text))
		}
	}
	return errors.Join(all...)
}

// entry is one element of the list tools.
type entry struct {
	Name        string          `yaml:"name"`
	Description string          `yaml:"description"`
	Input       any             `yaml:"input"`
	Output      any             `yaml:"output"`
	Effect      events.Effect   `yaml:"effect"`
	Timeout     string          `yaml:"timeout"`
	Concurrency int             `yaml:"concurrency"`
	ResultBytes int64           `yaml:"result_bytes"`
	Exec        *command.Config `yaml:"exec"`
	HTTP        *web.Config     `yaml:"http"`
}

// server is one element of the list mcp.
type server struct {
	Name    string            `yaml:"name"`
	Command []string          `yaml:"command"`
	URL     string            `yaml:"url"`
	Prefix  string            `yaml:"prefix"`
	Start   string            `yaml:"start_timeout"`
	Timeout string            `yaml:"timeout"`
	Env     command.Env       `yaml:"env"`
	Headers map[string]string `yaml:"headers"`
	OAuth   *client           `yaml:"oauth"`
}

// client is a client that is configured at an authorization server.
type client struct {
	ID     string   `yaml:"client_id"`
	Env    string   `yaml:"client_secret_env"`
	File   string   `yaml:"client_secret_file"`
	Scopes []string `yaml:"scopes"`
}

// named reports whether a name is valid for a tool.
func named(name string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(name)
}
