package tool

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/parleybus/parley/internal/events"
	contract "github.com/parleybus/parley/internal/tool"
)

// Bounds of a schema, which every request to the model contains.
const (
	schemaBytes = 64 << 10
	schemaParts = 2000
)

// input generates or checks the schema of the arguments.
func (d *definition) input(t reflect.Type) {
	if d.spec.Schema == nil {
		schema, err := inputSchema(t)
		if err != nil {
			d.problem("arguments: %w; or give the schema with InputSchema", err)
		}
		d.spec.Schema = schema
		return
	}
	schema, err := given(d.spec.Schema)
	if err != nil {
		d.problem("InputSchema: %w", err)
		return
	}
	d.spec.Schema = schema
	var top struct{ Type any }
	if err := json.Unmarshal(schema, &top); err != nil || top.Type != "object" {
		d.problem(`InputSchema: its type must be "object": arguments have names`)
	}
}

// inputSchema returns the schema of a struct of arguments.
func inputSchema(t reflect.Type) (json.RawMessage, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || marshals(t, true) {
		return nil, fmt.Errorf("%s is not a struct of arguments: use a struct, struct{} for none", t)
	}
	w := walker{input: true}
	s, err := w.schema(t)
	if err != nil {
		return nil, err
	}
	return given(s)
}

// given returns a schema as compact JSON after checking that it is within
// bounds and compiles.
func given(schema any) (json.RawMessage, error) {
	raw, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	if len(raw) > schemaBytes {
		return nil, fmt.Errorf("the schema has %d bytes, more than %d: shorten descriptions, or split the tool", len(raw), schemaBytes)
	}
	var v contract.Validator
	if err := v.Check(events.ToolSpec{Schema: raw}); err != nil {
		return nil, fmt.Errorf("%w", unnamed(err))
	}
	return raw, nil
}

// unnamed removes the tool's name from an error before the tool has one.
func unnamed(err error) error {
	if text, ok := strings.CutPrefix(err.Error(), `tool "": `); ok {
		return errors.New(text)
	}
	return err
}

// walker generates the schema of a type, for decoding or for encoding with
// encoding/json. The library's own walk is not used for composite types: it
// allows null for every slice and pointer, which many models and clients do not
// handle, treats []byte as a list of numbers, ignores custom JSON methods, and
// does not nest named embedded structs.
type walker struct {
	input bool
	path  []string       // field names from the root to the current type
	open  []reflect.Type // enclosing structs
	parts int
}

func (w *walker) problem(t reflect.Type, format string, args ...any) error {
	if len(w.open) > 0 {
		t = w.open[0]
	}
	where := t.String()
	if t.Name() == "" && t.Kind() == reflect.Struct {
		where = "struct" // its name would be its complete source text
	}
	where = strings.Join(append([]string{where}, w.path...), ".")
	return fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...))
}

// schema returns the schema of a type. In results, values of nullable types may
// be null.
func (w *walker) schema(t reflect.Type) (*jsonschema.Schema, error) {
	if w.parts++; w.parts > schemaParts {
		return nil, w.problem(t, "the schema has more than %d parts: take fewer fields", schemaParts)
	}
	if s := w.known(t); s != nil {
		return s, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		s, err := w.schema(t.Elem())
		return w.nullable(s), err
	case reflect.Struct:
		return w.object(t)
	case reflect.Map:
		if !isKey(t.Key(), w.input) {
			return nil, w.problem(t, "a map with %s keys cannot be JSON: use string keys", t.Key())
		}
		values, err := w.schema(t.Elem())
		return w.nullable(&jsonschema.Schema{Type: "object", AdditionalProperties: values}), err
	case reflect.Slice, reflect.Array:
		items, err := w.schema(t.Elem())
		s := &jsonschema.Schema{Type: "array", Items: items}
		if t.Kind() == reflect.Slice {
			return w.nullable(s), err
		}
		if s.MaxItems = new(t.Len()); !w.input {
			s.MinItems = s.MaxItems
		}
		return s, err
	case reflect.Interface:
		if w.input && t.NumMethod() > 0 {
			return nil, w.problem(t, "JSON cannot be read into %s: take a concrete type, or any", t)
		}
		return anything(), nil
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return nil, w.problem(t, "a %s cannot be JSON: leave the field out with the tag json:\"-\"", t.Kind())
	}
	return jsonschema.ForType(t, nil)
}

// nullable allows null where encoding/json may write it. Arguments are never
// null: an optional argument is absent.
func (w *walker) nullable(s *jsonschema.Schema) *jsonschema.Schema {
	if !w.input && s != nil && s.Type != "" {
		s.Types, s.Type = []string{"null", s.Type}, ""
	}
	return s
}

// known returns the schema of a type with its own JSON form, or nil.
func (w *walker) known(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return &jsonschema.Schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{Type: "integer", Description: "nanoseconds"}
	case reflect.TypeFor[json.Number]():
		return &jsonschema.Schema{Type: "number"}
	case reflect.TypeFor[big.Int]():
		return &jsonschema.Schema{Type: "integer"}
	}
	switch {
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface:
		return nil
	case marshals(t, w.input):
		return anything()
	case isText(t, w.input):
		return &jsonschema.Schema{Type: "string"}
	case isBytes(t, w.input):
		return w.nullable(&jsonschema.Schema{Type: "string", ContentEncoding: "base64"})
	}
	return nil
}

// anything returns a schema that allows any value. It has a description because
// the library encodes an empty schema as true, which not every provider
// accepts.
func anything() *jsonschema.Schema { return &jsonschema.Schema{Description: "any JSON value"} }

// marshals reports whether a type has its own JSON methods.
func marshals(t reflect.Type, input bool) bool {
	if input {
		return implements[json.Unmarshaler](t)
	}
	return implements[json.Marshaler](t)
}

// isText reports whether a type has its own text methods.
func isText(t reflect.Type, input bool) bool {
	if input {
		return implements[encoding.TextUnmarshaler](t)
	}
	return implements[encoding.TextMarshaler](t)
}

func implements[I any](t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[I]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[I]())
}

// isBytes reports whether encoding/json encodes a type as base64.
func isBytes(t reflect.Type, input bool) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !marshals(t.Elem(), input) && !isText(t.Elem(), input)
}

// isKey reports whether a type can be the key of an object.
func isKey(t reflect.Type, input bool) bool {
	switch t.Kind() {
	case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	}
	return isText(t, input)
}
