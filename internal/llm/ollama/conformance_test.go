package ollama

import (
	"net/http"
	"testing"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/conformance"
)

func TestConformance(t *testing.T) {
	const add = `{"id":"call_1","function":{"index":0,"name":"add","arguments":{"a":1,"b":2}}}`
	conformance.Run(t, conformance.Case{
		New: func(base string, client *http.Client) llm.Provider {
			return New(Config{Host: base, HTTPClient: client})
		},
		Calls: llm.Request{Model: "m"},
		Wire: &conformance.Wire{
			ContentType: "application/x-ndjson",
			Calls:       text("Hello") + text(", world") + calls(add) + done,
			Whole:       says(`"content":"Hello, world","tool_calls":[`+add+`]`, `,"done":true,"done_reason":"stop","prompt_eval_count":12,"eval_count":5`),
			Beginning:   text("Hello"),
			Failed:      text("Hello") + `{"error":"the server is overloaded"}` + "\n",
		},
	})
}
