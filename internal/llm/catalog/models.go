package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/ollama"
	"github.com/parleybus/parley/internal/secret"
)

// Model is a model that a provider lists. What the provider does not say is nil or 0.
type Model struct {
	Name   string   `json:"name"`             // full name, provider/model
	Window int64    `json:"window,omitempty"` // tokens
	Input  *float64 `json:"input,omitempty"`  // US dollars per million tokens
	Output *float64 `json:"output,omitempty"`
	Tools  *bool    `json:"tools,omitempty"`
	Images *bool    `json:"images,omitempty"`
}

// maxList bounds the list of a provider, in bytes.
const maxList = 16 << 20

// site is where a provider of HTTP is, and how it is asked for its models.
type site struct {
	base   string // of /models, without a slash at its end
	query  string // of /models, with its question mark; empty for none
	header http.Header
	key    string // variable with the key
}

func bearer(key string) http.Header {
	h := http.Header{}
	if key != "" {
		h.Set("Authorization", "Bearer "+key)
	}
	return h
}

// get requests the list of models. The caller closes the body.
func (s *site) get(ctx context.Context, provider string) (*http.Response, error) {
	to := s.base + "/models" + s.query
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: the base URL %s is not usable: correct it", provider, secret.URL(to))
	}
	r.Header = s.header.Clone()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	res, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be reached: %w: check the network and the base URL", provider, err)
	}
	return res, nil
}

// Models asks a provider for its models. One without a list has only its default.
func (c *Catalog) Models(ctx context.Context, provider string) ([]Model, error) {
	e := c.Entries[provider]
	switch {
	case e.local != nil:
		return local(ctx, provider, e.local)
	case e.at == nil:
		return []Model{{Name: provider + "/" + e.Model}}, nil
	}
	res, err := e.at.get(ctx, provider)
	if err != nil {
		return nil, err
	}
	body, refused := llm.Accept(ctx, res)
	if refused != nil {
		return nil, fmt.Errorf("%s does not list its models: %s", provider, refused.Message)
	}
	defer func() { _ = body.Close() }() // it has been read
	raw, err := io.ReadAll(io.LimitReader(body, maxList))
	if err != nil {
		return nil, fmt.Errorf("%s: read the list of models: %w", provider, err)
	}
	return parseModels(provider, raw)
}

// local describes the models of an Ollama server.
func local(ctx context.Context, provider string, p *ollama.Provider) ([]Model, error) {
	names, err := p.Models(ctx)
	if err != nil {
		return nil, err
	}
	free := 0.0
	all := []Model{}
	for _, name := range names {
		m := Model{Name: provider + "/" + name, Input: &free, Output: &free}
		if d, err := p.Describe(ctx, name); err == nil && d.Known {
			if !d.Chats {
				continue
			}
			m.Window, m.Tools, m.Images = d.Window, &d.Tools, &d.Images
		}
		all = append(all, m)
	}
	return all, nil
}

// listed is a model in the list of any host.
type listed struct {
	ID          string `json:"id"`
	Name        string `json:"name"`               // Gemini: models/gemini-2.5-flash
	ContextLen  int64  `json:"context_length"`     // OpenRouter, Together, Fireworks
	Window      int64  `json:"context_window"`     // Groq
	MaxContext  int64  `json:"max_context_length"` // Mistral
	MaxModelLen int64  `json:"max_model_len"`      // vLLM
	MaxInput    int64  `json:"max_input_tokens"`   // Anthropic
	InputLimit  int64  `json:"inputTokenLimit"`    // Gemini
	Meta        struct {
		N int64 `json:"n_ctx_train"`
	} `json:"meta"` // llama.cpp
	Pricing      map[string]any `json:"pricing"`
	Parameters   []string       `json:"supported_parameters"` // OpenRouter
	Architecture struct {
		Input []string `json:"input_modalities"`
	} `json:"architecture"`
	Capabilities  map[string]any `json:"capabilities"`               // Mistral
	SupportsTools *bool          `json:"supports_tools"`             // Fireworks
	Methods       []string       `json:"supportedGenerationMethods"` // Gemini
	SupportsImage *bool          `json:"supports_image_input"`
}

// parseModels reads a list: an object with "data", or "models", or a bare list
// (Together). Entries that are no models are passed over.
func parseModels(provider string, raw []byte) ([]Model, error) {
	var list []json.RawMessage
	var object struct{ Data, Models []json.RawMessage }
	if json.Unmarshal(raw, &list) != nil {
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, fmt.Errorf("%s: the list of models is not JSON: %w", provider, err)
		}
		if list = object.Data; list == nil {
			list = object.Models
		}
	}
	all := []Model{}
	for _, item := range list {
		var l listed
		// A field of another shape leaves the rest as it is.
		if _ = json.Unmarshal(item, &l); l.ID == "" && strings.HasPrefix(l.Name, "models/") {
			l.ID = l.Name
		}
		if l.ID == "" || l.Methods != nil && !slices.Contains(l.Methods, "generateContent") {
			continue
		}
		m := Model{Name: provider + "/" + strings.TrimPrefix(l.ID, "models/"), Tools: l.SupportsTools, Images: l.SupportsImage,
			Window: cmp.Or(l.ContextLen, l.Window, l.MaxContext, l.MaxModelLen, l.MaxInput, l.InputLimit, l.Meta.N)}
		m.Input, m.Output = price(l.Pricing, "prompt", "input"), price(l.Pricing, "completion", "output")
		if l.Parameters != nil {
			m.Tools = new(slices.Contains(l.Parameters, "tools"))
		}
		if l.Architecture.Input != nil {
			m.Images = new(slices.Contains(l.Architecture.Input, "image"))
		}
		if can, ok := l.Capabilities["function_calling"].(bool); ok {
			m.Tools = &can
		}
		if can, ok := l.Capabilities["vision"].(bool); ok {
			m.Images = &can
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b Model) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// price returns US dollars per million tokens: OpenRouter writes dollars per token as
// text, Together dollars per million as a number.
func price(pricing map[string]any, perToken, perMillion string) *float64 {
	if text, ok := pricing[perToken].(string); ok {
		if usd, err := strconv.ParseFloat(text, 64); err == nil && usd >= 0 {
			return new(usd * 1e6)
		}
	}
	if usd, ok := pricing[perMillion].(float64); ok {
		return &usd
	}
	return nil
}
