package ollama

import (
	"net/http"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/conformance"
)

func TestConformance(t *testing.T) {
	const add = `{"id":"call_1","function":{"index":0,"name":"add","arguments":{"a":1,"b":2}}}`
	conformance.Run(t, conformance.Case{
		New: func(base string, client *http.Client) llm.Provider {
			return New(Config{Host: base, HTTPClient: client})
		},
		Calls: llm.Request{Model: "gemma3:1b"},
		Wire: &conformance.Wire{
			ContentType: "application/x-ndjson",
			Calls:       text("Hello") + text(", world") + calls(add) + done,
			Whole:       says(`"content":"Hello, world","tool_calls":[`+add+`]`, `,"done":true,"done_reason":"stop","prompt_eval_count":12,"eval_count":5`),
			Beginning:   text("Hello"),
			Failed:      text("Hello") + `{"error":"the server is overloaded"}` + "\n",
			Refusals: []conformance.Refusal{
				{Name: "a model without tools", Status: 400, Body: `{"error":"registry.ollama.ai/library/gemma3:1b does not support tools"}`,
					Want: events.Error{Class: "unsupported", HTTPStatus: 400, Message: "the model gemma3:1b does not support tools: take one that does (for example `ollama pull qwen3`), or offer no tools (HTTP 400: registry.ollama.ai/library/gemma3:1b does not support tools)"}},
				{Name: "a model without thinking", Status: 400, Body: `{"error":"\"gemma3:1b\" does not support thinking"}`,
					Want: events.Error{Class: "unsupported", HTTPStatus: 400, Message: `the model gemma3:1b does not support thinking: leave out the reasoning effort, or take another model (HTTP 400: "gemma3:1b" does not support thinking)`}},
				{Name: "a model that is not there", Status: 404, Body: `{"error":"model 'gemma3:1b' not found"}`,
					Want: events.Error{Class: "invalid_request", HTTPStatus: 404, Message: "the model gemma3:1b is not on the server: get it with `ollama pull gemma3:1b` (HTTP 404: model 'gemma3:1b' not found)"}},
				{Name: "a server that is busy", Status: 503, Body: `{"error":"server busy, please try again.  maximum pending requests exceeded"}`,
					Want: events.Error{Class: "overloaded", HTTPStatus: 503, Message: "HTTP 503: server busy, please try again.  maximum pending requests exceeded"}},
			},
		},
	})
}
