package openai

import (
	"net/http"
	"testing"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Case{
		New: func(base string, client *http.Client) llm.Provider {
			return New(Config{BaseURL: base, HTTPClient: client})
		},
		Calls: llm.Request{Model: "m"},
		Wire: &conformance.Wire{
			ContentType: "text/event-stream",
			Calls: sse(delta(`"role":"assistant","content":"Hello"`), delta(`"content":", world"`),
				entry(`"index":0,"id":"call_1","type":"function","function":{"name":"add","arguments":""}`),
				entry(`"index":0,"function":{"arguments":"{\"a\":1,"}`), entry(`"index":0,"function":{"arguments":"\"b\":2}"}`),
				finished("tool_calls"), `{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}`, `[DONE]`),
			Whole: `{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello, world","tool_calls":[
				{"id":"call_1","type":"function","function":{"name":"add","arguments":"{\"a\":1,\"b\":2}"}}]},"finish_reason":"tool_calls"}],
				"usage":{"prompt_tokens":7,"completion_tokens":3}}`,
			Beginning: sse(delta(`"content":"Hello"`)),
			Failed:    sse(delta(`"content":"Hello"`), `{"error":{"message":"Overloaded","code":503}}`),
		},
	})
}
