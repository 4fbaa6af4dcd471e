package openairesponses

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// TestImagesAndFiles: OpenAI takes images in the output of a call; other servers get
// them in a message of the user, and no PDF.
func TestImagesAndFiles(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\n"
	const image = `{"detail":"auto","image_url":"data:image/png;base64,iVBORw0KGgo=","type":"input_image"}`
	req := llm.Request{Model: "m", Media: map[string]llm.Media{"c/1": {Data: []byte(png)}}, Messages: []events.Message{
		{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "compare"},
			{Kind: events.PartImage, Name: "a.png", Data: []byte(png)}, {Kind: events.PartFile, Name: "b.pdf", Data: []byte("%PDF-1")}}},
		{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartCall, Call: "1", Name: "look"}}},
		{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Call: "1", Name: "look", Status: events.StatusOK, Text: "done",
			Attachments: []events.Attachment{{MIME: "image/png", Object: &events.Object{Name: "c/1", Size: 8}}}}}},
	}}
	for _, c := range []struct {
		name, base string
		want       []string
	}{
		{"OpenAI", "", []string{
			`{"text":"compare","type":"input_text"},` + image + `,{"file_data":"data:application/pdf;base64,JVBERi0x","filename":"b.pdf","type":"input_file"}`,
			`"output":[{"text":"done","type":"input_text"},{"image_url":"data:image/png;base64,iVBORw0KGgo=","detail":"auto","type":"input_image"}]`}},
		{"another server", "http://127.0.0.1:1/v1", []string{
			`[file b.pdf, 6 bytes: left out, the model does not take it]`, `"output":"done"`, `{"text":"[image 1 of the result of look:]","type":"input_text"},` + image}},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := json.Marshal(New(Config{BaseURL: c.base}).input(req))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(string(raw), want) {
					t.Errorf("got %s\nwithout %s", raw, want)
				}
			}
		})
	}
}
