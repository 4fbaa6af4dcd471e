package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// NewServer is an MCP server to add to a file: a command or a URL.
type NewServer struct {
	Name    string
	Command []string
	URL     string
	Prefix  string
	Pass    []string          // variables of the worker that a command gets
	Set     map[string]string // variables of a command
	Headers map[string]string // of a URL
}

// Add adds a server to the file at path, as the first of the list mcp, and leaves
// everything else as it is written. It creates the file, and its directory, where
// there is none; only their owner may read them. The result is read as a worker
// does before it replaces the file: a server that cannot be used is an error, and
// changes nothing.
func Add(path string, s NewServer, lookup Lookup) error {
	old, err := os.ReadFile(path)
	mode := os.FileMode(0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("add the MCP server: %w", err)
		}
	case err != nil:
		return fmt.Errorf("add the MCP server: %w", err)
	default:
		if info, err := os.Stat(path); err == nil {
			mode = info.Mode().Perm()
		}
	}
	text, err := insert(string(old), s)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := parse(path, []byte(text), lookup); err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, []byte(text), mode); err != nil {
		return fmt.Errorf("add the MCP server: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return errors.Join(fmt.Errorf("add the MCP server: %w", err), os.Remove(next))
	}
	return nil
}

// insert returns the text of a file with a server added.
func insert(text string, s NewServer) (string, error) {
	lines := strings.SplitAfter(text, "\n")
	head := regexp.MustCompile(`^["']?mcp["']?\s*:\s*(.*?)\s*(#.*)?\r?\n?$`)
	for i, line := range lines {
		m := head.FindStringSubmatch(line)
		switch {
		case m == nil:
			continue
		case m[1] == "[]" || m[1] == "null" || m[1] == "~":
			return strings.Join(lines[:i], "") + "mcp:\n" + s.entry("  ") + strings.Join(lines[i+1:], ""), nil
		case m[1] != "":
			return "", fmt.Errorf("the list mcp is written on one line: add this by hand\n%s", s.entry("  "))
		}
		indent := "  "
		for _, next := range lines[i+1:] {
			if item := strings.TrimLeft(next, " "); strings.HasPrefix(item, "-") {
				indent = next[:len(next)-len(item)]
				break
			}
		}
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		return strings.Join(lines[:i], "") + line + s.entry(indent) + strings.Join(lines[i+1:], ""), nil
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + "mcp:\n" + s.entry("  "), nil
}

// entry returns the server as an entry of the list; its values are JSON, which is
// YAML, too.
func (s NewServer) entry(indent string) string {
	var out strings.Builder
	field := func(name, value string) {
		lead := indent + "  "
		if out.Len() == 0 {
			lead = indent + "- "
		}
		fmt.Fprintf(&out, "%s%s: %s\n", lead, name, value)
	}
	field("name", quoted(s.Name))
	if len(s.Command) > 0 {
		field("command", quoted(s.Command))
	}
	if s.URL != "" {
		field("url", quoted(s.URL))
	}
	if s.Prefix != "" {
		field("prefix", quoted(s.Prefix))
	}
	var env []string
	if len(s.Pass) > 0 {
		env = append(env, "pass: "+quoted(s.Pass))
	}
	if len(s.Set) > 0 {
		env = append(env, "set: "+pairs(s.Set))
	}
	if len(env) > 0 {
		field("env", "{"+strings.Join(env, ", ")+"}")
	}
	if len(s.Headers) > 0 {
		field("headers", pairs(s.Headers))
	}
	return out.String()
}

// pairs returns a map in one line, sorted by name.
func pairs(all map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, quoted(name)+": "+quoted(all[name]))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func quoted(v any) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // of texts and lists of them
		return `""`
	}
	return strings.TrimSpace(out.String())
}
