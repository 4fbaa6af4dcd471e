package ollama

import (
	"context"
	"slices"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// mostSights bounds the models that are remembered.
const mostSights = 1000

// blind reports whether the server says that a model takes no images. It is asked
// once for each model, and only when there is an image. A server that does not answer
// or does not say leaves it to the model's refusal.
func (p *Provider) blind(ctx context.Context, req llm.Request) bool {
	if !slices.ContainsFunc(req.Messages, func(m events.Message) bool { return slices.ContainsFunc(m.Parts, transcript.HasMedia) }) {
		return false
	}
	p.mu.Lock()
	sees, known := p.sight[req.Model]
	p.mu.Unlock()
	if known {
		return !sees
	}
	d, err := p.Describe(ctx, req.Model)
	if err != nil || !d.Known {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sight) >= mostSights {
		clear(p.sight)
	}
	p.sight[req.Model] = d.Images
	return !d.Images
}
