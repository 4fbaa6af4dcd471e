package openairesponses

import (
	"net/http"
	"testing"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/conformance"
)

func TestConformance(t *testing.T) {
	const (
		hello  = `{"type":"response.output_text.delta","output_index":0,"content_index":0,"item_id":"msg_1","delta":"Hello"}`
		world  = `{"type":"response.output_text.delta","output_index":0,"content_index":0,"item_id":"msg_1","delta":", world"}`
		opened = `{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"add","arguments":""}}`
		first  = `{"type":"response.function_call_arguments.delta","output_index":1,"item_id":"fc_1","delta":"{\"a\":1,"}`
		second = `{"type":"response.function_call_arguments.delta","output_index":1,"item_id":"fc_1","delta":"\"b\":2}"}`
		output = `"output":[{"type":"message","id":"msg_1","content":[{"type":"output_text","text":"Hello, world"}]},
			{"type":"function_call","id":"fc_1","call_id":"call_1","name":"add","arguments":"{\"a\":1,\"b\":2}","status":"completed"}]`
		usage = `"usage":{"input_tokens":7,"output_tokens":3,"total_tokens":10,"output_tokens_details":{"reasoning_tokens":2}}`
	)
	conformance.Run(t, conformance.Case{
		New: func(base string, client *http.Client) llm.Provider {
			return New(Config{BaseURL: base, HTTPClient: client})
		},
		Calls: llm.Request{Model: "m"},
		Wire: &conformance.Wire{
			ContentType: "text/event-stream",
			Calls:       sse(created, hello, world, opened, first, second, completed),
			Whole:       `{"id":"resp_1","model":"m-1","status":"completed",` + output + `,` + usage + `}`,
			Beginning:   sse(created, hello),
			Failed:      sse(created, hello, `{"type":"error","error":{"type":"server_error","code":"server_error","message":"The server had an error"}}`),
		},
	})
}
