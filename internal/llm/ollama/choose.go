package ollama

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/types/model"
)

// mostShown bounds the models that are looked at in the search for a default model.
const mostShown = 50

// Described is what a server says of a model. Known is false if it says nothing:
// servers before 0.6.4 do not list capabilities.
type Described struct {
	Name                         string
	Known                        bool
	Chats, Tools, Images, Thinks bool
	Window                       int64 // tokens; 0 if unknown
}

// Describe asks the server what a model can do.
func (p *Provider) Describe(ctx context.Context, name string) (Described, error) {
	d := Described{Name: name, Chats: true}
	if p.bad != nil {
		return d, p.bad
	}
	shown, err := api.NewClient(p.base, p.client).Show(ctx, &api.ShowRequest{Model: name})
	if err != nil {
		return d, fmt.Errorf("describe the model %s: %w", name, err)
	}
	for key, v := range shown.ModelInfo {
		if n, ok := v.(float64); ok && strings.HasSuffix(key, ".context_length") {
			d.Window = int64(n)
		}
	}
	can := func(c model.Capability) bool { return slices.Contains(shown.Capabilities, c) }
	if d.Known = len(shown.Capabilities) > 0; d.Known {
		d.Chats, d.Tools, d.Images, d.Thinks = can(model.CapabilityCompletion), can(model.CapabilityTools), can(model.CapabilityVision), can(model.CapabilityThinking)
	}
	return d, nil
}

// Choose returns the first model of the server that can chat and call tools, or else
// the first that can chat, and why it is that one. name is empty if none can chat: why
// then says what to do.
func (p *Provider) Choose(ctx context.Context) (name, why string, err error) {
	names, err := p.Models(ctx)
	if err != nil {
		return "", "", err
	}
	var passed []string
	silent := ""
	for _, n := range names[:min(len(names), mostShown)] {
		d, err := p.Describe(ctx, n)
		switch {
		case err != nil || !d.Known:
			if silent == "" && !embeds(n) {
				silent = n
			}
		case !d.Chats:
			passed = append(passed, n+" cannot chat")
		case d.Tools:
			return n, because("Ollama answers, and the model calls tools", passed), nil
		default:
			passed = append(passed, n+" cannot call tools")
			if name == "" {
				name = n
			}
		}
	}
	switch {
	case silent != "":
		return silent, because("Ollama answers", passed), nil
	case name != "":
		return name, because("Ollama answers, and no model of it calls tools", passed), nil
	case len(names) == 0:
		return "", "Ollama has no model: get one with `ollama pull qwen3`", nil
	}
	return "", because("Ollama has no model that can chat: get one with `ollama pull qwen3`", passed), nil
}

// embeds reports whether a name is that of a model for embeddings, for servers that do
// not say what a model can do.
func embeds(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "embed") || strings.Contains(name, "bge-") || strings.Contains(name, "minilm")
}

// mostPassed bounds the models that a reason names.
const mostPassed = 5

func because(why string, passed []string) string {
	if len(passed) == 0 {
		return why
	}
	more := ""
	if n := len(passed) - mostPassed; n > 0 {
		passed, more = passed[:mostPassed], fmt.Sprintf(" and %d more", n)
	}
	return why + "; " + strings.Join(passed, ", ") + more
}
