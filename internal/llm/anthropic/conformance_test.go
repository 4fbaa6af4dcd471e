package anthropic

import (
	"net/http"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/conformance"
)

func TestConformance(t *testing.T) {
	hello := []string{begin, textStart("0"), textDelta("0", "Hello")}
	again := map[string]string{"Retry-After": "2", "Request-Id": "req_1"}
	conformance.Run(t, conformance.Case{
		New: func(base string, client *http.Client) llm.Provider {
			return New(Config{APIKey: "key", BaseURL: base, HTTPClient: client})
		},
		Calls: llm.Request{Model: "m"},
		Wire: &conformance.Wire{
			ContentType: "text/event-stream; charset=utf-8",
			Calls: sse(append(hello[:3:3], textDelta("0", ", world"), blockStop("0"), callStart("1", "toolu_1", "add", "{}"),
				jsonDelta("1", `{\"a\":1,`), jsonDelta("1", `\"b\":2}`), blockStop("1"), finish("tool_use"), stop)...),
			Whole: `{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"Hello, world"},
				{"type":"tool_use","id":"toolu_1","name":"add","input":{"a":1,"b":2}}],"stop_reason":"tool_use",
				"usage":{"input_tokens":10,"output_tokens":25,"cache_read_input_tokens":3,"cache_creation_input_tokens":0}}`,
			Beginning: sse(hello...),
			Failed:    sse(append(hello[:3:3], `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)...),
			Refusals: []conformance.Refusal{
				{Name: "an overload says how long to wait", Status: 529, Body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, Header: again,
					Want: events.Error{Class: "overloaded", Code: "overloaded_error", HTTPStatus: 529, RetryAfterMS: 2000, Message: "HTTP 529: Overloaded (request req_1)"}},
				{Name: "a wrong key names the provider", Status: 401, Body: `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, Header: again,
					Want: events.Error{Class: "auth", Code: "authentication_error", HTTPStatus: 401, RetryAfterMS: 2000, Message: `HTTP 401: invalid x-api-key (request req_1) (check the API key of provider "anthropic")`}},
				{Name: "a prompt that is too long", Status: 400, Body: `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 2 tokens > 1 maximum"}}`, Header: again,
					Want: events.Error{Class: "context_length", Code: "invalid_request_error", HTTPStatus: 400, RetryAfterMS: 2000, Message: "HTTP 400: prompt is too long: 2 tokens > 1 maximum (request req_1)"}},
			},
		},
	})
}
