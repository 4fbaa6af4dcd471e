package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// BadEventError is the reason why an event cannot be decoded, in words for its author:
// which field, and the expected type.
type BadEventError struct {
	ID   string // the event's "id", where it can be read
	Name string // the event's type; empty when it is not known
	Text string // what is wrong
}

func (e *BadEventError) Error() string {
	if e.Name == "" {
		return "event " + e.Text
	}
	return "event " + e.Name + ": " + e.Text
}

// bad explains an error of encoding/json. The id is read separately: a
// client waits for an answer under it.
func bad(name string, raw []byte, err error) error {
	if nested, ok := errors.AsType[*BadEventError](err); ok { // in a Decision
		return &BadEventError{Name: name, Text: nested.Error()}
	}
	e := &BadEventError{ID: ID(raw), Name: name, Text: "cannot be read"}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		e.Name = ""
		switch {
		case s.Error() == "exceeded max depth":
			e.Text = "is nested too deeply"
		case s.Offset >= int64(len(raw)):
			e.Text = "is not a JSON object: it ends too early"
		default:
			e.Text = fmt.Sprintf("is not a JSON object: byte %d is not valid JSON there", s.Offset)
		}
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if t.Field == "" {
			e.Name, e.Text = "", "is not a JSON object but "+given(t.Value)
		} else {
			field := strings.TrimPrefix(t.Field, "Origin.") // embedded
			e.Text = fmt.Sprintf("field %q: %s is expected, not %s", field, expected(t.Type), given(t.Value))
		}
	}
	return e
}

// expected names the values of a field's type, in JSON's words.
func expected(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, 0 or more"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}

// given names the value in place of it; encoding/json writes numbers after
// the word.
func given(value string) string {
	word, number, _ := strings.Cut(value, " ")
	switch {
	case number != "":
		return number
	case word == "array":
		return "a list"
	case word == "object":
		return "an object"
	case word == "bool":
		return "true or false"
	}
	return "a " + word
}

// ID returns the "id" of an event whatever its type, also of one that is cut or
// has another field that cannot be read; empty when it has none.
func ID(raw []byte) string {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return ""
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return ""
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return ""
		}
		if key == "id" {
			var id string
			if json.Unmarshal(value, &id) != nil {
				return ""
			}
			return id
		}
	}
	return ""
}
