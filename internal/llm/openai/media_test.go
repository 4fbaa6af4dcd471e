package openai

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

const png = "\x89PNG\r\n\x1a\n"

func seen() llm.Request {
	shown := resultOf("1", "done")
	shown.Parts[0].Attachments = []events.Attachment{{Name: "s.png", MIME: "image/png", Object: &events.Object{Name: "c/1", Size: 8}}}
	return llm.Request{Model: "m", Media: map[string]llm.Media{"c/1": {Data: []byte(png)}}, Messages: []events.Message{
		{Role: events.RoleUser, Parts: []events.Part{
			{Kind: events.PartText, Text: "compare"},
			{Kind: events.PartImage, Name: "a.png", Data: []byte(png)},
			{Kind: events.PartFile, Name: "b.pdf", Data: []byte("%PDF-1")},
			{Kind: events.PartFile, Name: "c.txt", Data: []byte("text")},
		}},
		answer("openai", events.Part{Kind: events.PartCall, Call: "1", ProviderID: "call_a", Name: "look"}),
		shown,
	}}
}

// TestImagesAreSentInMessagesOfTheUser: the API takes only text in messages of tools.
func TestImagesAreSentInMessagesOfTheUser(t *testing.T) {
	const (
		url   = `{"image_url":{"url":"data:image/png;base64,iVBORw0KGgo="},"type":"image_url"}`
		text  = `{"text":"[file c.txt]\ntext\n[end of file c.txt]","type":"text"}`
		call  = `{"tool_calls":[{"id":"call_a","function":{"arguments":"{}","name":"look"},"type":"function"}],"role":"assistant","content":null}`
		shown = `{"content":"done","tool_call_id":"call_a","role":"tool"}`
		after = `{"content":[{"text":"[image 1 of the result of f:]","type":"text"},` + url + `],"role":"user"}`
	)
	for _, c := range []struct{ name, base, want string }{
		{"OpenAI", "", `[{"content":[{"text":"compare","type":"text"},` + url + `,{"file":{"file_data":"data:application/pdf;base64,JVBERi0x","filename":"b.pdf"},"type":"file"},` + text + `],"role":"user"},` + call + `,` + shown + `,` + after + `]`},
		{"a host of alternating roles, without PDFs", "http://127.0.0.1:1/v1", `[{"content":[{"text":"compare","type":"text"},` + url + `,{"text":"[file b.pdf, 6 bytes: left out, the model does not take it]\n\n[file c.txt]\ntext\n[end of file c.txt]","type":"text"}],"role":"user"},` +
			call + `,` + shown + `,{"content":"(The images of these results follow.)","role":"assistant"},` + after + `]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := body(t, Config{BaseURL: c.base}, seen())
			if want := `"messages":` + c.want; !strings.Contains(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestAMessageOfTextAloneIsAString: many hosts take nothing else, and after a refusal
// there is nothing else.
func TestAMessageOfTextAloneIsAString(t *testing.T) {
	req := seen()
	req.NoImages = true
	got := body(t, Config{}, req)
	if want := `{"content":"compare\n\n[image a.png, 8 bytes: left out, the model does not take it]`; !strings.Contains(got, want) || strings.Contains(got, "base64") {
		t.Errorf("got %s", got)
	}
}
