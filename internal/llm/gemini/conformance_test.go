package gemini

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/conformance"
)

func TestConformance(t *testing.T) {
	const call = `{"functionCall":{"id":"c1","name":"add","args":{"a":1,"b":2}},` + signed + `}`
	conformance.Run(t, conformance.Case{
		New: func(base string, client *http.Client) llm.Provider {
			p := New(Config{BaseURL: base, HTTPClient: client})
			p.linger = 10 * time.Millisecond
			return p
		},
		Calls: llm.Request{Model: "m"},
		Wire: &conformance.Wire{
			ContentType: "text/event-stream",
			Calls:       sse(text1("Hello"), text1(", world"), says(call, ""), ending("STOP")),
			Whole: `{"candidates":[{"content":{"parts":[{"text":"Hello, world"},` + call + `],"role":"model"},"finishReason":"STOP","index":0}],` + counts +
				`,"modelVersion":"gemini-test","responseId":"r2"}`,
			Beginning: sse(text1("Hello")),
			Failed:    sse(text1("Hello"), `{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}`),
			Target: func(u *url.URL) (string, bool) {
				model, method, _ := strings.Cut(strings.TrimPrefix(u.Path, "/v1beta/models/"), ":")
				return model, method == "streamGenerateContent" && u.Query().Get("alt") == "sse"
			},
			Refusals: []conformance.Refusal{
				{Name: "a quota says how long to wait", Status: 429, Body: `{"error":{"code":429,"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay": "22.5s"}]}}`,
					Want: events.Error{Class: "rate_limited", Code: "429", HTTPStatus: 429, RetryAfterMS: 22500, Message: "HTTP 429: You exceeded your current quota."}},
				{Name: "a quota in a list", Status: 429, Body: `[{"error":{"code":429,"message":"Resource exhausted","status":"RESOURCE_EXHAUSTED"}}]`,
					Want: events.Error{Class: "rate_limited", Code: "429", HTTPStatus: 429, Message: "HTTP 429: Resource exhausted"}},
				{Name: "a wrong key is an invalid argument", Status: 400, Body: `{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}`,
					Want: events.Error{Class: "auth", Code: "400", HTTPStatus: 400, Message: `HTTP 400: API key not valid. Please pass a valid API key. (check the API key of provider "gemini")`}},
				{Name: "a prompt that is too long", Status: 400, Body: `{"error":{"code":400,"message":"The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}`,
					Want: events.Error{Class: "context_length", Code: "400", HTTPStatus: 400, Message: "HTTP 400: The input token count (1100000) exceeds the maximum number of tokens allowed (1048576)."}},
				{Name: "an overload", Status: 503, Body: `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`,
					Want: events.Error{Class: "overloaded", Code: "503", HTTPStatus: 503, Message: "HTTP 503: The model is overloaded."}},
				{Name: "a history that is refused", Status: 400, Body: `{"error":{"code":400,"message":"Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.","status":"INVALID_ARGUMENT"}}`,
					Want: events.Error{Class: "invalid_request", Code: "400", HTTPStatus: 400, Message: "HTTP 400: Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn."}},
			},
		},
	})
}
