package gemini

import (
	"encoding/json"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// TestImagesAndFiles: images and PDFs are inline, those of results in a content after
// the responses, which stand alone; text files are text.
func TestImagesAndFiles(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\n"
	shown := events.Part{Kind: events.PartResult, Call: "1", Name: "look", Text: "done", Status: events.StatusOK,
		Attachments: []events.Attachment{{Name: "s.png", MIME: "image/png", Object: &events.Object{Name: "c/1", Size: 8}}}}
	got, err := json.Marshal(contents(defaultName, llm.Request{Model: "gemini-2.5-flash", Media: map[string]llm.Media{"c/1": {Data: []byte(png)}}, Messages: []events.Message{
		{Role: events.RoleUser, Parts: []events.Part{
			{Kind: events.PartText, Text: "compare"},
			{Kind: events.PartImage, Name: "a.png", Data: []byte(png)},
			{Kind: events.PartFile, Name: "b.pdf", Data: []byte("%PDF-1")},
			{Kind: events.PartFile, Name: "c.txt", Data: []byte("text")},
		}},
		{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartCall, Call: "1", Name: "look"}}},
		{Role: events.RoleTool, Parts: []events.Part{shown}},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	const image = `{"inlineData":{"data":"iVBORw0KGgo=","mimeType":"image/png"}}`
	want := `[{"role":"user","parts":[{"text":"compare"},` + image + `,{"inlineData":{"data":"JVBERi0x","mimeType":"application/pdf"}},{"text":"[file c.txt]\ntext\n[end of file c.txt]"}]},` +
		`{"role":"model","parts":[{"functionCall":{"name":"look","args":{}}}]},` +
		`{"role":"user","parts":[{"functionResponse":{"name":"look","response":{"output":"done"}}}]},` +
		`{"role":"model","parts":[{"text":"(The images of these results follow.)"}]},` +
		`{"role":"user","parts":[{"text":"[image 1 of the result of look:]"},` + image + `]}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
