package openai

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// TestWhatHostsAddToAnAnswerIsKept: the full message beside an empty delta, the
// transcript of speech as text, and citations, images and the rest as they are.
func TestWhatHostsAddToAnAnswerIsKept(t *testing.T) {
	const image = `{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}`
	for _, c := range []struct{ name, body, text, kept string }{
		{"an empty delta beside a full message", `{"choices":[{"index":0,"delta":{},"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}`, "a", ""},
		{"a delta without content beside it", `{"choices":[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[]},"message":{"content":"a"},"finish_reason":"stop"}]}`, "a", ""},
		{"a full delta counts once", `{"choices":[{"index":0,"delta":{"content":"a"},"message":{"content":"a"},"finish_reason":"stop"}]}`, "a", ""},
		{"the only chunk of a stream", sse(`{"choices":[{"index":0,"delta":{},"message":{"content":"a"},"finish_reason":"stop"}]}`, `[DONE]`), "a", ""},
		{"a last chunk that repeats the text", sse(delta(`"content":"a"`), `{"choices":[{"index":0,"delta":{},"message":{"content":"a"},"finish_reason":"stop"}]}`, `[DONE]`), "a", ""},
		{"annotations", sse(delta(`"content":"a"`), delta(`"annotations":[{"type":"url_citation"}]`), finished("stop"), `[DONE]`), "a", `{"kept":{"annotations":[{"type":"url_citation"}]}}`},
		{"images in pieces", sse(delta(`"content":"a","images":[`+image+`]`), delta(`"images":[`+image+`]`), finished("stop"), `[DONE]`), "a", `{"kept":{"images":[` + image + `]}}{"kept":{"images":[` + image + `]}}`},
		{"the transcript of speech", sse(delta(`"audio":{"id":"x","transcript":"He"}`), delta(`"audio":{"transcript":"llo"}`), delta(`"audio":{"data":"AAAA","expires_at":9}`), finished("stop"), `[DONE]`), "Hello", `{"kept":{"audio":{"id":"x"}}}{"kept":{"audio":{"expires_at":9}}}`},
		{"speech in one object", `{"choices":[{"index":0,"message":{"content":null,"audio":{"id":"x","data":"AAAA","transcript":"Hello"},"annotations":[]},"finish_reason":"stop"}]}`, "Hello", `{"kept":{"audio":{"id":"x"}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var text, kept strings.Builder
			var parts []events.Part
			for e := range Decode(strings.NewReader(c.body)) {
				switch e := e.(type) {
				case *events.TextChunk:
					text.WriteString(e.Text)
				case *events.ReasoningChunk:
					kept.Write(e.Carry)
					parts = append(parts, events.Part{Kind: events.PartReasoning, Text: e.Text, Carry: e.Carry})
				}
			}
			if text.String() != c.text || kept.String() != c.kept {
				t.Errorf("text %q, kept %s, want %q, %s", text.String(), kept.String(), c.text, c.kept)
			}
			req := seen()
			req.Messages = append(req.Messages[:0:0], user("?"), answer("openai", append(parts, events.Part{Kind: events.PartText, Text: "a"})...), user("and?"))
			if got := body(t, Config{}, req); strings.Contains(got, "kept") || strings.Contains(got, "annotations") {
				t.Errorf("it is sent back: %s", got)
			}
		})
	}
}
