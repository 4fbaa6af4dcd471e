package tool_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const orderSchema = `{
	"type": "object",
	"properties": {
		"city": {"type": "string", "minLength": 1},
		"count": {"type": "integer", "minimum": 1, "multipleOf": 1},
		"size": {"enum": ["small", "large"]},
		"items": {"type": "array", "items": {"type": "object", "required": ["id"], "properties": {"id": {"$ref": "#/$defs/id"}}}},
		"when": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["day"]}]}
	},
	"required": ["city"],
	"additionalProperties": false,
	"$defs": {"id": {"type": "string"}}
}`

func TestValidate(t *testing.T) {
	var v tool.Validator
	spec := events.ToolSpec{Name: "order", Schema: json.RawMessage(orderSchema)}
	for _, c := range []struct{ name, raw, want string }{
		{"what the schema asks for is valid", `{"city":"Oslo","count":2,"size":"small","items":[{"id":"a"}],"when":{"day":1}}`, ""},
		{"a whole number may be written as a float", `{"city":"Oslo","count":2.0}`, ""},
		{"text around the object is space", " \n{\"city\":\"Oslo\"}\n", ""},
		{"nothing means the empty object, which misses a property", ``, "arguments: missing property 'city'"},
		{"null means the empty object", `null`, "arguments: missing property 'city'"},
		{"half an object is refused", `{"city":"Os`, "not valid JSON"},
		{"two objects are refused", `{"city":"a"}{"city":"b"}`, "not valid JSON"},
		{"an array is refused", `["Oslo"]`, "not an object"},
		{"text is refused", `"Oslo"`, "not an object"},
		{"a wrong type names the place and what is wanted", `{"city":7}`, "arguments.city: got number, want string"},
		{"a place inside a list has its index", `{"city":"a","items":[{"id":"x"},{"id":3}]}`, "arguments.items[1].id: got number, want string"},
		{"a choice names what there is", `{"city":"a","size":"huge"}`, "arguments.size: value must be one of 'small', 'large'"},
		{"an unknown property is named", `{"city":"a","colour":"red"}`, "additional properties 'colour' not allowed"},
		{"several problems are reported at once", `{"count":0,"size":"x"}`, "; "},
		{"an alternative tells its first way", `{"city":"a","when":3}`, "arguments.when: got number, want string"},
		{"a number that would cost seconds is refused", `{"city":"a","count":1e999999}`, "too large to check"},
		{"a number beyond all bounds is refused", `{"city":"a","count":1e99999999999999999999}`, "too large to check"},
		{"a tiny number is refused", `{"city":"a","count":1e-999999}`, "too large to check"},
		{"a number of many digits is refused", `{"city":"a","count":` + strings.Repeat("9", 500) + `}`, "too large to check"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			err := v.Validate(spec, c.raw)
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if errors.Is(err, tool.ErrSchema) {
				t.Fatalf("%v blames the schema", err)
			}
			if d := time.Since(start); d > time.Second {
				t.Fatalf("took %s", d)
			}
		})
	}
	t.Run("many problems make a short text", func(t *testing.T) {
		err := v.Validate(spec, `{"city":"a","items":[`+strings.Repeat(`{"id":1},`, 500)+`{}]}`)
		if err == nil || len(err.Error()) > 1500 || !strings.HasSuffix(err.Error(), "; and 497 more") {
			t.Fatal(err)
		}
	})
	t.Run("a long value is not repeated whole", func(t *testing.T) {
		err := v.Validate(spec, `{"city":"a","`+strings.Repeat("é", 5000)+`":1}`)
		if err == nil || len(err.Error()) > 400 {
			t.Fatal(err)
		}
	})
	t.Run("a tool without a schema takes any object", func(t *testing.T) {
		if err := v.Validate(events.ToolSpec{Name: "any"}, `{"x":1}`); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("one validator serves many goroutines", func(t *testing.T) {
		var shared tool.Validator
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := shared.Validate(spec, `{"city":"Oslo"}`); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestValidateRefusesSchemas(t *testing.T) {
	for _, c := range []struct{ name, schema, want string }{
		{"that are cut", `{"type":`, "not valid JSON"},
		{"that are no object", `["object"]`, "not a JSON object"},
		{"with a type that does not exist", `{"type":"thing"}`, "type"},
		{"that refer to a file", `{"$ref":"file:///etc/passwd"}`, "under $defs"},
		{"that refer to a host", `{"properties":{"a":{"$ref":"https://example.com/a.json"}}}`, "under $defs"},
		{"that refer to a relative file", `{"$ref":"other.json"}`, "under $defs"},
		{"with a base elsewhere", `{"$id":"https://example.com/x","$ref":"y"}`, "under $defs"},
		{"in a dialect that would have to be loaded", `{"$schema":"https://example.com/dialect"}`, "under $defs"},
		{"with a pattern that Go cannot match", `{"properties":{"a":{"pattern":"(?<=a)b"}}}`, "regex"},
		{"with a number that cannot be computed with", `{"properties":{"a":{"minimum":1e999999999}}}`, "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v tool.Validator
			err := v.Validate(events.ToolSpec{Name: "t", Schema: json.RawMessage(c.schema)}, `{"a":1}`)
			if !errors.Is(err, tool.ErrSchema) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"t"`) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzValidate(f *testing.F) {
	f.Add(orderSchema, `{"city":"Oslo","count":1e5}`)
	f.Add(`{"$ref":"#"}`, `{}`)
	f.Add(`{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"not":{}}}}`, `{"a":[1,2]}`)
	f.Add(`{"$dynamicRef":"#x","$dynamicAnchor":"x","unevaluatedProperties":false}`, `{"a":{}}`)
	f.Fuzz(func(t *testing.T, schema, raw string) {
		var v tool.Validator
		if err := v.Validate(events.ToolSpec{Name: "t", Schema: json.RawMessage(schema)}, raw); err != nil && err.Error() == "" {
			t.Fatal("an error without a text")
		}
	})
}
