package dialect

import (
	"encoding/json"
	"testing"
)

func TestStrictSchemas(t *testing.T) {
	for schema, want := range map[string]bool{
		`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`:                                                                         true,
		`{"type":"object","properties":{"a":{"type":"array","items":{"$ref":"#/$defs/b"}}},"required":["a"],"additionalProperties":false,"$defs":{"b":{"type":"number"}}}`:             true,
		`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}`:                                                                                                      false,
		`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}`:                                                                                          false,
		`{"type":"object","properties":{"a":{"type":"string","minLength":1}},"required":["a"],"additionalProperties":false}`:                                                           false,
		`{"type":"object","properties":{"a":{"type":"object","properties":{"b":{}}}},"required":["a"],"additionalProperties":false}`:                                                   false,
		`{"type":"object","properties":{"a":{"anyOf":[{"type":"null"},{"type":"object","properties":{},"additionalProperties":true}]}},"required":["a"],"additionalProperties":false}`: false,
		`{"anyOf":[]}`: false, `{}`: false, `7`: false, `{`: false,
	} {
		if got := Strict(json.RawMessage(schema)); got != want {
			t.Errorf("%s: %v", schema, got)
		}
	}
}

func TestClosedSchemas(t *testing.T) {
	for schema, want := range map[string]string{
		`{"properties":{"z":{"type":"integer","minimum":1},"a":{"type":"array","maxItems":3,"items":{"type":"object","properties":{"b":true}}}}}`: `{"type":"object","properties":{"z":{"type":"integer"},"a":{"type":"array","items":{"type":"object","properties":{"b":true},"additionalProperties":false}}},"additionalProperties":false}`,
		`{"type":"object","additionalProperties":{"type":"object"}}`:                                                                              `{"type":"object","additionalProperties":{"type":"object","additionalProperties":false}}`,
		`{"type":"object","additionalProperties":true}`:                                                                                           `{"type":"object","additionalProperties":false}`,
		`{"type":"object","properties":{"maximum":{"type":"string"}}}`:                                                                            `{"type":"object","properties":{"maximum":{"type":"string"}},"additionalProperties":false}`,
		`7`: `7`,
	} {
		if got := string(Closed(json.RawMessage(schema))); got != want {
			t.Errorf("%s is %s, want %s", schema, got, want)
		}
	}
}
