package dialect

import (
	"encoding/json"
	"slices"
)

// Answer returns a schema of answers as the provider takes it, as for the arguments of
// a tool. It may accept more than the schema does.
func (r Rules) Answer(schema json.RawMessage) json.RawMessage {
	s, err := r.schema(schema)
	if err != nil {
		return schema // the provider says what it does not take
	}
	return s.encode()
}

// Strict reports whether OpenAI takes a schema of answers in its strict mode: every
// object is closed and requires all its properties, and every keyword is supported.
//
// Source: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
func Strict(schema json.RawMessage) bool {
	root, err := parse(schema)
	return err == nil && root.isObject() && root.get("type").string() == "object" && root.get("anyOf") == nil && strict(root)
}

func strict(n *node) bool {
	if !n.isObject() {
		return false
	}
	for i, key := range n.keys {
		v := n.values[i]
		switch key {
		case "type", "required", "additionalProperties", "enum", "const", "title", "description", "$ref":
		case "items":
			if !strict(v) {
				return false
			}
		case "properties", "anyOf", "$defs", "definitions":
			if v.kind == 0 || slices.ContainsFunc(v.values, func(v *node) bool { return !strict(v) }) {
				return false
			}
		default:
			return false
		}
	}
	properties := n.get("properties")
	if !n.is("object") && properties == nil {
		return true
	}
	closed := n.get("additionalProperties")
	required := n.get("required").strings()
	return closed != nil && closed.scalar == false && properties.isObject() &&
		!slices.ContainsFunc(properties.keys, func(key string) bool { return !slices.Contains(required, key) })
}

// Closed returns a schema of answers as Anthropic takes it: every object is closed, and
// bounds of numbers, texts and lists are left out. An object whose further properties
// have a schema stays as it is.
//
// Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
func Closed(schema json.RawMessage) json.RawMessage {
	root, err := parse(schema)
	if err != nil || !root.isObject() {
		return schema
	}
	if root.get("type") == nil {
		root.front("type", text("object"))
	}
	closeObjects(root)
	raw, err := root.MarshalJSON()
	if err != nil { // of values that were decoded from JSON
		return schema
	}
	return raw
}

func closeObjects(n *node) {
	if !n.isObject() {
		return
	}
	for _, key := range []string{"$schema", "$id", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
		"minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "examples"} {
		n.drop(key)
	}
	if more := n.get("additionalProperties"); (n.is("object") || n.get("properties") != nil) && !more.isObject() {
		n.set("additionalProperties", &node{scalar: false})
	}
	for i, key := range n.keys {
		switch placeOf(key) {
		case one:
			closeObjects(n.values[i])
		case several:
			for _, v := range n.values[i].values {
				closeObjects(v)
			}
		}
	}
}
