package anthropic

import (
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// takes returns what the API takes: an image of at most 5 MB in base64 and 8,000 pixels on
// a side, or 2,000 in a request with more than 20 images, a request of at most 32 MB.
//
// Sources: https://docs.claude.com/en/docs/build-with-claude/vision and
// https://docs.claude.com/en/docs/build-with-claude/pdf-support
func takes() *transcript.Media {
	return &transcript.Media{Images: 5 << 20 / 4 * 3, PDFs: 20 << 20, Side: 8000, Many: 20, ManySide: 2000, Results: true}
}

type mediaBlock struct {
	Type   string `json:"type"` // image or document
	Source source `json:"source"`
	Title  string `json:"title,omitempty"`
}

type source struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type"`
	Data      []byte `json:"data"` // base64
}

// said returns the blocks of a part of a user's message.
func said(p events.Part) []any {
	switch p.Kind {
	case events.PartImage, events.PartFile:
		return []any{block64(p)}
	}
	return text(p.Text)
}

func block64(p events.Part) mediaBlock {
	b := mediaBlock{Type: "image", Source: source{Type: "base64", MediaType: p.MIME, Data: p.Data}}
	if p.Kind == events.PartFile {
		b.Type, b.Title = "document", p.Name
	}
	return b
}

// imagesAfter returns the images that follow a result and belong to it.
func imagesAfter(parts []events.Part) []any {
	var all []any
	for _, p := range parts {
		if p.Kind != events.PartImage {
			break
		}
		all = append(all, block64(p))
	}
	return all
}
