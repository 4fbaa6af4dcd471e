package catalog

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func TestReasoningOfOtherModelsIsToldOnRequest(t *testing.T) {
	bodies := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- string(raw)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n")
	}))
	t.Cleanup(s.Close)
	env := map[string]string{"OPENAI_BASE_URL": s.URL, "OLLAMA_HOST": "127.0.0.1:1"}
	message := func(role events.Role, kind events.PartKind, text string) events.Message {
		return events.Message{Role: role, Provider: "anthropic", Model: "x", Parts: []events.Part{{Kind: kind, Text: text}}}
	}
	for _, tell := range []bool{false, true} {
		c, err := Open(t.Context(), Options{Getenv: func(name string) string { return env[name] }, TellReasoning: tell})
		if err != nil {
			t.Fatal(err)
		}
		req := llm.Request{Model: "m", Messages: []events.Message{message(events.RoleUser, events.PartText, "1"),
			message(events.RoleAssistant, events.PartReasoning, "because of tea"), message(events.RoleUser, events.PartText, "2")}}
		for _, err := range c.Entries[OpenAI].Provider.Stream(t.Context(), req) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if body := <-bodies; strings.Contains(body, "because of tea") != tell {
			t.Errorf("with %v the request is %s", tell, body)
		}
	}
}

// TestEachWireJoinsSurrogatePairs: a host may cut a text in the middle of a character.
func TestEachWireJoinsSurrogatePairs(t *testing.T) {
	sse := func(payloads ...string) string { return "data: " + strings.Join(payloads, "\n\ndata: ") + "\n\n" }
	for provider, body := range map[string]string{
		OpenAI: sse(`{"choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}`, `{"choices":[{"index":0,"delta":{"content":"\ude00b"},"finish_reason":"stop"}]}`),
		OpenAIResponses: sse(`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a\ud83d"}`, `{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"\ude00"}`,
			`{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"a\ud83d\ude00b"}`, `{"type":"response.completed","response":{"status":"completed"}}`),
		Anthropic: sse(`{"type":"message_start","message":{"id":"m"}}`, `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\ud83d"}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\ude00b"}}`,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn"}}`, `{"type":"message_stop"}`),
		Gemini: sse(`{"candidates":[{"content":{"parts":[{"text":"a\ud83d"}]}}]}`, `{"candidates":[{"content":{"parts":[{"text":"\ude00b"}]},"finishReason":"STOP"}]}`),
		Ollama: `{"message":{"content":"a\ud83d"}}` + "\n" + `{"message":{"content":"\ude00b"}}` + "\n" + `{"done":true,"done_reason":"stop"}` + "\n",
	} {
		decode, err := Decoder(provider)
		if err != nil {
			t.Fatal(err)
		}
		var text string
		for e, err := range decode(strings.NewReader(body)) {
			if err != nil {
				t.Errorf("%s: %v", provider, err)
			}
			if c, ok := e.(*events.TextChunk); ok {
				text += c.Text
			}
		}
		if text != "a😀b" {
			t.Errorf("%s: the text is %q", provider, text)
		}
	}
}
