package tool

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// Object decodes the arguments for tools of a description file: numbers are
// [json.Number], as the model wrote them.
func (in Input) Object() (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(events.Arguments(string(in.Arguments))))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, Fail("the arguments do not fit the tool: %v", err)
	}
	return object, nil
}

// JSON writes a value of [Input.Object]. Names in an object are unique, so that
// a reader sees the validated value, and <, > and & are not escaped.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, Fail("the arguments cannot be written as JSON: %v", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Texts writes a value of [Input.Object] as texts: none for null, one for each
// element of an array, else one. Nested values are JSON.
func Texts(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case bool:
		return []string{fmt.Sprint(v)}, nil
	case json.Number:
		return []string{v.String()}, nil
	case []any:
		var texts []string
		for _, e := range v {
			if _, nested := e.([]any); !nested {
				one, err := Texts(e)
				if err != nil {
					return nil, err
				}
				texts = append(texts, one...)
				continue
			}
			raw, err := JSON(e)
			if err != nil {
				return nil, err
			}
			texts = append(texts, string(raw))
		}
		return texts, nil
	}
	raw, err := JSON(v)
	return []string{string(raw)}, err
}

// Parameters are the arguments that a schema lists under properties; true means
// required.
func Parameters(schema json.RawMessage) map[string]bool {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
	}
	named := map[string]bool{}
	if json.Unmarshal(schema, &s) != nil {
		return named // compiling the schema reports that
	}
	for name := range s.Properties {
		named[name] = false
	}
	for _, name := range s.Required {
		if _, ok := named[name]; ok {
			named[name] = true
		}
	}
	return named
}

// Problem is an error in the description of a tool.
type Problem struct {
	Field string // where, such as "exec.command[1]"
	Text  string // what, and what to do
}

// Problems are all errors found. It is an error.
type Problems []Problem

// Add adds one.
func (p *Problems) Add(field, format string, args ...any) {
	*p = append(*p, Problem{Field: field, Text: fmt.Sprintf(format, args...)})
}

// Err is nil when there are none.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Error implements error.
func (p Problems) Error() string {
	var all []string
	for _, one := range p {
		all = append(all, one.Field+": "+one.Text)
	}
	return strings.Join(all, "; ")
}
