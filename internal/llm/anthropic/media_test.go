package anthropic

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// TestImagesAndDocuments: results hold their images; what the API does not take is a
// line of text.
func TestImagesAndDocuments(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\n"
	const image = `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}`
	p := New(Config{})
	raw, _, failed := p.body(llm.Request{Model: "claude-sonnet-4-5", Media: map[string]llm.Media{"c/1": {Data: []byte(png)}}, Messages: []events.Message{
		{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "compare"},
			{Kind: events.PartImage, Name: "a.png", Data: []byte(png)}, {Kind: events.PartFile, Name: "b.pdf", Data: []byte("%PDF-1")},
			{Kind: events.PartImage, Name: "big.png", Data: append([]byte(png), make([]byte, 4<<20)...)}}},
		{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartCall, Call: "1", Name: "look"}}},
		{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Call: "1", Name: "look", Status: events.StatusOK, Text: "done",
			Attachments: []events.Attachment{{MIME: "image/png", Object: &events.Object{Name: "c/1", Size: 8}}}}}},
	}})
	if failed != nil {
		t.Fatal(failed)
	}
	for _, want := range []string{
		`{"type":"text","text":"compare"},` + image + `,{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0x"},"title":"b.pdf"}`,
		`"content":[{"type":"text","text":"done"},` + image + `]`,
		`[image big.png, 4.2 MB: left out, the provider takes at most 3.9 MB]`,
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("got %.3000s\nwithout %s", raw, want)
		}
	}
}
