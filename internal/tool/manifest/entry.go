package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/command"
	"github.com/parleybus/parley/internal/tool/web"
)

// longestTimeout bounds timeout.
const longestTimeout = 24 * time.Hour

// tool parses an entry of tools.
func (f *file) tool(n ast.Node, m *Manifest) {
	var e entry
	if !f.decode(n, &e) {
		return
	}
	var p tool.Problems
	f.once(n, "tool", e.Name, &p)
	spec := e.spec(&p)
	if (e.Exec == nil) == (e.HTTP == nil) {
		p.Add("name", "give one of exec and http")
	}
	var t tool.Tool
	var err error
	switch {
	case len(p) > 0 && spec.Schema == nil: // without arguments all later checks would fail
	case e.Exec != nil:
		e.Exec.Env.Set = f.expandTexts("exec.env.set.", e.Exec.Env.Set, false, &p)
		f.passed(e.Exec.Env)
		t, err = command.New(spec, *e.Exec, f.dir)
	case e.HTTP != nil:
		f.expandValues("http.headers.", e.HTTP.Headers, &p)
		f.expandValues("http.query.", e.HTTP.Query, &p)
		t, err = web.New(spec, *e.HTTP)
	}
	if more, ok := errors.AsType[tool.Problems](err); ok {
		p = append(p, more...)
	}
	for _, one := range p {
		f.add(lineOf(n, one.Field), "tool %.64q: %s", e.Name, one.Text)
	}
	m.tools = append(m.tools, t)
}

// once checks that a name is valid and unique.
func (f *file) once(n ast.Node, kind, name string, p *tool.Problems) {
	line := lineOf(n, "name")
	switch first := f.lines[kind+" "+name]; {
	case !named(name):
		p.Add("name", "the name must be 1 to 64 letters, digits, _ or -")
	case first > 0:
		p.Add("name", "the name is already used in line %d: rename one of the two", first)
	}
	f.lines[kind+" "+name] = line
}

// spec checks the common fields of all tools.
func (e *entry) spec(p *tool.Problems) events.ToolSpec {
	spec := events.ToolSpec{Name: e.Name, Description: e.Description, Effect: e.Effect, Concurrency: e.Concurrency, ResultBytes: e.ResultBytes}
	if strings.TrimSpace(e.Description) == "" {
		p.Add("name", "it has no description: say what it does, for the model")
	}
	if e.Effect != "" && !e.Effect.Known() {
		p.Add("effect", "effect %.50q: give pure, idempotent or once (the default)", e.Effect)
	}
	spec.TimeoutMS = duration("timeout", e.Timeout, p).Milliseconds()
	if e.Concurrency < 0 || e.Concurrency > 10_000 {
		p.Add("concurrency", "concurrency is %d: give 1 to 10000, or leave it out", e.Concurrency)
	}
	if e.ResultBytes < 0 || e.ResultBytes > maxResult {
		p.Add("result_bytes", "result_bytes is %d: give 1 to %d, or leave it out", e.ResultBytes, maxResult)
		spec.ResultBytes = 0
	}
	spec.Schema = schema(e.Name, "input", e.Input, p)
	if e.Output != nil {
		spec.Output = schema(e.Name, "output", e.Output, p)
	}
	return spec
}

// duration parses a duration; 0 if there is none.
func duration(field, text string, p *tool.Problems) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond || d > longestTimeout {
		p.Add(field, "%s is %.50q: give a duration with its unit, such as 500ms, 30s or 2m, up to %s", field, text, longestTimeout)
	}
	return d
}

// schema converts a JSON Schema from YAML to JSON; nil if it cannot be used.
func schema(name, field string, v any, p *tool.Problems) json.RawMessage {
	if v == nil { // no arguments
		return json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)
	}
	object, ok := v.(map[string]any)
	if !ok {
		p.Add(field, "%s must be a JSON Schema, a map", field)
		return nil
	}
	if field == "input" && object["type"] != "object" {
		p.Add(field, "input must have type: object, as arguments are an object")
		return nil
	}
	raw, err := json.Marshal(object)
	if err != nil {
		p.Add(field, "%s holds what JSON cannot: %v", field, err)
		return nil
	}
	var check tool.Validator
	if err := check.Check(events.ToolSpec{Name: name, Schema: raw}); err != nil {
		// The library's text has several lines.
		p.Add(field, "%s: %s", field, strings.Join(strings.Fields(err.Error()), " "))
		return nil
	}
	return raw
}

// server parses an entry of mcp.
func (f *file) server(n ast.Node, m *Manifest) {
	var s server
	if !f.decode(n, &s) {
		return
	}
	var p tool.Problems
	f.once(n, "mcp", s.Name, &p)
	it := MCP{Name: s.Name, Command: s.Command, URL: s.URL, Prefix: s.Prefix,
		StartTimeout: duration("start_timeout", s.Start, &p), Timeout: duration("timeout", s.Timeout, &p)}
	switch {
	case (len(s.Command) == 0) == (s.URL == ""):
		p.Add("name", "give one of command and url")
	case s.URL != "":
		u, err := url.Parse(s.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			p.Add("url", "the url must be a whole http or https address without a password")
		}
		if s.Env.Pass != nil || s.Env.Set != nil {
			p.Add("env", "env is for a command: give headers")
		}
		it.Headers = f.expandTexts("headers.", s.Headers, true, &p)
		for name, value := range it.Headers {
			if strings.ContainsAny(name+value, "\r\n\x00") {
				p.Add("headers", "the header %.100q holds a line break", name)
			}
		}
		if s.OAuth != nil {
			f.client(s.OAuth, &it, &p)
		}
	default:
		if len(s.Headers) > 0 {
			p.Add("headers", "headers are for a url: give env")
		}
		if s.OAuth != nil {
			p.Add("oauth", "oauth is for a url: give env")
		}
		if slices.ContainsFunc(s.Command, func(a string) bool { return strings.ContainsRune(a, 0) }) || s.Command[0] == "" {
			p.Add("command", "the command names no program, or holds a zero byte")
		}
		s.Env.Set = f.expandTexts("env.set.", s.Env.Set, false, &p)
		f.passed(s.Env)
		var err error
		if it.Env, err = s.Env.Resolve(); err != nil {
			p.Add("env", "%v", err)
		}
		if it.Dir, err = filepath.Abs(f.dir); err != nil {
			p.Add("name", "the file's directory cannot be resolved: %v", err)
		}
	}
	if s.Prefix != "" && !named(s.Prefix) {
		p.Add("prefix", "the prefix must be letters, digits, _ or -")
	}
	for _, one := range p {
		f.add(lineOf(n, one.Field), "mcp server %.64q: %s", s.Name, one.Text)
	}
	m.MCP = append(m.MCP, it)
}

// client reads the client for a login. Its secret is never in the file itself.
func (f *file) client(c *client, it *MCP, p *tool.Problems) {
	it.ClientID, it.Scopes = c.ID, c.Scopes
	switch {
	case c.Env != "" && c.File != "":
		p.Add("oauth", "give one of client_secret_env and client_secret_file")
	case (c.Env != "" || c.File != "") && c.ID == "":
		p.Add("oauth", "a client's secret needs its client_id")
	case c.Env != "":
		value, ok := f.lookup(c.Env)
		if it.ClientSecret = secret.Clean(value); !ok || it.ClientSecret == "" {
			p.Add("oauth.client_secret_env", "the environment has no %.100s: set it to the client's secret", c.Env)
		}
	case c.File != "":
		path := c.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(f.dir, path)
		}
		raw, err := os.ReadFile(path)
		if it.ClientSecret = secret.Clean(string(raw)); err != nil || it.ClientSecret == "" {
			p.Add("oauth.client_secret_file", "the client's secret cannot be read from %s, or is empty", path)
		}
	}
	if it.ClientSecret != "" {
		f.secrets = append(f.secrets, it.ClientSecret)
	}
}

// expandTexts expands the values of a map of headers, or of variables.
func (f *file) expandTexts(at string, all map[string]string, headers bool, p *tool.Problems) map[string]string {
	into := map[string]string{}
	for name, text := range all {
		value, hidden := f.expand(at+name, text, p)
		if hidden && headers || secret.Named(name) || hidden && secret.Named(text) {
			f.secrets = append(f.secrets, value)
		}
		into[name] = value
	}
	return into
}

func (f *file) expandValues(at string, all map[string]web.Value, p *tool.Problems) {
	for name, v := range all {
		value, hidden := f.expand(at+name, v.Text, p)
		if hidden || secret.Named(name) {
			f.secrets = append(f.secrets, value)
		}
		v.Text = value
		all[name] = v
	}
}

// passed adds the secrets among the variables that a program gets as they are.
func (f *file) passed(e command.Env) {
	for _, name := range e.Pass {
		if value, ok := f.lookup(name); ok && secret.Named(name) {
			f.secrets = append(f.secrets, value)
		}
	}
}

// expand replaces ${NAME} by the variable of the environment, and reports whether it
// did; $${NAME} becomes ${NAME}.
func (f *file) expand(field, text string, p *tool.Problems) (expanded string, from bool) {
	expanded = regexp.MustCompile(`\$?\$\{[^}]*\}?`).ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "$$") {
			return found[1:]
		}
		name := strings.TrimSuffix(found[2:], "}")
		value, ok := f.lookup(name)
		if !ok || !strings.HasSuffix(found, "}") {
			p.Add(field, "the environment has no %s: set it, or write $${…} for the text itself", fmt.Sprintf("%.100s", found))
		}
		from = from || ok
		return value
	})
	return expanded, from
}
