package parley_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/model"
)

// TestAnImageThatTheProviderRefusesIsLeftOut: over each wire, in the words of its host,
// an image of a message and one of a result are refused once each, the turn is answered
// without them, the log says so, and later turns are not refused again.
func TestAnImageThatTheProviderRefusesIsLeftOut(t *testing.T) {
	image := picture(t)
	data := base64.StdEncoding.EncodeToString(image)
	for _, c := range []struct {
		name, wire string
		status     int
		says       string
	}{
		{"anthropic", "anthropic", 400, "messages.0.content.1.image.source.base64.data: Could not process image"},
		{"openai", "openai", 400, "Invalid content type. image_url is only supported by certain models."},
		{"deepseek", "compatible", 400, "Failed to deserialize the JSON body into the target type: messages[1]: unknown variant `image_url`, expected `text`"},
		{"openrouter", "compatible", 404, "No endpoints found that support image input"},
		{"llama.cpp", "compatible", 500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"},
		{"openai-responses", "openai-responses", 400, "Invalid 'input[0].content[1].image_url'. The model does not support image inputs."},
		{"a server of responses", "templated", 422, "input[0].content[1]: Input tag 'input_image' does not match any of the expected tags"},
		{"ollama", "ollama", 500, "this model is missing data required for image input"},
		{"gemini", "gemini", 400, "Unable to process input image. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := wires(t)[c.wire]
			w.host.status = c.status
			check := w.host.check
			w.host.check = func(h *strict, r *http.Request, body map[string]any) string {
				if raw := prefixOf(body, -1); strings.Contains(raw, data) {
					return c.says
				}
				return check(h, r, body)
			}
			p := embed(t, embedded.Options{Tools: sceneTools(image), Models: []model.Served{w.served}})
			conv := p.Conversation(parley.NewID())
			model := parley.WithModel(w.models[0])
			system := parley.WithSystem("Conversation " + conv.ID() + ".")
			refused := 0
			say := func(text string, want int, options ...parley.SendOption) {
				t.Helper()
				if r := sendAndWait(t, conv, text, append(options, model, system)...); r.Outcome != parley.OutcomeCompleted {
					t.Fatalf("the turn %q ended as %s: %v", text, r.Outcome, r.Error)
				}
				images := 0
				for _, why := range w.host.refusals(conv.ID()) {
					if !strings.Contains(why, "must be passed back") {
						images++
					}
				}
				if images != want {
					t.Errorf("the turn %q was refused %d times, want %d", text, images, want)
				}
				refused += images
			}
			say("hello", 0)
			say("what is this?", 1, parley.WithFile("chart.png", image))
			_, name, _ := strings.Cut(w.models[0], "/")
			if last := w.host.lastRequest(conv.ID(), name); !strings.Contains(last, "left out") || strings.Contains(last, data) {
				t.Errorf("the request that was answered does not say what was left out: %s", last)
			}
			say("bye", 0)
			say("take a picture", 1)
			say("bye", 0)
			if got := reduced(t, conv); got != "images images" || refused != 2 {
				t.Errorf("the log says that was left out: %q; %d requests were refused", got, refused)
			}
			keepsImages(t, conv)
		})
	}
}

// keepsImages checks that the transcript has both images, and who answered without.
func keepsImages(t *testing.T, conv *parley.Conversation) {
	t.Helper()
	view, err := conv.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	omitted, images := 0, 0
	for _, m := range view.Messages {
		if m.Omitted != "" {
			omitted++
		}
		for _, part := range m.Parts {
			if part.Kind == parley.PartImage || len(part.Attachments) > 0 {
				images++
			}
		}
	}
	if omitted != 2 || images != 2 {
		t.Errorf("the transcript has %d images, and %d answers that say that images were left out", images, omitted)
	}
}
