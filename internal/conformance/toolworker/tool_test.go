package toolworker

import (
	"encoding/json"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func TestArgumentsAreMadeFromTheSchema(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schema, good, bad string }{
		{`{"required":["text"],"properties":{"text":{"type":"string"},"pause_ms":{"type":"integer"}}}`, `{"text":"conformance"}`, `{"text":7}`},
		{`{"required":["text"],"properties":{"text":{}}}`, `{"text":"conformance"}`, `{"text":7}`},
		{`{"required":["n","unit"],"properties":{"n":{"type":"number"},"unit":{"enum":["km","m"]}}}`, `{"n":1,"unit":"km"}`, `{"n":1,"unit":"no such value"}`},
		{`{"required":["city"],"properties":{"city":{"type":"string","examples":["Oslo"]}}}`, `{"city":"Oslo"}`, `{"city":7}`},
		{`{"required":["on"],"properties":{"on":{"type":"boolean"}}}`, `{"on":true}`, `{"on":"no such value"}`},
	} {
		good, bad, err := examples(events.ToolSpec{Name: "t", Schema: json.RawMessage(c.schema)})
		if err != nil || good != c.good || bad != c.bad {
			t.Errorf("%s: %s and %s, %v; want %s and %s", c.schema, good, bad, err, c.good, c.bad)
		}
	}
	if _, _, err := examples(events.ToolSpec{Name: "t", Schema: json.RawMessage(`{}`)}); err == nil {
		t.Error("arguments were made for a tool that requires none: nothing makes it fail")
	}
}

func TestAFieldIsAddedToArguments(t *testing.T) {
	t.Parallel()
	for object, want := range map[string]string{`{}`: `{"a":1}`, ` {"b":2} `: `{"b":2,"a":1}`, `{ }`: `{"a":1}`} {
		if got := with(object, `"a":1`); got != want {
			t.Errorf("%s becomes %s, want %s", object, got, want)
		}
	}
}
