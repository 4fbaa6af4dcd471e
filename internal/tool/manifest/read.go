package manifest

import (
	"bytes"
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// read parses a file into m and collects its problems. A panic of the YAML
// library on a broken document becomes a problem, too.
func (f *file) read(raw []byte, m *Manifest) {
	defer func() {
		if p := recover(); p != nil {
			f.add(0, "the YAML cannot be read: %v", p)
		}
	}()
	if len(raw) > MaxFile {
		f.add(0, "the file has more than %d bytes", MaxFile)
		return
	}
	if line := nested(raw); line > 0 {
		f.add(line, "the line has more than %d bytes, or lists and maps are nested more than %d deep", maxLine, maxNested)
		return
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // of editors on Windows
	tree, err := parser.ParseBytes(raw, 0)
	if err != nil {
		f.wrong(err, 0)
		return
	}
	if len(tree.Docs) != 1 {
		f.add(0, "the file must be one YAML document")
		return
	}
	var odd survey
	ast.Walk(&odd, tree.Docs[0])
	if odd.token != nil {
		f.add(odd.token.Position.Line, "%.100s: anchors, aliases, merges and tags are not read here: write it out", odd.token.Value)
		return
	}
	for _, v := range f.pairs(tree.Docs[0].Body) {
		switch key := v.Key.GetToken(); key.Value {
		case "tools":
			for _, n := range f.list(v.Value, key.Value) {
				f.tool(n, m)
			}
		case "mcp":
			for _, n := range f.list(v.Value, key.Value) {
				f.server(n, m)
			}
		default:
			f.add(key.Position.Line, "unknown field %.100q: the file has the lists tools and mcp", key.Value)
		}
	}
}

// pairs returns the keys of the file with their values.
func (f *file) pairs(body ast.Node) []*ast.MappingValueNode {
	switch body := body.(type) {
	case *ast.MappingNode:
		return body.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{body}
	}
	f.add(0, "the file must be a map with the lists tools and mcp")
	return nil
}

// list returns the list under a key of the file.
func (f *file) list(n ast.Node, key string) []ast.Node {
	switch n := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		if len(n.Values) > maxTools {
			f.add(lineOf(n, ""), "%s has %d entries, at most %d are read: use several files", key, len(n.Values), maxTools)
			return nil
		}
		return n.Values
	}
	f.add(lineOf(n, ""), "%s must be a list", key)
	return nil
}

// wrong adds an error of the YAML library.
func (f *file) wrong(err error, line int) {
	text := err.Error()
	if e, ok := errors.AsType[yaml.Error](err); ok {
		text = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			line = t.Position.Line
		}
	}
	f.add(line, "%s", text)
}

// decode decodes an entry; unknown fields are problems.
func (f *file) decode(n ast.Node, into any) bool {
	if n == nil || n.Type() != ast.MappingType && n.Type() != ast.MappingValueType {
		f.add(lineOf(n, ""), "an entry must be a map that begins with name")
		return false
	}
	if err := yaml.NodeToValue(n, into, yaml.Strict()); err != nil {
		f.wrong(err, lineOf(n, ""))
		return false
	}
	var none empty
	ast.Walk(&none, n)
	for _, line := range none.lines {
		f.add(line, "a value is missing: give one, or leave the field out")
	}
	return len(none.lines) == 0
}

// survey finds unsupported YAML in a file.
type survey struct{ token *token.Token }

// Visit implements [ast.Visitor].
func (s *survey) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.AliasNode, *ast.AnchorNode, *ast.MergeKeyNode, *ast.TagNode:
		s.token = n.GetToken()
	}
	return s
}

// empty finds the lines where a field has no value, which would mean the same
// as no field. It skips schemas, in which null is a value.
type empty struct{ lines []int }

// Visit implements [ast.Visitor].
func (e *empty) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.MappingValueNode:
		if key := n.Key.GetToken().Value; key == "input" || key == "output" {
			return nil
		}
	case *ast.NullNode:
		e.lines = append(e.lines, lineOf(n, ""))
	}
	return e
}

// lineOf returns the line of a field such as exec.command[1] in an entry, or of
// the nearest enclosing field; 0 if there is none.
func lineOf(n ast.Node, field string) int {
	if n == nil {
		return 0
	}
	for path := field; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		p, err := yaml.PathString("$." + path)
		if err != nil {
			continue
		}
		if found, err := p.FilterNode(n); err == nil && found != nil && found.GetToken() != nil && found.GetToken().Position != nil {
			return found.GetToken().Position.Line
		}
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// nested returns the line where a file exceeds the depth or length that the
// YAML library can parse in time: its time is quadratic in either. Brackets
// inside texts count, too.
func nested(raw []byte) int {
	depth := 0
	for number, line := range bytes.Split(raw, []byte("\n")) {
		rest := bytes.TrimLeft(line, " \t-?:")
		lead := line[:len(line)-len(rest)]
		if len(line) > maxLine || bytes.Count(lead, []byte("-"))+bytes.Count(lead, []byte("?")) > maxNested {
			return number + 1
		}
		for _, b := range rest {
			switch b {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
			if depth > maxNested {
				return number + 1
			}
		}
	}
	return 0
}
